r"""Weights of channels: constants times densities, times what a network adds.

Shapes: B points, D dimensions, K channels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["ChannelWeights"]

Array = NDArray[np.float64]

STEPS, BATCH, RATE = 200, 2048, 3e-3


class ChannelWeights:
    r""":math:`\alpha_k \propto a_k \rho_k(x) e^{c_k(x)}`, adding up to one.

    Args:
        number: K.
        dimension: D.
        network: hidden width of the network c, which begins at zero; 0 for none.
        seed: of the network and its batches.

    Attributes:
        constants: a, of sum one; zero for channels that were dropped.
    """

    def __init__(self, number: int, dimension: int, network: int = 0, seed: int = 0) -> None:
        self.constants = np.full(number, 1 / number)
        self.seed = seed
        self._lessons = 0
        self.network: nn.Module | None = None
        if network:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                last = nn.Linear(network, number)
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
                first, second = nn.Linear(dimension, network), nn.Linear(network, network)
                layers = (first, nn.SiLU(), second, nn.SiLU(), last)
                self.network = nn.Sequential(*layers).double()

    def __call__(self, x: Array, densities: Array) -> Array:
        """Weights, shape (B, K), adding up to one.

        Args:
            x: points, shape (B, D).
            densities: of the channels there, shape (B, K). Where all are zero the weights are the
                constants.
        """
        weights = self.constants * densities
        if self.network is not None:
            with torch.no_grad():
                more = self.network(torch.from_numpy(np.ascontiguousarray(x))).numpy()
            # Bounded, so that no channel is asked for points where it has none.
            weights = weights * np.exp(4 * np.tanh(more / 4))
        total = weights.sum(1, keepdims=True)
        return np.where(total > 0, weights / np.where(total > 0, total, 1.0), self.constants)

    def learn(self, x: Array, densities: Array, measure: Array, values: Array) -> None:
        r"""Update the constants, :math:`a_k \to a_k \sqrt{W_k}`, then the network.

        :math:`W_k = \int \rho_k f^2 / g^2` with :math:`g = \sum a_k \rho_k` (Kleiss and Pittau,
        equation 8): where all are equal, the variance is stationary.

        Args:
            x: points, shape (B, D).
            densities: of the channels, shape (B, K).
            measure: of the points, shape (B,).
            values: |f|, shape (B,).
        """
        mean = densities @ self.constants
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(mean > 0, values / mean, 0.0)
        moments = (densities * (measure * ratio**2)[:, None]).sum(0)
        if moments @ self.constants > 0:
            updated = self.constants * np.sqrt(moments)
            self.constants = updated / updated.sum()
        if self.network is not None:
            self._descend(x, densities, measure, values)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Drop the other channels; never all of them."""
        if (self.constants[kept] > 0).any():
            self.constants = np.where(kept, self.constants, 0.0)
            self.constants /= self.constants.sum()

    def state(self) -> dict[str, Any]:
        """Constants and weights of the network."""
        weights = {} if self.network is None else self.network.state_dict()
        return {
            "constants": self.constants.copy(),
            "network": {name: tensor.numpy().copy() for name, tensor in weights.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of weights of the same sizes."""
        self.constants = np.array(state["constants"])
        if self.network is not None:
            weights = {n: torch.from_numpy(np.array(w)) for n, w in state["network"].items()}
            self.network.load_state_dict(weights)

    def _descend(self, x: Array, densities: Array, measure: Array, values: Array) -> None:
        """Lower the sum of the channels' spreads, and keep it if points held out agree."""
        assert self.network is not None
        rng = np.random.default_rng((self.seed, self._lessons))
        self._lessons += 1
        used = (measure > 0) & (densities @ self.constants > 0)
        held = rng.random(len(x)) < 0.25
        scale = float(measure @ values)
        columns = [torch.from_numpy(np.ascontiguousarray(one)) for one in (x, densities, measure)]
        data = (*columns, torch.from_numpy(values / scale), torch.from_numpy(self.constants))
        judged = torch.from_numpy(np.flatnonzero(used & held))
        rows = np.flatnonzero(used & ~held)
        if not len(rows) or not len(judged):
            return
        best = float(self._spread(judged, *data).detach())
        found = copy.deepcopy(self.network.state_dict())
        optimizer = torch.optim.Adam(self.network.parameters(), RATE)
        for step in range(STEPS):
            loss = self._spread(torch.from_numpy(rng.choice(rows, BATCH)), *data)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 25 == 24:
                score = float(self._spread(judged, *data).detach())
                if score < best:
                    best, found = score, copy.deepcopy(self.network.state_dict())
        self.network.load_state_dict(found)

    def _spread(
        self,
        rows: Tensor,
        x: Tensor,
        densities: Tensor,
        measure: Tensor,
        values: Tensor,
        constants: Tensor,
    ) -> Tensor:
        r""":math:`\sum_k \sigma_k`, :math:`\sigma_k^2 = \int \alpha_k^2 f^2 / \rho_k - I_k^2`.

        Its square is the variance of strata with the best numbers of points (2311.01548, equation
        14). With the points of all channels for each of them; what the samplers behind the maps
        have learnt is left out.
        """
        assert self.network is not None
        more = 4 * torch.tanh(self.network(x[rows]) / 4)
        weights = constants * densities[rows] * torch.exp(more)
        alpha = weights / weights.sum(1, keepdim=True)
        density = densities[rows]
        square = torch.where(density > 0, alpha**2 / density.clamp(min=1e-300), 0.0)
        size = len(x) / len(rows)
        carried = measure[rows] * values[rows]
        moments = (square * (carried * values[rows])[:, None]).sum(0) * size
        integrals = (alpha * carried[:, None]).sum(0) * size
        return (moments - integrals**2).clamp(min=1e-8).sqrt().sum()
