r"""How likely a voxel is empty, and which share of its layer's energy it has if it is not.

Of a layer with energy E a voxel is hit by a Poissonian number of particles, :math:`\lambda` in the
mean and proportional to E but for what the parameters tell, so with probability
:math:`\pi = 1 - e^{-\lambda}`. If it is, it gets an amount x, and of the layer's energy the share
:math:`s = x / T`, where T is the sum of all amounts of the layer. The amount is one of K

.. math:: x = e^{m_k} \ln\big(1 + e^{t \, \sigma_k}\big) ,

with probability w_k, where t has the logistic distribution: a power of x towards 0, and an
exponential tail. (Of logistic distributions of ln x, which have powers of x as tails, sums of
several voxels fluctuate by a third too much.) Amounts are independent; shares, whose sum is 1,
are not, and their density is the integral over the sum T, which nobody sees,

.. math:: p(\ln s) = \int d\tau \prod_i p_i(\ln s_i + \tau) , \quad \tau = \ln T .

Here :math:`\tau` is given: a number for each layer. What falls below the threshold,
:math:`\ln s < y_0 = \ln(E_\mathrm{threshold} / E)`, is empty as well:

.. math:: P(\mathrm{empty}) = 1 - \pi + \pi \, P(\ln x < y_0 + \tau) .

One uniform number draws a voxel: whether it is hit, which of the K, and the quantile of that one.

Shapes: B showers, L layers, V voxels, K distributions, P = 1 + 3 K parameters of a voxel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hepgen.simulators.preprocessing import Preprocessing
from hepgen.simulators.symmetry import turns

__all__ = ["VoxelMixture"]

# Showers that are counted at a time.
CHUNK = 512
# How many hits of an average voxel each voxel's mean and width begin with.
PSEUDO_HITS = 10.0
# Energies below which there is no threshold, as a share.
NOTHING = -30.0
# Of a uniform number, so that its logit is finite.
EDGE = 1e-7
NARROWEST = 0.02
# A voxel so little below the threshold is one at the threshold that was rounded.
KEPT = 1 - 2e-5
# Of amounts: the least one, their logarithms, and those in units of exp(m).
LEAST = 1e-30
LOCATIONS = (-40.0, 20.0)
LOG_AMOUNTS = (-40.0, 6.0)
# Beyond which a voxel is surely empty, or hit, in float32.
LOG_RATES = (-14.0, 4.5)


class VoxelMixture(nn.Module):
    """The distribution of voxels, independent of each other given its parameters.

    Parameters are told relative to what is usual for the voxel, so that zeros are its frequency of
    hits and a density of about its mean and width.

    Args:
        preprocessing: of the geometry, which sums over layers.
        components: K.

    Attributes:
        num_parameters: P.

    Raises:
        ValueError: there are no components.
    """

    log_rate: Tensor
    location: Tensor
    width: Tensor
    offsets: Tensor

    def __init__(self, preprocessing: Preprocessing, components: int = 2) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"components={components}: wanted one at least")
        self.preprocessing, self.components = preprocessing, components
        self.num_parameters = 1 + 3 * components
        voxels = preprocessing.geometry.num_voxels
        self.register_buffer("log_rate", torch.zeros(voxels))
        self.register_buffer("location", torch.zeros(voxels))
        self.register_buffer("width", torch.ones(voxels))
        # Distributions that began alike would stay so.
        spread = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        self.register_buffer("offsets", spread[:, None, None] * 0.7, persistent=False)

    @torch.no_grad()
    def fit(self, voxels: Tensor) -> None:
        """Take what is usual for each voxel from showers, and from their turns if as likely.

        Args:
            voxels: in GeV, shape (B, V).
        """
        sums = torch.zeros(4, voxels.shape[1], dtype=torch.float64)
        for some in torch.split(voxels, CHUNK):
            share = self.shares(some)
            hit = share > 0
            y = torch.where(hit, share.clamp(min=1e-30).log(), 0).double()
            layers = self.preprocessing.spread(self.preprocessing.sums(some)).double()
            sums += torch.stack([hit.double(), y, y * y, layers]).sum(1).cpu()
        sums = sums[:, torch.from_numpy(turns(self.preprocessing.geometry))].sum(1)
        showers = len(voxels) * len(turns(self.preprocessing.geometry))
        hits = sums[0]
        rate = -torch.log1p(-(hits + 0.5) / (showers + 1))
        self.log_rate.copy_(rate.log() - ((sums[3] + 1e-6) / showers).log())
        usual = sums.sum(1, keepdim=True) / sums[0].sum().clamp(min=1)  # (3, 1)
        mean = (sums[1] + PSEUDO_HITS * usual[1]) / (hits + PSEUDO_HITS)
        square = (sums[2] + PSEUDO_HITS * usual[2]) / (hits + PSEUDO_HITS)
        self.location.copy_(mean)
        self.width.copy_((square - mean.square()).clamp(min=0.01).sqrt())

    def shares(self, voxels: Tensor) -> Tensor:
        """Energies of voxels over that of their layer; 0 where that is 0.

        Args:
            voxels: in GeV, shape (B, V).
        """
        layers = self.preprocessing.spread(self.preprocessing.sums(voxels))
        return torch.where(layers > 0, voxels / layers.clamp(min=1e-30), 0)

    def log_prob(
        self, parameters: Tensor, shares: Tensor, layers: Tensor, totals: Tensor
    ) -> Tensor:
        """Log-density of the logarithms of the shares, given the sums of the amounts.

        Args:
            parameters: shape (P, B, V).
            shares: shape (B, V).
            layers: energies in GeV, shape (B, L). In an empty layer nothing is left to chance, and
                in one of a single hit nothing but which voxel it is.
            totals: logarithms of the sums, shape (B, L).

        Returns:
            Shape (B, V).
        """
        rate, log_weight, location, scale = self._split(parameters, layers)
        hit = shares > 0
        spread = self.preprocessing.spread
        free = spread(self.free(shares).to(shares))
        shift = spread(totals) * free
        t, slope = _standard(torch.where(hit, shares, 1).log() + shift - location, scale)
        sigmoid = nn.functional.logsigmoid
        density = torch.logsumexp(log_weight + sigmoid(t) + sigmoid(-t) + slope, dim=0)
        below, _ = _standard(self._threshold(layers) + shift - location, scale)
        under = torch.logsumexp(log_weight + sigmoid(below), dim=0)
        filled = torch.log(-torch.expm1(-rate))
        empty = torch.logaddexp(-rate, filled + under)
        found = torch.where(hit, filled + density * free, empty)
        return found * spread((layers > 0).to(shares))

    def free(self, shares: Tensor) -> Tensor:
        """Layers with more than one hit, whose shares are not known without looking, (B, L).

        Args:
            shares: shape (B, V).
        """
        return self.preprocessing.sums((shares > 0).to(shares)) > 1

    def draw(self, parameters: Tensor, uniform: Tensor, layers: Tensor) -> Tensor:
        """Shares, one above 0 at least in each layer; they sum to 1.

        Args:
            parameters: shape (P, B, V).
            uniform: numbers in (0, 1), shape (B, V).
            layers: energies in GeV, shape (B, L).

        Returns:
            Shape (B, V).
        """
        amount = self.amounts(parameters, uniform, layers)
        return amount / self.preprocessing.spread(self.preprocessing.sums(amount))

    def amounts(self, parameters: Tensor, uniform: Tensor, layers: Tensor) -> Tensor:
        """What shares are shares of, 0 in voxels that are not hit.

        Args:
            parameters: see ``draw``.
            uniform: likewise.
            layers: likewise.

        Returns:
            Shape (B, V).
        """
        rate, log_weight, location, scale = self._split(parameters, layers)
        # Below 1 the voxel is hit; if none is, the one that came nearest.
        rest = uniform / (1 - torch.exp(-rate)).clamp(min=EDGE)
        hit = rest <= self.preprocessing.spread(self._least(rest).clamp(min=1))
        rest = rest.clamp(EDGE, 1 - EDGE)
        weight = log_weight.exp()
        y = torch.zeros_like(rest)
        m = torch.zeros_like(rest)
        before = torch.zeros_like(rest)
        for k in range(self.components):
            quantile = ((rest - before) / weight[k].clamp(min=EDGE)).clamp(EDGE, 1 - EDGE)
            here = rest >= before
            y = torch.where(here, scale[k] * (quantile / (1 - quantile)).log(), y)
            m = torch.where(here, location[k], m)
            before = before + weight[k]
        amount = torch.exp(m.clamp(*LOCATIONS)) * nn.functional.softplus(y)
        return torch.where(hit, amount.clamp(min=LEAST), 0)

    def energies(self, shares: Tensor, layers: Tensor) -> Tensor:
        """Energies of voxels, none of them below the threshold, the layers' kept.

        Args:
            shares: as ``draw`` gives them, shape (B, V).
            layers: in GeV, 0 or at least the threshold, shape (B, L).

        Returns:
            In GeV, shape (B, V).
        """
        spread, floor = self.preprocessing.spread, self.preprocessing.floor
        cut = floor * KEPT / layers.clamp(min=1e-9)
        cut = torch.minimum(cut, -self._least(-shares))
        kept = torch.where(shares >= spread(cut), shares, 0)
        found = kept * spread(layers / self.preprocessing.sums(kept))
        return torch.where(found > 0, found.clamp(min=floor), 0)

    def _split(self, parameters: Tensor, layers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rate of hits (B, V); logarithms of weights, locations and scales (K, B, V)."""
        energy = self.preprocessing.spread(layers.clamp(min=1e-9).log())
        rate = torch.exp((self.log_rate + energy + parameters[0]).clamp(*LOG_RATES))
        k = self.components
        log_weight = torch.log_softmax(parameters[1 : 1 + k], dim=0)
        location = self.location + self.width * (parameters[1 + k : 1 + 2 * k] + self.offsets)
        # The standard deviation of a logistic distribution is 1.8 times its scale.
        scale = self.width * torch.exp((parameters[1 + 2 * k :] - math.log(2)).clamp(-6, 2))
        return rate, log_weight, location, scale.clamp(min=NARROWEST)

    def _threshold(self, layers: Tensor) -> Tensor:
        """The share of a voxel at the threshold, as a logarithm, (B, V)."""
        floor = self.preprocessing.floor
        if floor == 0:
            return torch.full_like(layers[:, :1], NOTHING)
        share = floor / torch.where(layers > 0, layers, 1)
        return self.preprocessing.spread(share.log().clamp(min=NOTHING))

    def _least(self, values: Tensor) -> Tensor:
        """(B, L) of (B, V)."""
        sizes = self.preprocessing.sizes
        if self.preprocessing.regular:
            return values.view(-1, len(sizes), sizes[0]).amin(2)
        return torch.stack([part.amin(1) for part in torch.split(values, sizes, dim=1)], dim=1)


def _standard(y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Of ln x - m, the logistic variable t and ln |dt / d ln x|."""
    y = y.clamp(*LOG_AMOUNTS)
    amount = y.exp()
    # ln(1 - exp(-amount)), and ln(exp(amount) - 1) with it.
    rest = torch.log(-torch.expm1(-amount))
    return (amount + rest) / scale, y - rest - scale.log()
