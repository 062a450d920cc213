r"""How likely a voxel is empty, and which share of its layer's energy it has if it is not.

Of a layer with energy E a voxel is hit by a Poissonian number of particles, :math:`\lambda` in the
mean and proportional to E but for what the parameters tell, so with probability
:math:`\pi = 1 - e^{-\lambda}`. If it is, the logarithm y of its share has a density of K logistic
distributions,

.. math:: p(y) = \sum_k w_k \, \sigma(t_k) \, \sigma(-t_k) / s_k, \quad t_k = (y - m_k) / s_k .

What falls below the threshold, :math:`y < y_0 = \ln(E_\mathrm{threshold} / E)`, is empty as well:

.. math:: P(\mathrm{empty}) = 1 - \pi + \pi \sum_k w_k \, \sigma\big((y_0 - m_k) / s_k\big) .

One uniform number draws a voxel: whether it is hit, from which distribution, and the quantile of
that one. Logistic distributions have quantiles in plain operations, and fitted the shares of
Geant4 showers with two as well as Gaussians did with three.

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

    def features(self, shares: Tensor) -> Tensor:
        """What a network is shown of voxels: whether they are hit, and how unusual they are.

        Args:
            shares: shape (B, V).

        Returns:
            Shape (2, B, V).
        """
        hit = shares > 0
        y = (shares.clamp(min=1e-30).log() - self.location) / self.width
        return torch.stack([hit.to(shares), torch.where(hit, y, 0)])

    def log_prob(self, parameters: Tensor, shares: Tensor, layers: Tensor) -> Tensor:
        """Log-density of the shares, given the energies of the layers.

        Args:
            parameters: shape (P, B, V).
            shares: shape (B, V).
            layers: energies in GeV, shape (B, L). In an empty layer nothing is left to chance, and
                in one of a single hit nothing but which voxel it is.

        Returns:
            Shape (B, V).
        """
        rate, log_weight, location, scale = self._split(parameters, layers)
        hit = shares > 0
        y = torch.where(hit, shares, 1).log()
        t = (y - location) / scale  # (K, B, V)
        sigmoid = nn.functional.logsigmoid
        density = torch.logsumexp(log_weight + sigmoid(t) + sigmoid(-t) - scale.log(), dim=0)
        spread = self.preprocessing.spread
        hits = self.preprocessing.sums(hit.to(shares))  # (B, L)
        free = spread((hits > 1).to(shares))
        below = (self._threshold(layers) - location) / scale
        under = torch.logsumexp(log_weight + sigmoid(below), dim=0)
        filled = torch.log(-torch.expm1(-rate))
        empty = torch.logaddexp(-rate, filled + under)
        found = torch.where(hit, filled + density * free, empty)
        return found * spread((layers > 0).to(shares))

    def draw(self, parameters: Tensor, uniform: Tensor, layers: Tensor) -> Tensor:
        """Shares, one at least in each layer; their sums are of the order of 1.

        Args:
            parameters: shape (P, B, V).
            uniform: numbers in (0, 1), shape (B, V).
            layers: energies in GeV, shape (B, L).

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
        before = torch.zeros_like(rest)
        for k in range(self.components):
            quantile = ((rest - before) / weight[k].clamp(min=EDGE)).clamp(EDGE, 1 - EDGE)
            here = location[k] + scale[k] * (quantile.log() - torch.log1p(-quantile))
            y = torch.where(rest >= before, here, y)
            before = before + weight[k]
        return torch.where(hit, y.clamp(max=0).exp(), 0)

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
