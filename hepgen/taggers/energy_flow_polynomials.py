r"""A linear function of energy flow polynomials, trained or solved for in closed form.

P. T. Komiske, E. M. Metodiev and J. Thaler, "Energy flow polynomials: a complete linear basis for
jet substructure", JHEP 04 (2018) 013, arXiv:1712.07124. Written from the paper.

Shapes: B jets, N constituents of all jets end to end, D polynomials, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Features, JetFiles, PackedJets, energy_flow_polynomials
from hepgen.data.energy_flow_graphs import efp_factors
from hepgen.taggers.tagger import Paper, Tagger
from hepgen.taggers.threads import map_in_threads
from hepgen.taggers.whitening import Whitening

if TYPE_CHECKING:
    import awkward as ak

    from hepgen.heads import Head

__all__ = ["EnergyFlowPolynomials"]

# Jets that a thread takes at a time.
_CHUNK = 16


@final
class EnergyFlowPolynomials(Tagger):
    r"""Logits :math:`W (f - \langle f \rangle) + b` of the polynomials f of all graphs.

    The graphs are all multigraphs with one up to ``max_degree`` edges, D = 999 for 7. Constituents
    enter with their share of the transverse momentum and with rapidity and azimuth, so that scores
    are infrared and collinear safe; features do not enter.

    The polynomials span orders of magnitude and are nearly copies of one another: of 7000 jets,
    standardised, 98 % of the variance is along one direction, and 1e-3 is exceeded along 19 of
    999. A gradient would need forever for the narrow ones, so weights are those of whitened
    polynomials (`Whitening`), whose statistics are taken from the batches of training. They are
    computed again in each epoch, as they cost 0.5 ms for a jet of 50 constituents; no values are
    kept between epochs.

    Published on the top-tagging reference set: accuracy 0.932, AUC 0.980, 1/eB 384 at a signal
    efficiency of 30 %, 1k parameters, by Fisher's linear discriminant, which `fit_fisher` gives.
    With the published settings a logit has 1000 parameters; softmax of two classes knows one
    difference of logits only. Statistics take 16 MB of a model file.

    Args:
        features: not used; a tagger has one at least.
        classes: names of the K classes, in the order of the logits, or a head.
        max_degree: greatest number of edges d, 1 to 7.
        beta: exponent of the angles.

    Raises:
        ValueError: ``max_degree`` is not 1 to 7, or beta <= 0.
    """

    inputs: ClassVar[tuple[str, ...]] = ("p4",)
    paper: ClassVar[Paper | None] = Paper(
        "P. T. Komiske, E. M. Metodiev and J. Thaler",
        "Energy flow polynomials: a complete linear basis for jet substructure",
        "JHEP 04 (2018) 013",
        "1712.07124",
    )
    chunk: ClassVar[int] = 64

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        max_degree: int = 7,
        beta: float = 0.5,
    ) -> None:
        super().__init__(features, classes)
        if max_degree not in range(1, 8) or beta <= 0:
            raise ValueError(
                "EnergyFlowPolynomials needs max_degree of 1 to 7 and beta > 0, not "
                f"{max_degree=}, {beta=}"
            )
        self.max_degree, self.beta = max_degree, beta
        size = len(efp_factors(max_degree)) - 1
        self.whitening = Whitening(size)
        # A step of Adam changes each weight by the learning rate, and the logits of whitened inputs
        # by this times the root of D; so that it is the same for all D, and enough.
        self._gain = 100 / size**0.5
        self.out = nn.Linear(size, self.width)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        polynomials = _polynomials(jets.p4, jets.ptr, self.max_degree, self.beta)[:, 1:]  # (B, D)
        centre, whiten = self.whitening(polynomials)
        # All of it in float64, where the narrow directions keep their digits. The two matrices are
        # multiplied first: D^2 K products, and not B D^2.
        weight = whiten.mT @ (self._gain * self.out.weight).to(whiten.dtype).mT  # (D, K)
        logits: Tensor = (polynomials - centre) @ weight + self.out.bias  # (B, K)
        return logits.to(self.out.weight.dtype)

    def fit_fisher(self, jets: ak.Array | PackedJets | JetFiles, tolerance: float = 1e-4) -> None:
        r"""Fisher's linear discriminant of some jets, in closed form, in place of training.

        The logits become, up to a constant, :math:`\ln p_k - (f - \mu_k)^T \Sigma^{-1} (f -
        \mu_k) / 2` with the mean of each class and one covariance within classes, divided by the
        number of jets, as of scikit-learn's ``LinearDiscriminantAnalysis`` with the solver "svd"
        (before its version 1.9 divided by K less). Training may go on from there.

        Args:
            jets: as `hepgen.io.read` gives them with labels, packed with classes, or in files.
            tolerance: directions in which jets differ, within classes, by less than this are left
                out; polynomials are divided by their standard deviations before.

        Raises:
            ValueError: the head is no classification, a class has no jets, or a jet has a negative
                weight.
        """
        if self.width != len(self.classes):
            raise ValueError(
                f"fit_fisher needs a head of classes alone, not {type(self.head).__name__}"
            )
        size, count = self.out.in_features, self.width
        # The triangle of a QR decomposition of (class indicators, polynomials): what is left below
        # the rows of the indicators is that of polynomials about the means of their classes. A
        # covariance would lose half of the digits.
        triangle = torch.zeros(0, count + size, dtype=torch.float64)
        self.whitening.reset()
        for batch in self.batches(jets, batch_size=2048, shuffle=False).epoch(0):
            self._check(batch, "y")
            values = _polynomials(batch.p4, batch.ptr, self.max_degree, self.beta)[:, 1:]
            weight = batch.weight.double()
            if (weight < 0).any():
                raise ValueError("fit_fisher needs weights of jets that are not negative")
            self.whitening.update(values, weight)
            rows = torch.cat([functional.one_hot(batch.y, count), values], dim=1)
            triangle = torch.cat([triangle, rows * weight.sqrt()[:, None]])
            triangle = torch.linalg.qr(triangle, mode="r").R
        triangle = functional.pad(triangle, (0, 0, 0, count + size - len(triangle)))
        sums = triangle[:count, :count].square().sum(dim=0)
        lacking = [name for name, many in zip(self.classes, sums, strict=True) if not many > 0]
        if lacking:
            raise ValueError(f"fit_fisher needs jets of each class; there are none of {lacking}")
        means = torch.linalg.solve(triangle[:count, :count], triangle[:count, count:])
        self.whitening.renew()
        self._solve(sums, means, triangle[count:, count:], tolerance)

    def _solve(self, sums: Tensor, means: Tensor, within: Tensor, tolerance: float) -> None:
        """Weights and biases from sums of weights (K,), means (K, D) and a triangle (D, D)."""
        shares = sums / sums.sum()
        within = within / sums.sum().sqrt()
        deviation = torch.linalg.vector_norm(within, dim=0)
        deviation = torch.where(deviation > 0, deviation, 1)
        _, widths, axes = torch.linalg.svd(within / deviation)
        kept = widths > tolerance
        axes = axes[kept].mT / widths[kept] / deviation[:, None]
        apart = means - cast(Tensor, self.whitening.centre).double()
        slopes = apart @ axes @ axes.mT  # (K, D)
        biases = shares.log() - (slopes * apart).sum(dim=1) / 2
        with torch.no_grad():
            self.out.weight.copy_(slopes @ self.whitening.unwhitener() / self._gain)
            self.out.bias.copy_(biases)


@torch.library.custom_op("hepgen::energy_flow_polynomials", mutates_args=())
def _polynomials(p4: Tensor, ptr: Tensor, max_degree: int, beta: float) -> Tensor:
    momenta = p4.detach().to("cpu", torch.float64).numpy()
    offsets = ptr.cpu().numpy()

    def compute(first: int) -> Tensor:
        some = offsets[first : first + _CHUNK + 1]
        rows = momenta[some[0] : some[-1]]
        return torch.from_numpy(energy_flow_polynomials(rows, some - some[0], max_degree, beta))

    parts = map_in_threads(compute, range(0, len(offsets) - 1, _CHUNK))
    size = len(efp_factors(max_degree))
    empty = torch.empty((0, size), dtype=torch.float64)
    return torch.cat([empty, *parts]).to(p4.device)


@_polynomials.register_fake
def _(p4: Tensor, ptr: Tensor, max_degree: int, beta: float) -> Tensor:
    size = len(efp_factors(max_degree))
    return p4.new_empty((ptr.shape[0] - 1, size), dtype=torch.float64)
