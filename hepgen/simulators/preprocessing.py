r"""From showers to numbers that a network learns well, and back: one invertible object.

A shower is told by the energies of its layers, as ratios u, and by how each layer's energy is
shared among its voxels, x. With the energy :math:`E_l` of layer l and :math:`R_l = \sum_{j \ge l}
E_j`,

.. math:: u_0 = \frac{R_0}{E_\mathrm{inc}}, \quad u_l = \frac{E_{l-1}}{R_{l-1}}, \quad
   x_v = \frac{E_v}{E_{l(v)}}

so that there are as many u as layers and the last layer has what the others leave. C. Krause and
D. Shih, "CaloFlow", arXiv:2106.05285, section 3; F. Ernst et al., "Normalizing flows for
high-dimensional detector simulations" (CaloINN), arXiv:2312.09290, section 2; L. Favaro et al.,
"CaloDREAM", arXiv:2405.09629, section 3.

Empty voxels are no density, but a probability: noise below the threshold, which the way back
removes, makes one of it.

Shapes: B showers, L layers, V voxels, P voxels of one layer.
"""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, ShowerError, Showers
from hepgen.simulators.layer_ratios import LayerRatios
from hepgen.simulators.preprocessing_recipes import RECIPES
from hepgen.simulators.symmetry import turns

__all__ = ["RECIPES", "Preprocessing"]

# Showers whose means are taken at a time, and the seed of their noise.
CHUNK, SEED = 512, 20231214
# A voxel so much below the threshold is one at the threshold that was rounded: logits of float32
# have a relative error of 5e-7 times their size, 14, on the way there and back.
ROUNDING = 2e-5
# Share of a voxel that gets all of its layer, as no other is above the threshold.
SMALLEST = 1e-30


