r"""A Gaussian posterior of the last layer, all else as it was trained (Laplace's approximation).

D. J. C. MacKay, Neural Comput. 4 (1992) 448 and 720; A. Kristiadi, M. Hein and P. Hennig, "Being
Bayesian, even just a bit, fixes overconfidence in ReLU networks", ICML 2020, arXiv:2002.10118;
E. Daxberger et al., "Laplace redux", NeurIPS 2021, arXiv:2106.14806 (Kronecker factors).

With inputs :math:`\phi` of the last layer (a 1 for the bias among them), weights W (K, D) and
:math:`\Lambda = \operatorname{diag}(p) - p p^T`, the precision of W is

.. math:: H = \sum_{\mathrm{jets}} \Lambda \otimes \phi \phi^T + \delta\, 1 .

Shapes: B jets, D inputs of the last layer and 1, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, cast, final

import numpy as np
import torch
from torch import Tensor, nn

from hepgen.certainty.certain import Certain, Prediction, labelled
from hepgen.data import Batch, PackedJets
from hepgen.taggers import Tagger

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["BayesianLastLayer"]

# Weights K * D up to which the whole matrix is kept: 4000^2 doubles are 128 MB.
_LARGEST = 4000


@final
class BayesianLastLayer(Certain):
    r"""Probabilities averaged over the posterior of the last layer, in closed form.

    The logits f of a jet are Gaussian with covariance
    :math:`(1 \otimes \phi)^T H^{-1} (1 \otimes \phi)`. For two classes the mean probability is
    MacKay's :math:`\sigma\big(\Delta f / \sqrt{1 + \pi v / 8}\big)`, v the variance of
    :math:`\Delta f`; for more, each logit over the mean of the others is scaled so before the
    softmax. The spread of a probability is that of the logits to first order.

    Args:
        tagger: a trained tagger that gives probabilities of classes, its outputs those of an
            ``nn.Linear``. Of its loss the cross entropy counts.
        structure: "full" keeps the whole precision matrix; "kronecker" its nearest Kronecker
            product, mean of Lambda times sum of phi phi^T, for large layers.
        prior_precision: :math:`\delta`, of the weights; None takes that of largest evidence.

    Raises:
        ValueError: no last linear layer, a full matrix of more than 4000 weights, or
            a precision that is not positive.
        TypeError: no tagger, or one with another task.
    """

    tells_spread = True

    def __init__(
        self,
        tagger: Tagger,
        structure: Literal["full", "kronecker"] = "full",
        prior_precision: float | None = None,
    ) -> None:
        super().__init__([tagger])
        head = getattr(tagger, "head", None)
        # A penalty on a classification leaves its outputs logits of the classes.
        if head is None or not head.classes or head.names != head.classes:
            raise TypeError("BayesianLastLayer is for a tagger that gives classes and nothing else")
        if structure not in ("full", "kronecker"):
            raise ValueError(f"structure should be full or kronecker, not {structure!r}")
        if prior_precision is not None and not prior_precision > 0:
            raise ValueError(f"prior_precision should be above 0, not {prior_precision}")
        self.tagger, self.structure, self.prior_precision = tagger, structure, prior_precision
        self._name, layer = _last_linear(tagger)
        inputs = layer.in_features + (layer.bias is not None)
        classes = len(self.classes)
        if structure == "full" and classes * inputs > _LARGEST:
            raise ValueError(
                f"a full matrix of {classes} x {inputs} weights is too large; structure='kronecker'"
            )
        kind = torch.float64
        if structure == "full":
            size = classes * inputs
            self.register_buffer("precision", torch.zeros(size, size, dtype=kind))
        else:
            self.register_buffer("outer", torch.zeros(classes, classes, dtype=kind))
            self.register_buffer("inner", torch.zeros(inputs, inputs, dtype=kind))
        # 0 until it is fitted.
        self.register_buffer("prior", torch.zeros((), dtype=kind))
        self._inverse: Tensor | None = None

    def parts(self) -> dict[str, Any]:
        """The tagger."""
        return {"tagger": self.tagger}

    def fit(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
    ) -> Self:
        """Take the posterior from the training jets.

        Args:
            jets: those that the tagger was trained on, with labels. Weights do not count.
            batch_size: jets at a time.
            device: where to compute.

        Returns:
            This, changed.

        Raises:
            ValueError: no labels, or the layer found is not the last one.
        """
        y = torch.from_numpy(labelled(jets, self.classes, "BayesianLastLayer"))
        names = ("precision",) if self.structure == "full" else ("outer", "inner")
        buffers: list[Tensor] = [getattr(self, name) for name in names]
        sums = [torch.zeros_like(buffer, device="cpu") for buffer in buffers]
        likelihood, first = 0.0, 0
        for phi, logits in self._passes(jets, batch_size, device):
            p = logits.softmax(dim=1)
            target = y[first : first + len(p), None]
            likelihood += float(logits.log_softmax(dim=1).gather(1, target).sum())
            first += len(p)
            hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]  # (b, K, K)
            if self.structure == "full":
                whole = torch.einsum("bij,bk,bl->ikjl", hessian, phi, phi)
                sums[0] += whole.reshape(sums[0].shape)
            else:
                sums[0] += hessian.sum(dim=0)
                sums[1] += phi.T @ phi
        if self.structure == "kronecker":
            sums[0] /= first
        for buffer, found in zip(buffers, sums, strict=True):
            buffer.copy_(found)
        self._inverse = None
        prior = self.prior_precision
        cast(Tensor, self.prior).fill_(self._evident(likelihood) if prior is None else prior)
        return self

    def _weights(self) -> Tensor:
        """Weights and bias of the last layer, (K, D), float64."""
        layer = self.tagger.get_submodule(self._name)
        columns = [p if p.ndim == 2 else p[:, None] for p in layer.parameters()]
        return torch.cat(columns, dim=1).detach().double().cpu()

    def _eigenvalues(self) -> Tensor:
        if self.structure == "full":
            values: Tensor = torch.linalg.eigvalsh(cast(Tensor, self.precision).cpu())
            return values.clamp(min=0)
        parts = (cast(Tensor, self.outer), cast(Tensor, self.inner))
        outer, inner = (torch.linalg.eigvalsh(part.cpu()) for part in parts)
        return torch.outer(outer.clamp(min=0), inner.clamp(min=0)).flatten()

    def _evident(self, likelihood: float) -> float:
        """The prior precision of largest evidence, among 81 from 1e-4 to 1e4."""
        values, square = self._eigenvalues(), float(self._weights().square().sum())
        best = (-math.inf, 1.0)
        for prior in np.logspace(-4, 4, 81).tolist():
            bend = len(values) * math.log(prior) - float((values + prior).log().sum())
            best = max(best, (likelihood - prior * square / 2 + bend / 2, prior))
        return best[1]

    def covariances(self, phi: Tensor) -> Tensor:
        """Covariances of the logits.

        Args:
            phi: inputs of the last layer, with a 1 for the bias, shape (B, D), float64.

        Returns:
            Shape (B, K, K), float64.

        Raises:
            ValueError: it is not fitted.
        """
        prior = float(cast(Tensor, self.prior))
        if not prior > 0:
            raise ValueError("BayesianLastLayer is not fitted yet; call .fit(training jets)")
        classes = len(self.classes)
        if self.structure == "full":
            if self._inverse is None:
                precision = cast(Tensor, self.precision).cpu()
                unit = torch.eye(len(precision), dtype=precision.dtype)
                self._inverse = torch.linalg.inv(precision + prior * unit)
            blocks = self._inverse.reshape(classes, phi.shape[1], classes, phi.shape[1])
            return torch.einsum("bk,ikjl,bl->bij", phi, blocks, phi)
        (a, u), (b, v) = (torch.linalg.eigh(getattr(self, n).cpu()) for n in ("outer", "inner"))
        turned = (phi @ v).square()  # (B, D)
        spread = turned @ (1 / (a[None, :] * b[:, None] + prior))  # (B, K)
        return torch.einsum("ik,bk,jk->bij", u, spread, u)

    def prediction(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Prediction:
        """Mean and spread of the probabilities; there is no bar."""
        classes = len(self.classes)
        means, spreads = [np.empty((0, classes))], [np.empty((0, classes))]
        for phi, logits in self._passes(jets, batch_size, device):
            covariance = self.covariances(phi)
            # Only differences of logits count: each over the mean of the others.
            others = torch.eye(classes).double() * classes / (classes - 1) - 1 / (classes - 1)
            contrast = logits @ others
            variance = torch.einsum("ki,bij,kj->bk", others, covariance, others).clamp(min=0)
            scaled = contrast / (1 + math.pi * variance / 8).sqrt()
            p = (scaled * (classes - 1) / classes).softmax(dim=1)
            slope = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
            square = torch.einsum("bki,bij,bkj->bk", slope, covariance, slope)
            means.append(p.numpy())
            spreads.append(square.clamp(min=0).sqrt().numpy())
        mean, spread = np.concatenate(means), np.concatenate(spreads)
        return Prediction(mean.astype(np.float32), spread.astype(np.float32))

    def _passes(
        self, jets: ak.Array | PackedJets, batch_size: int, device: str | torch.device | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs of the last layer (b, D) and logits (b, K), float64 on the CPU."""
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1, not {batch_size}")
        if not isinstance(jets, PackedJets):
            jets = PackedJets.pack(jets, self.tagger.features)
        layer = cast(nn.Linear, self.tagger.get_submodule(self._name))
        seen: list[tuple[Tensor, Tensor]] = []
        handle = layer.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
        home = next(self.tagger.parameters()).device
        modes = {module: module.training for module in self.tagger.modules()}
        place = home if device is None else torch.device(device)
        try:
            self.tagger.eval().to(place)
            for start in range(0, len(jets), batch_size):
                seen.clear()
                yield self._pass(jets.batch(slice(start, start + batch_size)).to(place), seen)
        finally:
            handle.remove()
            for module, mode in modes.items():
                module.training = mode
            self.tagger.to(home)

    def _pass(self, batch: Batch, seen: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits = self.tagger(batch)
        if len(seen) != 1 or not torch.equal(seen[0][1].reshape(logits.shape), logits):
            raise ValueError(
                f"the outputs of {type(self.tagger).__name__} are not those of its layer "
                f"{self._name!r}, the last with {len(self.classes)} outputs"
            )
        phi = seen[0][0].double().cpu()
        layer = cast(nn.Linear, self.tagger.get_submodule(self._name))
        if layer.bias is not None:
            phi = torch.cat([phi, torch.ones(len(phi), 1).double()], dim=1)
        return phi, logits.double().cpu()


def _last_linear(tagger: Tagger) -> tuple[str, nn.Linear]:
    found = [
        (name, layer)
        for name, layer in tagger.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == tagger.width
    ]
    if not found:
        raise ValueError(
            f"{type(tagger).__name__} has no nn.Linear with {tagger.width} outputs at its end"
        )
    return found[-1]
