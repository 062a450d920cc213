r"""The parts of a CaloVAE that learn: the autoencoder, the energies of the layers, the latent flow.

`hepgen.simulators.calo_vae` has the formulas.

Shapes: B showers, L layers, V voxels, C context, D latent numbers, P parameters of a voxel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.calo_vae_flow import ScaledFlow
from hepgen.simulators.calo_vae_hits import LayerHits
from hepgen.simulators.calo_vae_layers import Decoder, Encoder
from hepgen.simulators.calo_vae_modes import ShowerModes
from hepgen.simulators.calo_vae_voxels import VoxelMixture

__all__ = ["Autoencoder", "Energies", "LatentFlow", "normal_divergence"]

# Logarithm of the energies that empty layers have for the flow, in units of the threshold.
EMPTY = -3.0


class Autoencoder(nn.Module):
    """Encoder and decoder, the voxels' density, and how far the warm-up is; standard normal prior.

    Args:
        voxels: density of voxels.
        modes: what the latent numbers begin as.
        encoder: of showers.
        decoder: of latent numbers.
        beta: weight of the divergence after the warm-up.
        warmup: batches until then.
    """

    step: Tensor
    firsts: Tensor

    def __init__(
        self,
        voxels: VoxelMixture,
        modes: ShowerModes,
        encoder: Encoder,
        decoder: Decoder,
        beta: float,
        warmup: int,
    ) -> None:
        super().__init__()
        self.voxels, self.modes = voxels, modes
        self.encoder, self.decoder = encoder, decoder
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

    def encode(self, batch: ShowerBatch) -> tuple[Tensor, ...]:
        """Of z and of the totals, mean and log variance; shares, layers' energies, what is told."""
        layers = self.voxels.preprocessing.sums(batch.voxels)
        shares = self.voxels.shares(batch.voxels)
        told = self.told(layers, batch.incident_energy)
        features, modes = self.modes(shares, layers, batch.incident_energy)
        found = self.encoder(features, modes, told, batch.context)
        return (*found, shares, layers, told)

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
        """Of x given z, ln p (B,); a draw z (B, D); mean and log variance of q (B, D).

        The logarithm is bounded from below by that of the shares and of the totals, which have a
        distribution of their own, less its entropy.
        """
        mean, log_variance, total, spread, shares, layers, told = self.encode(batch)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        totals = total + torch.exp(spread / 2) * torch.randn_like(total)
        parameters = self.decoder(z, told, batch.context)
        likelihood = self.voxels.log_prob(parameters, shares, layers, totals).sum(1)
        entropy = 0.5 * (spread + math.log(2 * math.pi * math.e)) * self.voxels.free(shares)
        return likelihood + entropy.sum(1), z, mean, log_variance

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


class Energies(nn.Module):
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


class LatentFlow(nn.Module):
    """Energies and latent numbers of an autoencoder that is trained already.

    Args:
        autoencoder: which stays as it is.
        energies: of L + D dimensions.
    """

    def __init__(self, autoencoder: Autoencoder, energies: Energies) -> None:
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
