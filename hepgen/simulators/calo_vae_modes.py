r"""What is unusual about a shower, and of that what its layers have in common.

A voxel's hit or its absence, and the logarithm of its share if it is hit, are compared with what
is usual at the energy E of its layer and the incident energy: least squares in 1, ln E, ln E^2 and
ln E_inc, in units of the standard deviation there. The rest is independent noise for the most part,
thousands of numbers of it, and in that a network does not find the little that voxels of different
layers have in common: 14 % of the variance of where two neighbouring layers have their centre. A
covariance does. Its blocks of one layer with itself are left out, as in a factor analysis, so that
its first eigenvectors are what tells of other layers. By symmetry they are harmonics
:math:`\cos m\alpha, \sin m\alpha`, one m at a time, times a function of layer and ring.

K. Pearson, Phil. Mag. 2 (1901) 559; B. Thompson, "Exploratory and confirmatory factor analysis",
APA 2004.

Shapes: B showers, L layers, V voxels, R rings of all layers, D modes, T = 4 terms.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry
from hepgen.simulators.preprocessing import Preprocessing
from hepgen.simulators.symmetry import turns

__all__ = ["ShowerModes"]

# Voxels at a time, and of how many the modes are taken at most, from showers all over the sample.
CHUNK, MOST = 1_000_000, 200_000_000
HARMONICS = 3
TERMS = 4
# Least probability and variance, and how far a logarithm may be from the usual one.
RARE, LEAST, FAR = 0.003, 0.02, 5.0
# Added to the squares, so that voxels that are hardly ever hit have what is usual for all.
RIDGE = 1e-3


class ShowerModes(nn.Module):
    """Voxels in terms of what is usual, and the first modes of that.

    Args:
        preprocessing: of the geometry, which sums over layers.
        number: D.
    """

    usual: Tensor
    axes: Tensor
    told: Tensor

    def __init__(self, preprocessing: Preprocessing, number: int) -> None:
        super().__init__()
        voxels = preprocessing.geometry.num_voxels
        self.preprocessing, self.number = preprocessing, number
        # Of hits, of logarithms of shares, and of the squares of what these differ by.
        self.register_buffer("usual", torch.zeros(3, TERMS, voxels))
        self.register_buffer("axes", torch.zeros(number, 2, voxels))
        # What the energies of all layers tell of the modes.
        layers = preprocessing.geometry.num_layers
        self.register_buffer("told", torch.zeros(TERMS * layers, number))

    def forward(
        self, shares: Tensor, layers: Tensor, incident_energy: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How unusual voxels are, and the modes of that.

        Args:
            shares: of the layers' energies, shape (B, V).
            layers: energies in GeV, shape (B, L).
            incident_energy: in GeV, shape (B,).

        Returns:
            Hits and logarithms of shares, (2, B, V), 0 where a layer has no energy and for
            logarithms where there is no hit; and D modes of variance one (B, D).
        """
        terms = _terms(layers, incident_energy)
        features = self._features(shares, layers, terms)
        modes = torch.einsum("fbv,dfv->bd", features, self.axes)
        return features, modes - _flat(terms) @ self.told

    @torch.no_grad()
    def fit(self, voxels: Tensor, incident_energy: Tensor) -> None:
        """Learn what is usual, and the modes, from showers and their turns if as likely.

        Args:
            voxels: in GeV, shape (B, V).
            incident_energy: in GeV, shape (B,).
        """
        step = -(-voxels.numel() // MOST)
        size = max(1, CHUNK // voxels.shape[1])
        some = (torch.split(part[::step], size) for part in (voxels, incident_energy))
        pairs = list(zip(*some, strict=True))
        self.usual.zero_()
        for squares in (False, True):
            self._regress(pairs, squares=squares)
        self._diagonalise(pairs)

    def _parts(self, voxels: Tensor, incident_energy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares, energies of layers and terms."""
        layers = self.preprocessing.sums(voxels)
        wide = self.preprocessing.spread(layers)
        shares = torch.where(wide > 0, voxels / wide.clamp(min=1e-30), 0)
        return shares, layers, _terms(layers, incident_energy)

    def _regress(self, pairs: list[tuple[Tensor, Tensor]], *, squares: bool) -> None:
        """Least squares of hits and logarithms, or of the squares of what is left of these."""
        spread = self.preprocessing.spread
        geometry = self.preprocessing.geometry
        normal = torch.zeros(2, TERMS, TERMS, geometry.num_voxels, dtype=torch.float64)
        right = torch.zeros(2, TERMS, geometry.num_voxels, dtype=torch.float64)
        for some in pairs:
            shares, layers, terms = self._parts(*some)
            hit = shares > 0
            y = torch.where(hit, shares, 1).log()
            if squares:
                y = torch.where(hit, y - self._sum(terms, 1), 0).square()
            values = (hit.to(y), y)
            weights = (spread(layers > 0).to(y), hit.to(y))
            wide = torch.stack([spread(term) for term in terms])  # (T, B, V)
            for i, (value, weight) in enumerate(zip(values, weights, strict=True)):
                inside = (wide * weight).double()
                normal[i] += torch.einsum("sbv,tbv->stv", inside, wide.double()).cpu()
                right[i] += torch.einsum("sbv,bv->sv", inside, value.double()).cpu()
        turned = torch.from_numpy(turns(geometry))
        normal, right = normal[..., turned].mean(-2), right[..., turned].mean(-2)
        # What is usual for all voxels, in place of hits that are missing.
        count = normal[:, 0, 0].sum(1).clamp(min=1)
        normal += RIDGE * normal.sum(3, keepdim=True) / normal.shape[3]
        right += RIDGE * right.sum(2, keepdim=True) / right.shape[2]
        normal += (1e-9 * count / normal.shape[3] + 1e-12)[:, None, None, None] * torch.eye(
            TERMS, dtype=torch.float64
        )[None, :, :, None]
        found = torch.linalg.solve(normal.permute(0, 3, 1, 2), right.permute(0, 2, 1)[..., None])
        found = found[..., 0].permute(0, 2, 1)  # (2, T, V)
        if squares:
            self.usual[2] = found[1].to(self.usual)
        else:
            self.usual[:2] = found.to(self.usual)

    def _sum(self, terms: Tensor, which: int) -> Tensor:
        """What is usual of one kind, (B, V), of terms (T, B, L)."""
        spread, usual = self.preprocessing.spread, self.usual[which]
        total = spread(terms[0]) * usual[0]
        for term, factor in zip(terms[1:], usual[1:], strict=True):
            total = total + spread(term) * factor
        return total

    def _features(self, shares: Tensor, layers: Tensor, terms: Tensor) -> Tensor:
        hit = shares > 0
        rate = self._sum(terms, 0).clamp(RARE, 1 - RARE)
        hits = (hit.to(shares) - rate) / (rate * (1 - rate)).sqrt()
        y = torch.where(hit, shares, 1).log() - self._sum(terms, 1)
        y = (y / self._sum(terms, 2).clamp(min=LEAST).sqrt()).clamp(-FAR, FAR)
        inside = self.preprocessing.spread(layers > 0)
        return torch.stack([torch.where(inside, hits, 0), torch.where(hit, y, 0)])

    def _diagonalise(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        geometry = self.preprocessing.geometry
        ring, layer_of = _rings(geometry)
        size = 2 * len(layer_of)
        device = self.axes.device
        index = torch.from_numpy(ring).to(device)
        waves = torch.from_numpy(_waves(geometry, ring)).to(self.axes)  # (M, 2, V)
        sums = torch.zeros(HARMONICS, size, size, dtype=torch.float64)
        count = TERMS * geometry.num_layers
        square = torch.zeros(count, count, dtype=torch.float64)
        mixed = torch.zeros(count, size, dtype=torch.float64)
        for some in pairs:
            shares, layers, terms = self._parts(*some)
            features = self._features(shares, layers, terms)
            known = _flat(terms).double().cpu()  # (B, T L)
            square += known.T @ known
            for m, both in enumerate(waves):
                for i, wave in enumerate(both):
                    modes = features.new_zeros(*features.shape[:2], len(layer_of))
                    modes.index_add_(2, index, features * wave)
                    flat = modes.transpose(0, 1).flatten(1).double().cpu()  # (B, 2 R)
                    sums[m] += flat.T @ flat
                    if m == i == 0:
                        mixed += known.T @ flat
        # What the energies of the layers tell already is no mode.
        square += 1e-4 * square.diagonal().mean() * torch.eye(count, dtype=torch.float64)
        slope = torch.linalg.solve(square, mixed)  # (T L, 2 R)
        sums[0] += slope.T @ square @ slope - slope.T @ mixed - mixed.T @ slope
        # Of cosine and sine, which are as likely; there is no sine of 0.
        sums /= sum(len(some[0]) for some in pairs)
        sums[1:] /= 2
        other = np.tile(layer_of, 2)
        apart = torch.from_numpy(other[:, None] != other[None])
        found = []
        for m in range(HARMONICS):
            values, vectors = torch.linalg.eigh(sums[m] * apart)
            width = torch.einsum("ij,ik,jk->k", sums[m], vectors, vectors).clamp(min=1e-12).sqrt()
            for k, value in enumerate(values.tolist()):
                vector = vectors[:, k] / width[k]
                known = slope @ vector if m == 0 else torch.zeros(count, dtype=torch.float64)
                wide = vector.view(2, len(layer_of)).to(self.axes)[:, index]
                found += [(value, wide * wave, known) for wave in waves[m][: 1 if m == 0 else 2]]
        found.sort(key=lambda one: -one[0])
        for buffer in (self.axes, self.told):
            buffer.zero_()
        for d, (value, axis, known) in enumerate(found[: self.number]):
            if value > 0:
                self.axes[d], self.told[:, d] = axis, known.to(self.told)


def _flat(terms: Tensor) -> Tensor:
    """Terms of all layers, (B, T L) of (T, B, L)."""
    return terms.transpose(0, 1).flatten(1)


def _terms(layers: Tensor, incident_energy: Tensor) -> Tensor:
    """1, ln E, ln E_inc and ln E^2, all of the order of one, shape (T, B, L)."""
    energy = (layers.clamp(min=1e-6).log() + 2) / 4
    incident = incident_energy.clamp(min=1e-6).log()[:, None].expand_as(energy) / 4
    return torch.stack([torch.ones_like(energy), energy, incident, energy.square()])


def _rings(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Which ring of all each voxel is of (V,), and which layer each ring is of (R,)."""
    sizes = [layer.num_r for layer in geometry.layers]
    layer_of = np.repeat(np.arange(len(sizes)), sizes)
    firsts = np.cumsum([0, *sizes[:-1]])
    inside = [
        first + np.tile(np.arange(layer.num_r), layer.num_alpha)
        for first, layer in zip(firsts, geometry.layers, strict=True)
    ]
    return np.concatenate(inside), layer_of


def _waves(geometry: Geometry, ring: np.ndarray) -> np.ndarray:
    """Cosines and sines of the voxels' angles, of norm one in each ring, (M, 2, V)."""
    sectors = np.array([geometry.layers[i].num_alpha for i in geometry.layer_of])
    found = np.zeros((HARMONICS, 2, geometry.num_voxels))
    for m in range(HARMONICS):
        for i, wave in enumerate((np.cos(m * geometry.alpha), np.sin(m * geometry.alpha))):
            wave = np.where((sectors > 2 * m) | (m == 0), wave, 0)
            norm = np.sqrt(np.bincount(ring, wave**2))[ring]
            found[m, i] = wave / np.where(norm > 1e-6, norm, np.inf)
    return found
