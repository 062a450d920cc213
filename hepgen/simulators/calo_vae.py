r"""A conditional variational autoencoder of showers, whose latent prior may be a flow.

With the energies of the layers, told by which have any and by their ratios, u, the shares of the
voxels x, latent numbers z and the conditions c of the particle,

.. math:: p(u, x | c) = p(u | c) \int p(x | z, u, c) \, p(z | u, c) \, dz ,

learnt by what bounds its logarithm from below,

.. math:: \ln p(u | c) + \langle \ln p(x | z, u, c) \rangle_{q(z | x, u, c)}
   - \beta \, \mathrm{KL}\big( q(z | x, u, c) \,\|\, p(z | u, c) \big) .

D. P. Kingma and M. Welling, "Auto-encoding variational Bayes", arXiv:1312.6114; I. Higgins et al.,
"beta-VAE", ICLR 2017; for showers, with a flow of latent numbers and energy ratios, F. Ernst,
L. Favaro, C. Krause, T. Plehn and D. Shih, "Normalizing flows for high-dimensional detector
simulations" (CaloVAE+INN), arXiv:2312.09290. Unlike there voxels are drawn from a density, which
knows empty ones and fluctuations; networks and numbers of parameters are not those of the paper.

The latent numbers have little to tell, some nats beside the hundreds of independent voxels. From
small random weights they were not found: 0.16 nats were left after training, and the centre of
energy of Geant4 showers was a quarter too narrow. So they begin as `ShowerModes`, and with a small
variance.

Shapes: B showers, L layers, V voxels, C context, D latent numbers, P parameters of a voxel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, Showers
from hepgen.paper import Paper
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.calo_vae_draw import VoxelDraw
from hepgen.simulators.calo_vae_flow import ScaledFlow
from hepgen.simulators.calo_vae_kernels import numbers_of
from hepgen.simulators.calo_vae_layers import Decoder, Encoder
from hepgen.simulators.calo_vae_modes import ShowerModes
from hepgen.simulators.calo_vae_parts import (
    Autoencoder,
    Energies,
    LatentFlow,
    normal_divergence,
)
from hepgen.simulators.calo_vae_voxels import VoxelMixture
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.preprocessing import Preprocessing
from hepgen.simulators.simulator import Simulator

__all__ = ["CaloVAE"]

# Showers whose voxels are drawn at a time, so that what they are drawn from stays near.
CHUNK = 200


def _uniform(noise: Tensor) -> Tensor:
    """Uniform numbers of standard normal ones."""
    return 0.5 * (1 + torch.erf(noise / math.sqrt(2)))


@final
class CaloVAE(Simulator):
    r"""A variational autoencoder of showers, with weights of their own for each layer.

    Each layer's voxels are read to ``width`` numbers, which see those of the neighbours; all layers
    together give the latent numbers. Back the same way, to the parameters of each voxel's density:
    hit or empty, and if hit, the share of the layer's energy. Which layers have energy is drawn
    first, then how much, by a flow; the voxels keep it exactly.

    ``from_noise(noise, incident_energy, context)`` is all of the simulation that is no random
    number, in plain operations of torch: the noise (B, ``noise_width``) is standard normal, for the
    layers with energy, the ratios, the latent numbers and each voxel. ``generate`` draws the same
    distribution by kernels of numba, with other random numbers for the voxels.

    Training has one stage, "vae", or with ``prior="latent_flow"`` two, "vae" and "latent".

    Args:
        geometry: of the voxels.
        conditions: of the particles.
        latent: D.
        width: numbers of a layer inside the networks.
        trunk: width of the networks of all layers.
        neighbours: how many layers on each side a layer of the encoder sees.
        form: numbers of a layer that its voxels' densities depend on, but for their rate and place.
        components: distributions in the density of a voxel.
        beta: weight of the divergence of the latent numbers from their prior.
        warmup: batches over which it grows from 0.
        prior: of the latent numbers: "normal"; a "flow" learnt with the rest; or a "latent_flow"
            of latent numbers and energy ratios, learnt when the autoencoder is trained.
        flow_hidden: width of the flows' networks.
        flow_transforms: couplings of the flows; None for as few as have all dimensions see all.

    Raises:
        ValueError: an argument is out of its range.
    """

    paper: ClassVar[Paper | None] = Paper(
        "F. Ernst, L. Favaro, C. Krause, T. Plehn and D. Shih",
        "Normalizing flows for high-dimensional detector simulations",
        "SciPost Phys. 18 (2025) 081",
        "2312.09290",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "epochs": 40,
        "batch_size": 128,
        "lr": 1e-3,
        "schedule": "one_cycle",
        "clip": 100.0,
    }

    def __init__(
        self,
        geometry: Geometry | Mapping[str, Any],
        conditions: Conditions | Mapping[str, Any],
        *,
        latent: int = 16,
        width: int = 32,
        trunk: int = 256,
        neighbours: int = 1,
        form: int = 4,
        components: int = 2,
        beta: float = 1.0,
        warmup: int = 1000,
        prior: Literal["normal", "flow", "latent_flow"] = "latent_flow",
        flow_hidden: int = 64,
        flow_transforms: int | None = None,
    ) -> None:
        super().__init__(geometry, conditions)
        if prior not in ("normal", "flow", "latent_flow"):
            raise ValueError(f"prior={prior!r}: the priors are normal, flow and latent_flow")
        if min(latent, width, trunk, form) < 1 or min(neighbours, warmup) < 0:
            raise ValueError(
                "latent, width, trunk and form are at least 1, neighbours and warmup 0"
            )
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta={beta}: wanted a number from 0 on")
        self.latent, self.width, self.trunk, self.neighbours = latent, width, trunk, neighbours
        self.form, self.components, self.beta = form, components, beta
        self.warmup, self.prior = warmup, prior
        self.flow_hidden, self.flow_transforms = flow_hidden, flow_transforms
        where, layers, told = self.geometry, self.geometry.num_layers, self.conditions.width
        voxels = VoxelMixture(Preprocessing(where, logit=False), components)
        sizes = (latent, width, trunk)
        self.autoencoder = Autoencoder(
            voxels,
            ShowerModes(voxels.preprocessing, latent),
            Encoder(where, told, *sizes, neighbours),
            Decoder(where, told, *sizes, form, components),
            beta,
            warmup,
        )
        both = prior == "latent_flow"
        more = latent if both else 0
        energies = Energies(layers, more, told, flow_hidden, flow_transforms)
        self.energies = None if both else energies
        self.joint = LatentFlow(self.autoencoder, energies) if both else None
        self.latents = None
        if prior == "flow":
            self.latents = ScaledFlow(
                latent, told + layers, hidden=flow_hidden, num_transforms=flow_transforms
            )

    @property
    def preprocessing(self) -> Preprocessing:
        """The map of layer energies to ratios and back."""
        return self.autoencoder.voxels.preprocessing

    @property
    def _all_energies(self) -> Energies:
        energies = self.energies if self.joint is None else self.joint.energies
        assert energies is not None
        return energies

    @property
    def noise_width(self) -> int:
        """Random numbers of one shower: 2 L + D + V."""
        return 2 * self.geometry.num_layers + self.latent + self.geometry.num_voxels

    def prepare(self, showers: Showers) -> None:
        """Learn what is usual for energy ratios and for each voxel.

        Args:
            showers: some of the training sample.
        """
        self.preprocessing.fit(showers)
        # Shares are standardised by the density of the voxels.
        self.preprocessing.x_mean.zero_()
        self.preprocessing.x_std.fill_(1)
        voxels = torch.from_numpy(showers.voxels).to(self.device).float()
        self.autoencoder.voxels.fit(voxels)
        energy = torch.from_numpy(showers.incident_energy).to(voxels)
        self.autoencoder.modes.fit(voxels, energy)
        self._all_energies.hits.fit(self.preprocessing.sums(voxels) > 0)

    def stages(self) -> Mapping[str, nn.Module]:
        """The autoencoder, and with a latent flow that.

        Returns:
            "vae", and perhaps "latent", -> module.
        """
        if self.joint is None:
            return {"vae": self}
        return {"vae": self.autoencoder, "latent": self.joint}

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Minus the bound on the log-density, in nats a shower, the warm-up's weight in it.

        Args:
            batch: showers.
        """
        if self.joint is not None:
            return self.autoencoder.loss(batch) + self.joint.loss(batch)
        u, hit = self.autoencoder.ratios(batch)
        energies = self._all_energies.log_prob(hit, u, batch.context)
        likelihood, z, mean, log_variance = self.autoencoder.terms(batch)
        if self.latents is None:
            divergence = normal_divergence(mean, log_variance)
        else:
            own = -0.5 * ((z - mean).square() / log_variance.exp() + log_variance)
            own = own.sum(1) - 0.5 * self.latent * math.log(2 * math.pi)
            divergence = own - self.latents.log_prob(z, torch.cat([batch.context, u], dim=1))
        found = batch.mean(self.autoencoder.beta * divergence - likelihood - energies)
        self.autoencoder.count()
        return found

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Voxels of some showers.

        Args:
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).
            generator: of the noise, on the CPU.

        Returns:
            In GeV, shape (B, V).
        """
        layers = self.geometry.num_layers
        noise = torch.randn(len(context), 2 * layers + self.latent, generator=generator)
        keys = torch.randint(2**63 - 1, (len(context),), generator=generator)
        energies, z = self._energies_and_latents(noise.to(context), incident_energy, context)
        return self._voxels(energies, z, keys, incident_energy, context)

    def _energies_and_latents(
        self, noise: Tensor, incident_energy: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Energies of the layers in GeV (B, L), and latent numbers (B, D), of (B, 2 L + D)."""
        layers = self.geometry.num_layers
        zeroth, first, second = torch.split(noise, [layers, layers, self.latent], dim=1)
        uniform = _uniform(zeroth)
        if self.joint is not None:
            hit, both = self._all_energies(uniform, torch.cat([first, second], dim=1), context)
            u, z = both[:, :layers], both[:, layers:]
        else:
            hit, u = self._all_energies(uniform, first, context)
            z = second
            if self.latents is not None:
                z = self.latents(z, torch.cat([context, u], dim=1))
        return self.preprocessing.layers(u, incident_energy) * hit, z

    def from_noise(self, noise: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        """Voxels, all random numbers given.

        Args:
            noise: standard normal, shape (B, ``noise_width``): for the layers with energy, the
                energy ratios, the latent numbers and each voxel.
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).

        Returns:
            In GeV, shape (B, V).
        """
        voxels = self.geometry.num_voxels
        some, last = torch.split(noise, [self.noise_width - voxels, voxels], dim=1)
        energies, z = self._energies_and_latents(some, incident_energy, context)
        told = self.autoencoder.told(energies, incident_energy)
        parameters = self.autoencoder.decoder(z, told, context)
        shares = self.autoencoder.voxels.draw(parameters, _uniform(last), energies)
        return self.autoencoder.voxels.energies(shares, energies)

    def _voxels(
        self, energies: Tensor, z: Tensor, keys: Tensor, incident_energy: Tensor, context: Tensor
    ) -> Tensor:
        """Voxels in GeV (B, V); their random numbers are those of the showers' keys (B,)."""
        number = keys.numpy().view(np.uint64)
        own = self.autoencoder
        if context.device.type != "cpu" or own.voxels.location.dtype != torch.float32:
            uniform = np.empty((len(number), self.geometry.num_voxels), np.float32)
            numbers_of(number, uniform)
            told = own.told(energies, incident_energy)
            parameters = own.decoder(z, told, context)
            shares = own.voxels.draw(parameters, torch.from_numpy(uniform).to(context), energies)
            return own.voxels.energies(shares, energies)
        out = np.empty((len(number), self.geometry.num_voxels), np.float32)
        draw = VoxelDraw(own.decoder, own.voxels)
        for start in range(0, len(number), CHUNK):
            rows = slice(start, start + CHUNK)
            told = own.told(energies[rows], incident_energy[rows])
            hidden = own.decoder.hidden(z[rows], told, context[rows])
            draw(*hidden, number[rows], energies[rows], out[rows])
        return torch.from_numpy(out)
