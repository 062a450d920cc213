r"""A normalizing flow as proposal: what neither axes nor Gaussians can follow.

C. Gao, J. Isaacson and C. Krause, "i-flow", arXiv:2001.05486; T. Heimel et al., "MadNIS",
arXiv:2212.06172, for the buffer. Points may be drawn in hypercubes of the latent cube as VEGAS
makes them there, which a flow leaves little to do.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, Self, final

import numpy as np
import torch
from numpy.typing import NDArray

from hepgen.flows import NeuralSplineFlow
from hepgen.integration.flow_training import Lesson, Scores, teach
from hepgen.integration.low_discrepancy import replicates, scrambled_sobol
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.sizes import sizes_at
from hepgen.integration.vegas import Vegas

__all__ = ["FlowSampler"]

Array = NDArray[np.float64]

# Points that are remembered, at most; and that go through the flow at a time.
REMEMBERED = 400_000
CHUNK = 16_384


@final
class FlowSampler(Sampler):
    r"""A neural spline flow of the unit cube, trained on all points seen so far.

    Before the first `adapt` points are uniform. Each `adapt` of the first ``rounds`` ones trains on
    everything seen so far, drawn by this sampler or by others; the last one also tries to lower
    the variance, see `hepgen.integration.flow_training`. From then on the flow stays; only strata
    of the latent cube learn. Training is in float32, densities are those of the same weights in
    float64. A `Defensive` around it bounds weights, a `Mapped` lets it begin from the map of VEGAS.
    A discrete dimension is one of the cube whose bins are its values: points are spread over a bin.

    Args:
        dimension: D.
        hidden: width of the networks.
        num_bins: of the splines.
        rounds: calls of `adapt` that train.
        steps: of each training; the last has twice as many.
        batch: points a step.
        rate: largest learning rate.
        latent: how latent points are drawn: "random"; "sobol", low-discrepancy sets; or "strata",
            by a `Vegas` on the latent cube.
        device: where to train and draw, as torch names it.
        seed: of the initial weights and of the batches.

    Attributes:
        scores: of the last training, on points held out; None before any.

    Raises:
        ValueError: an argument out of range.
    """

    remembers = True

    def __init__(
        self,
        dimension: int,
        hidden: int = 32,
        num_bins: int = 8,
        rounds: int = 4,
        steps: int = 240,
        batch: int = 1024,
        rate: float = 3e-3,
        latent: Literal["random", "sobol", "strata"] = "random",
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        if dimension < 2:
            raise ValueError(f"a flow needs 2 dimensions or more, got {dimension}")
        if min(hidden, num_bins, rounds, steps, batch) < 1 or not rate > 0:
            raise ValueError(
                "hidden, num_bins, rounds, steps, batch and rate must be positive, got "
                f"{hidden}, {num_bins}, {rounds}, {steps}, {batch} and {rate}"
            )
        if latent not in ("random", "sobol", "strata"):
            raise ValueError(f"latent must be 'random', 'sobol' or 'strata', got {latent!r}")
        self.dimension, self.hidden, self.num_bins = dimension, hidden, num_bins
        self.rounds, self.steps, self.batch, self.rate = rounds, steps, batch, float(rate)
        self.latent, self.device, self.seed = latent, device, seed
        self.scores: Scores | None = None
        self._trained = 0
        self._flow: NeuralSplineFlow = _flow(dimension, hidden, num_bins, seed).to(device)
        self._exact = _in_double(self._flow)
        self._strata = Vegas(dimension) if latent == "strata" else None
        self._memory: list[tuple[Array, Array, Array]] = []

    @property
    def flow(self) -> NeuralSplineFlow:
        """The flow, in float32."""
        return self._flow

    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Draw latent points and map them.

        Args:
            calls: how many at most; of low-discrepancy sets a few per cent fewer are used.
            rng: where all random numbers come from.

        Raises:
            ValueError: fewer than two calls.
        """
        if calls < 2:
            raise ValueError(f"a flow needs 2 calls or more for a draw, got {calls}")
        unit = None
        if self._strata is not None:
            drawn = self._strata.draw(calls, rng)
        elif self.latent == "sobol" and calls >= 256:
            sets, size = replicates(calls)
            z = scrambled_sobol(self.dimension, sets, size, rng)
            unit = np.repeat(np.arange(sets), size)
            drawn = Draw(z, np.full(len(z), 1 / len(z)), unit)
        else:
            drawn = Draw(rng.random((calls, self.dimension)), np.full(calls, 1 / calls))
        x, slope = self._push(drawn.x, inverse=True)
        return Draw(x, drawn.measure * slope, drawn.unit, drawn.stratum)

    def density(self, x: Array) -> Array:
        """Density of the flow (and of the strata), shape (B, D) to (B,).

        Raises:
            ValueError: points of another dimension.
        """
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"points must have shape (B, {self.dimension}), got {x.shape}")
        z, slope = self._push(x)
        return slope if self._strata is None else slope * self._strata.density(z)

    def adapt(self, draw: Draw, values: Array) -> None:
        """Remember, and train while there are rounds left.

        Args:
            draw: points of this sampler or of any other.
            values: |f| at the points, shape (B,).

        Raises:
            ValueError: values of another shape, negative or not finite.
        """
        values = sizes_at(draw, values)
        if self._trained < self.rounds:
            self.remember(draw, values)
            self._train()
        elif self._strata is not None:
            z, slope = self._push(draw.x)
            self._strata.adapt(Draw(z, draw.measure * slope), values / np.maximum(slope, 1e-300))

    def state(self) -> Mapping[str, Any]:
        """Arguments, weights and strata; points seen so far are not kept."""
        names = ("dimension", "hidden", "num_bins", "rounds", "steps", "batch", "rate", "latent")
        weights = {name: w.cpu().numpy().copy() for name, w in self._flow.state_dict().items()}
        return {name: getattr(self, name) for name in (*names, "device", "seed")} | {
            "trained": self._trained,
            "weights": weights,
            "strata": None if self._strata is None else self._strata.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The sampler that gave a state.

        Raises:
            KeyError: the state is not of this class.
        """
        names = ("dimension", "hidden", "num_bins", "rounds", "steps", "batch", "rate", "latent")
        sampler = cls(**{name: state[name] for name in (*names, "device", "seed")})
        weights = {name: torch.from_numpy(np.array(w)) for name, w in state["weights"].items()}
        sampler._flow.load_state_dict(weights)
        sampler._exact = _in_double(sampler._flow)
        sampler._trained = state["trained"]
        if state["strata"] is not None:
            sampler._strata = Vegas.from_state(state["strata"])
        return sampler

    def remember(self, draw: Draw, values: Array) -> None:
        """Keep points for the next training without training now.

        Args:
            draw: points of this sampler or of any other.
            values: |f| at the points, shape (B,).
        """
        if values.any():
            self._memory.append((draw.x, values, draw.measure))
        while sum(len(x) for x, _, _ in self._memory) > REMEMBERED and len(self._memory) > 1:
            del self._memory[0]

    def _train(self) -> None:
        if not self._memory:
            return
        # Each draw by itself gives the integral; together, they count by their effective sizes.
        carried = [values * measure for _, values, measure in self._memory]
        sizes = np.array([w.sum() ** 2 / (w**2).sum() for w in carried])
        shares = sizes / sizes.sum()
        weights = np.concatenate([s * w for s, w in zip(shares, carried, strict=True)])
        x = np.concatenate([x for x, _, _ in self._memory])
        values = np.concatenate([values for _, values, _ in self._memory])
        rng = np.random.default_rng((self.seed, self._trained))
        self._trained += 1
        last = self._trained == self.rounds
        lesson = Lesson(
            steps=(2 if last else 1) * self.steps,
            variance_steps=self.steps // 2 if last else 0,
            batch=self.batch,
            rate=self.rate,
        )
        with torch.random.fork_rng(devices=[]):
            scale = values.max()
            self.scores = teach(self._flow, x, weights / scale, values / scale, lesson, rng)
        self._exact = _in_double(self._flow)
        if self._strata is not None:
            # What strata there were belong to another latent cube.
            z, slope = self._push(x)
            self._strata = Vegas(self.dimension)
            measure = np.concatenate(
                [s * m for s, (_, _, m) in zip(shares, self._memory, strict=True)]
            )
            self._strata.adapt(Draw(z, measure * slope), values / np.maximum(slope, 1e-300))
        if last:
            self._memory.clear()

    @torch.no_grad()
    def _push(self, points: Array, *, inverse: bool = False) -> tuple[Array, Array]:
        """Map points x to latent z or back, and the slopes |dz/dx| (|dx/dz|), all in float64."""
        transform = self._exact.transform.inverse if inverse else self._exact.transform
        parts, slopes = [], []
        for part in torch.split(torch.from_numpy(np.ascontiguousarray(points)), CHUNK):
            mapped, log_slope = transform(part.to(self.device))
            parts.append(mapped.cpu().numpy())
            slopes.append(log_slope.exp().cpu().numpy())
        if not parts:
            return points.copy(), np.empty(0)
        return np.clip(np.concatenate(parts), 0, 1), np.concatenate(slopes)


def _flow(dimension: int, hidden: int, num_bins: int, seed: int) -> NeuralSplineFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NeuralSplineFlow(dimension, hidden=hidden, num_bins=num_bins)


def _in_double(flow: NeuralSplineFlow) -> NeuralSplineFlow:
    exact = copy.deepcopy(flow)
    exact.double().eval()
    for parameter in exact.parameters():
        parameter.requires_grad_(False)
    return exact