@final
class Preprocessing(nn.Module):
    r"""Energy ratios u and shares of voxels x, with noise, logit and standardisation, and back.

    The way back keeps the energy of each layer: shares are taken for what they are to each other,
    voxels below the threshold are emptied and the others get their energy, in proportion. If none
    of a layer were to stay, its greatest voxel does. A layer whose energy is below the threshold
    is empty.

    Args:
        geometry: of the voxels.
        noise: width of the uniform noise; 0 for none. Never more than the threshold of the
            geometry, if it has one and noise is in empty voxels.
        noise_unit: what ``noise`` is a part of: "GeV", the energy of the "layer", the "incident"
            energy or the "threshold" of the geometry.
        noise_in: which voxels get it: "empty" leaves the others as they are, which makes the way
            back exact; "all" is what the papers do.
        alpha: the logit is of :math:`\alpha + (1 - 2\alpha) x`.
        logit: whether x is a logit; else the share itself.
        standardise: whether u and x are shifted and scaled to mean 0 and standard deviation 1,
            both as in ``fit``.
        normalise: what x is a share of: the energy of the "layer" or the "incident" energy; or
            "GeV" for energies themselves, with a logarithm instead of the logit, so that the
            threshold is at the same x in all showers.
        empty_layers: whether empty layers get an energy "below" the threshold, as in the papers,
            or are kept "apart", see `hepgen.simulators.layer_ratios`. Neither without noise.
        total_scale: by which u_0 is divided.
        total_logit: whether u_0 is a logit.
        ratio_logit: whether the other u are.

    Attributes:
        floor: energy in GeV below which a voxel or a layer is empty.

    Raises:
        ValueError: an argument is out of its range.
    """

    u_mean: Tensor
    u_std: Tensor
    x_mean: Tensor
    x_std: Tensor
    layer_of: Tensor
    starts: Tensor

    def __init__(
        self,
        geometry: Geometry,
        *,
        noise: float = 1.0,
        noise_unit: Literal["GeV", "layer", "incident", "threshold"] = "threshold",
        noise_in: Literal["empty", "all"] = "empty",
        alpha: float = 1e-6,
        logit: bool = True,
        standardise: bool = True,
        normalise: Literal["layer", "incident", "GeV"] = "layer",
        empty_layers: Literal["below", "apart"] = "below",
        total_scale: float = 1.0,
        total_logit: bool = False,
        ratio_logit: bool = True,
    ) -> None:
        super().__init__()
        _check("noise_unit", noise_unit, ("GeV", "layer", "incident", "threshold"))
        _check("noise_in", noise_in, ("empty", "all"))
        _check("normalise", normalise, ("layer", "incident", "GeV"))
        _check("empty_layers", empty_layers, ("below", "apart"))
        if not 0 <= noise < float("inf"):
            raise ValueError(f"noise={noise}: wanted a width from 0 on")
        if not 0 < alpha < 0.1:
            raise ValueError(f"alpha={alpha}: wanted above 0 and below 0.1")
        if not 0 < total_scale < float("inf"):
            raise ValueError(f"total_scale={total_scale}: wanted above 0")
        self.geometry, self.noise, self.noise_unit = geometry, noise, noise_unit
        self.noise_in, self.alpha, self.logit = noise_in, alpha, logit
        self.standardise, self.normalise = standardise, normalise
        self.empty_layers, self.total_scale = empty_layers, total_scale
        self.total_logit, self.ratio_logit = total_logit, ratio_logit
        self.floor = geometry.threshold
        self.sizes = [layer.num_voxels for layer in geometry.layers]
        self.regular = len(set(self.sizes)) == 1
        layers, voxels = geometry.num_layers, geometry.num_voxels
        self.of_layers = LayerRatios(
            layers,
            total_scale=total_scale,
            total_logit=total_logit,
            ratio_logit=ratio_logit,
            alpha=alpha,
            apart=empty_layers == "apart" and noise > 0,
        )
        self.register_buffer("u_mean", torch.zeros(layers))
        self.register_buffer("u_std", torch.ones(layers))
        self.register_buffer("x_mean", torch.zeros(voxels))
        self.register_buffer("x_std", torch.ones(voxels))
        # Not kept in files: the geometry tells it.
        self.register_buffer("layer_of", torch.from_numpy(geometry.layer_of), persistent=False)
        self.register_buffer("starts", torch.from_numpy(geometry.starts[:-1]), persistent=False)

    @torch.no_grad()
    def fit(self, showers: Showers) -> Preprocessing:
        """Take means and widths from showers, and from all their turns if these are as likely.

        Args:
            showers: of the same voxels.

        Returns:
            Itself.

        Raises:
            ShowerError: there are none.
        """
        if not len(showers):
            raise ShowerError("no showers to take means and widths of")
        for name, value in (("u_mean", 0), ("u_std", 1), ("x_mean", 0), ("x_std", 1)):
            getattr(self, name).fill_(value)
        energies = torch.from_numpy(showers.layer_energies).to(self.u_mean.device)
        self.of_layers.fit(energies)
        if not self.standardise:
            return self
        generator = torch.Generator().manual_seed(SEED)
        size = self.geometry.num_layers + self.geometry.num_voxels
        # Two passes, as a variance from squares loses the digits of a mean.
        first, second = (torch.zeros(size, dtype=torch.float64) for _ in range(2))
        centre = None
        for start in range(0, len(showers), CHUNK):
            some = showers[start : start + CHUNK]
            voxels = torch.from_numpy(some.voxels).to(self.x_mean)
            energy = torch.from_numpy(some.incident_energy).to(self.x_mean)
            both = torch.cat(self(voxels, energy, generator), dim=1).cpu().double()
            centre = both.mean(0) if centre is None else centre
            first += (both - centre).sum(0)
            second += (both - centre).square().sum(0)
        assert centre is not None
        mean = first / len(showers)
        squares = second / len(showers) + centre * (2 * mean + centre)
        mean = centre + mean
        layers = self.geometry.num_layers
        turned = torch.from_numpy(turns(self.geometry))
        x_mean, x_squares = mean[layers:][turned].mean(0), squares[layers:][turned].mean(0)
        self.u_mean.copy_(mean[:layers])
        self.u_std.copy_(_width(squares[:layers] - mean[:layers].square()))
        self.x_mean.copy_(x_mean)
        self.x_std.copy_(_width(x_squares - x_mean.square()))
        return self

    def forward(
        self, voxels: Tensor, incident_energy: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Towards the numbers that a network learns.

        Args:
            voxels: in GeV, shape (B, V).
            incident_energy: in GeV, shape (B,).
            generator: of the noise; torch's own if not given.

        Returns:
            u (B, L) and x (B, V), of the type of the voxels.
        """
        incident = incident_energy.to(voxels.dtype)
        layers = self.sums(voxels)  # (B, L)
        u = self._u(layers, incident, generator)
        filled = voxels
        if self.noise:
            width = self.spread(self._width(layers, incident))  # (B, V)
            noise = width * _uniform(voxels, generator)
            if self.noise_in == "all":
                filled = voxels + noise
                layers = self.sums(filled)
            else:
                filled = torch.where(voxels > 0, voxels, noise)
        x = self._mapped(filled, layers, incident)
        return u, (x - self.x_mean) / self.x_std if self.standardise else x

    def ratios(
        self, voxels: Tensor, incident_energy: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """The ratios u alone.

        Args:
            voxels: in GeV, shape (B, V).
            incident_energy: in GeV, shape (B,).
            generator: of the energies, below the threshold, that empty layers get, if there is
                noise.

        Returns:
            Shape (B, L), mapped and standardised as ``forward`` gives them.
        """
        return self._u(self.sums(voxels), incident_energy.to(voxels.dtype), generator)

    def inverse(self, u: Tensor, x: Tensor, incident_energy: Tensor) -> Tensor:
        """Back to voxels.

        Args:
            u: ratios, shape (B, L).
            x: shares, shape (B, V).
            incident_energy: in GeV, shape (B,).

        Returns:
            Voxels in GeV, 0 or at least the threshold, shape (B, V), whose sums are ``layers``.
        """
        incident = incident_energy.to(x.dtype)
        layers = self.layers(u, incident_energy).to(x.dtype)  # (B, L)
        floor = self._floor(incident)  # (B, 1)
        if self.standardise:
            x = x * self.x_std + self.x_mean
        share = self._shares(x, layers, incident)
        lowest = floor.expand_as(layers)
        if self.noise_in == "all":
            lowest = torch.maximum(lowest, self._width(layers, incident))
        cut = self.spread(lowest * (1 - ROUNDING) / layers.clamp(min=_tiny(layers)))
        greatest = self._greatest(x)
        share = torch.where(greatest, share.clamp(min=SMALLEST), share)
        share = torch.where((share >= cut) | greatest, share, 0)
        # Where the others have more than the layer, all get less, and some of them too little.
        share = share / self.spread(self.sums(share).clamp(min=1))
        share = torch.where((share >= cut) | greatest, share, 0)
        voxels = share * self.spread(layers / self.sums(share))
        return torch.where(voxels > 0, torch.maximum(voxels, floor), voxels)

    def layers(self, u: Tensor, incident_energy: Tensor) -> Tensor:
        """Energies of the layers.

        Args:
            u: ratios, shape (B, L).
            incident_energy: in GeV, shape (B,).

        Returns:
            In GeV, 0 or at least the threshold, shape (B, L).
        """
        incident = incident_energy.to(u.dtype)
        if self.standardise:
            u = u * self.u_std + self.u_mean
        energies = self.of_layers.inverse(u, incident)
        return torch.where(energies >= self._floor(incident) * (1 - ROUNDING), energies, 0)

    def sums(self, voxels: Tensor) -> Tensor:
        """Sums over the voxels of each layer.

        Args:
            voxels: shape (B, V).

        Returns:
            Shape (B, L).
        """
        if self.regular:
            return voxels.view(voxels.shape[0], len(self.sizes), self.sizes[0]).sum(2)
        return torch.stack([part.sum(1) for part in torch.split(voxels, self.sizes, 1)], dim=1)

    def spread(self, layers: Tensor) -> Tensor:
        """One number a layer, given to each of its voxels.

        Args:
            layers: shape (B, L).

        Returns:
            Shape (B, V).
        """
        if self.regular:
            wide = layers[:, :, None].expand(-1, -1, self.sizes[0])
            return wide.reshape(layers.shape[0], self.geometry.num_voxels)
        return layers.index_select(1, self.layer_of)

    def _greatest(self, x: Tensor) -> Tensor:
        """Truth values (B, V), one of each layer true: its greatest voxel, the first of several."""
        if self.regular:
            found = x.view(x.shape[0], len(self.sizes), self.sizes[0]).argmax(2)
        else:
            parts = torch.split(x, self.sizes, 1)
            found = torch.stack([part.argmax(1) for part in parts], dim=1)
        empty = torch.zeros_like(x, dtype=torch.bool)
        return empty.scatter(1, found + self.starts, True)

    def _floor(self, incident: Tensor) -> Tensor:
        """Energy below which a voxel or a layer is empty, (B, 1)."""
        if self.floor > 0:
            return torch.full_like(incident[:, None], self.floor)
        width = {"GeV": self.noise, "threshold": 0.0}.get(self.noise_unit)
        return self.noise * incident[:, None] if width is None else width + 0 * incident[:, None]

    def _width(self, layers: Tensor, incident: Tensor) -> Tensor:
        """Of the noise in GeV, (B, L)."""
        floor = self._floor(incident)
        if self.noise_unit == "layer":
            width = self.noise * torch.maximum(layers, floor)
        elif self.noise_unit == "incident":
            width = self.noise * incident[:, None]
        else:
            width = torch.full_like(floor, self.noise)
            width = width * floor if self.noise_unit == "threshold" else width
        if self.noise_in == "empty":
            # So much below that rounding carries none of it over the threshold.
            width = torch.minimum(width, floor * (1 - 5 * ROUNDING))
        return width.expand_as(layers)

    def _u(self, layers: Tensor, incident: Tensor, generator: torch.Generator | None) -> Tensor:
        """Ratios of layer energies (B, L)."""
        noise = None
        if self.of_layers.apart:
            noise = _uniform(layers[:, 1:], generator)
        elif self.noise:
            low = self._floor(incident) * (1 - 5 * ROUNDING) * _uniform(layers, generator)
            layers = torch.where(layers > 0, layers, low)
        u: Tensor = self.of_layers(layers, incident, noise)
        return (u - self.u_mean) / self.u_std if self.standardise else u

    def _mapped(self, voxels: Tensor, layers: Tensor, incident: Tensor) -> Tensor:
        """Voxels (B, V) in GeV, none of them empty, as x but for the standardisation."""
        if self.normalise == "GeV":
            return torch.log(voxels.clamp(min=_tiny(voxels))) if self.logit else voxels
        unit = torch.maximum(layers.clamp(min=_tiny(layers)), self._floor(incident))
        unit = unit if self.normalise == "layer" else incident[:, None].expand_as(layers)
        share = (voxels / self.spread(unit)).clamp(0, 1)
        a, b = self.alpha, 1 - 2 * self.alpha
        logit = torch.log(a + b * share) - torch.log(a + b * (1 - share))
        return logit if self.logit else share

    def _shares(self, x: Tensor, layers: Tensor, incident: Tensor) -> Tensor:
        """The inverse: parts of the layers' energies, which need not sum to one."""
        a, b = self.alpha, 1 - 2 * self.alpha
        if self.normalise == "GeV":
            # No voxel has as much as 3e13 GeV.
            share: Tensor = torch.exp(x.clamp(max=31)) if self.logit else x.clamp(min=0)
        else:
            share = ((torch.sigmoid(x) - a) / b if self.logit else x).clamp(0, 1)
        if self.normalise == "layer":
            return share
        unit = incident[:, None] if self.normalise == "incident" else 1.0
        return share * self.spread(
            torch.where(layers > 0, unit / layers.clamp(min=_tiny(layers)), 1)
        )


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), drawn on the CPU if the generator is given."""
    if generator is None:
        return torch.rand_like(like)
    return torch.rand(like.shape, generator=generator, dtype=like.dtype).to(like.device)


def _tiny(like: Tensor) -> float:
    """What zero is replaced by, to divide by it."""
    return float(torch.finfo(like.dtype).tiny)


def _width(variance: Tensor) -> Tensor:
    """Standard deviation; one where nothing varies."""
    std = variance.clamp(min=0).sqrt()
    return torch.where(std > 1e-6, std, 1.0)


def _check(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r}: wanted one of {', '.join(known)}")
