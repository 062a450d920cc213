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

Shapes: B showers, L layers, V voxels, C context, D latent numbers, P parameters of a voxel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, Showers
from hepgen.paper import Paper
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.calo_vae_flow import ScaledFlow
from hepgen.simulators.calo_vae_hits import LayerHits
from hepgen.simulators.calo_vae_layers import Decoder, Encoder
from hepgen.simulators.calo_vae_voxels import VoxelMixture
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.preprocessing import Preprocessing
from hepgen.simulators.simulator import Simulator

__all__ = ["CaloVAE"]

# Logarithm of the energies that empty layers have for the flow, in units of the threshold.
EMPTY = -3.0


class _Autoencoder(nn.Module):
    """Encoder and decoder, the voxels' density, and how far the warm-up is; standard normal prior.

    Args:
        voxels: density of voxels.
        encoder: of showers.
        decoder: of latent numbers.
        beta: weight of the divergence after the warm-up.
        warmup: batches until then.
    """

    step: Tensor
    firsts: Tensor

    def __init__(
        self, voxels: VoxelMixture, encoder: Encoder, decoder: Decoder, beta: float, warmup: int
    ) -> None:
        super().__init__()
        self.voxels, self.encoder, self.decoder = voxels, encoder, decoder
        self.full_beta, self.warmup = beta, warmup
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        starts = voxels.preprocessing.geometry.starts[:-1]
        self.register_buffer("firsts", torch.from_numpy(starts.copy()), persistent=False)

    @property
    def beta(self) -> Tensor:
        """Weight of the divergence now; all of it in evaluation, so that losses compare."""
        share = (self.step + 1) / max(1, self.warmup)
        return self.full_beta * (share.clamp(max=1) if self.training else torch.ones_like(share))

    def told(self, layers: Tensor, incident_energy: Tensor) -> Tensor:
        """What networks are told of the layers' energies (B, L): shape (L, B, 2)."""
        share = layers / incident_energy[:, None]
        logarithm = (torch.log(share + 1e-7) + 6) / 4
        return torch.stack([logarithm, 4 * share], dim=2).transpose(0, 1)

    def encode(self, batch: ShowerBatch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Mean and log variance of z, the shares, the layers' energies and what is told of them."""
        layers = self.voxels.preprocessing.sums(batch.voxels)
        shares = self.voxels.shares(batch.voxels)
        told = self.told(layers, batch.incident_energy)
        mean, log_variance = self.encoder(self.voxels.features(shares), told, batch.context)
        return mean, log_variance, shares, layers, told

    def ratios(self, batch: ShowerBatch) -> tuple[Tensor, Tensor]:
        """Energy ratios u and which layers have energy, both (B, L).

        Of empty layers, which the flow is told of, ratios are those of energies far below the
        threshold.
        """
        preprocessing = self.voxels.preprocessing
        layers = preprocessing.sums(batch.voxels)
        floor = max(preprocessing.floor, 1e-7)
        low = floor * torch.exp(EMPTY + 0.5 * torch.randn_like(layers))
        first = torch.zeros_like(batch.voxels)
        first[:, self.firsts] = torch.where(layers > 0, 0, low)
        u = preprocessing.ratios(batch.voxels + first, batch.incident_energy)
        return u, (layers > 0).to(u)

    def terms(self, batch: ShowerBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of x given z, ln p (B,); a draw z (B, D); mean and log variance of q (B, D)."""
        mean, log_variance, shares, layers, told = self.encode(batch)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        parameters = self.decoder(z, told, batch.context)
        likelihood = self.voxels.log_prob(parameters, shares, layers).sum(1)
        return likelihood, z, mean, log_variance

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Minus the bound, but for the energies of the layers."""
        likelihood, _, mean, log_variance = self.terms(batch)
        found = batch.mean(self.beta * normal_divergence(mean, log_variance) - likelihood)
        self.count()
        return found

    def count(self) -> None:
        """One batch more, if in training."""
        if self.training:
            self.step += 1


class _Energies(nn.Module):
    """Which layers have energy, and the ratios of energies, perhaps with latent numbers, given it.

    Args:
        layers: L.
        more: latent numbers.
        context: C.
        hidden: width of the networks.
        num_transforms: couplings of the flow.
    """

    def __init__(
        self, layers: int, more: int, context: int, hidden: int, num_transforms: int | None
    ) -> None:
        super().__init__()
        self.hits = LayerHits(layers, context, hidden=hidden)
        self.flow = ScaledFlow(
            layers + more, context + layers, hidden=hidden, num_transforms=num_transforms
        )

    def log_prob(self, hit: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """Of the layers with energy (B, L) and of ratios and latent numbers (B, L + more)."""
        inside = self.flow.log_prob(x, torch.cat([context, hit], dim=1))
        return self.hits.log_prob(hit, context) + inside

    def forward(self, uniform: Tensor, noise: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Layers with energy (B, L), and ratios and latent numbers (B, L + more)."""
        hit = self.hits.draw(uniform, context)
        return hit, self.flow(noise, torch.cat([context, hit], dim=1))


class _LatentFlow(nn.Module):
    """Energies and latent numbers of an autoencoder that is trained already.

    Args:
        autoencoder: which stays as it is.
        energies: of L + D dimensions.
    """

    def __init__(self, autoencoder: _Autoencoder, energies: _Energies) -> None:
        super().__init__()
        self.energies = energies
        # In a tuple, so that its weights are not this module's.
        self.source = (autoencoder,)

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Minus the log-density of layers with energy, ratios and latent numbers."""
        autoencoder = self.source[0]
        with torch.no_grad():
            mean, log_variance, *_ = autoencoder.encode(batch)
            z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
            u, hit = autoencoder.ratios(batch)
        return -batch.mean(self.energies.log_prob(hit, torch.cat([u, z], dim=1), batch.context))


def normal_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of independent normal distributions from the standard one, (B,) of (B, D)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


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
    layers with energy, the ratios, the latent numbers and each voxel.

    Training has one stage, "vae", or with ``prior="latent_flow"`` two, "vae" and "latent".

    Args:
        geometry: of the voxels.
        conditions: of the particles.
        latent: D.
        width: numbers of a layer inside the networks.
        trunk: width of the networks of all layers.
        neighbours: how many layers on each side a layer sees.
        components: logistic distributions in the density of a voxel.
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
        "epochs": 100,
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
        latent: int = 32,
        width: int = 64,
        trunk: int = 256,
        neighbours: int = 1,
        components: int = 2,
        beta: float = 1.0,
        warmup: int = 1000,
        prior: Literal["normal", "flow", "latent_flow"] = "normal",
        flow_hidden: int = 64,
        flow_transforms: int | None = None,
    ) -> None:
        super().__init__(geometry, conditions)
        if prior not in ("normal", "flow", "latent_flow"):
            raise ValueError(f"prior={prior!r}: the priors are normal, flow and latent_flow")
        if min(latent, width, trunk) < 1 or min(neighbours, warmup) < 0:
            raise ValueError("latent, width and trunk are at least 1, neighbours and warmup 0")
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta={beta}: wanted a number from 0 on")
        self.latent, self.width, self.trunk, self.neighbours = latent, width, trunk, neighbours
        self.components, self.beta, self.warmup, self.prior = components, beta, warmup, prior
        self.flow_hidden, self.flow_transforms = flow_hidden, flow_transforms
        where, layers, told = self.geometry, self.geometry.num_layers, self.conditions.width
        voxels = VoxelMixture(Preprocessing(where, logit=False), components)
        sizes = (latent, width, trunk, neighbours)
        self.autoencoder = _Autoencoder(
            voxels,
            Encoder(where, told, *sizes),
            Decoder(where, told, *sizes, voxels.num_parameters),
            beta,
            warmup,
        )
        both = prior == "latent_flow"
        more = latent if both else 0
        energies = _Energies(layers, more, told, flow_hidden, flow_transforms)
        self.energies = None if both else energies
        self.joint = _LatentFlow(self.autoencoder, energies) if both else None
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
    def _all_energies(self) -> _Energies:
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
        noise = torch.randn(len(context), self.noise_width, generator=generator)
        return self.from_noise(noise.to(context), incident_energy, context)

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
        layers, voxels = self.geometry.num_layers, self.geometry.num_voxels
        sizes = [layers, layers, self.latent, voxels]
        zeroth, first, second, third = torch.split(noise, sizes, dim=1)
        uniform = _uniform(zeroth)
        if self.joint is not None:
            hit, both = self._all_energies(uniform, torch.cat([first, second], dim=1), context)
            u, z = both[:, :layers], both[:, layers:]
        else:
            hit, u = self._all_energies(uniform, first, context)
            z = second
            if self.latents is not None:
                z = self.latents(z, torch.cat([context, u], dim=1))
        energies = self.preprocessing.layers(u, incident_energy) * hit
        told = self.autoencoder.told(energies, incident_energy)
        parameters = self.autoencoder.decoder(z, told, context)
        shares = self.autoencoder.voxels.draw(parameters, _uniform(third), energies)
        found = self.preprocessing.inverse(u, shares, incident_energy)
        return torch.where(self.preprocessing.spread(hit) > 0, found, 0)
