"""Numbers of a jet, such as its mass or pT before the detector, with what is known of their errors.

Shapes: B jets, T targets, C components, Q levels, S scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepgen.data import Batch
from hepgen.heads.densities import (
    mixture_loss,
    mixture_parts,
    normal_loss,
    normal_moments,
    ordered,
    pinball_loss,
)
from hepgen.heads.head import Head, column_name, in_float32, mean_over_jets

__all__ = ["Regression"]

Kind = Literal["gaussian", "quantile", "mixture"]
Space = Literal["linear", "log"]


@final
class Regression(Head):
    """A density, or quantiles, of each target.

    The loss is of targets standardised by mean and standard deviation of the training jets, which
    `fit` takes and the model keeps. Scores are in the units of the targets (GeV):

    - gaussian: ``<name>_mean``, ``<name>_sigma``; the loss is minus the logarithm of the density.
    - quantile: ``<name>_q16``, ``<name>_q50``, ...; the pinball loss. They never cross.
    - mixture of C normal densities: ``<name>_mean``, ``<name>_sigma`` of the whole and
      ``<name>_weight<c>``, ``<name>_mean<c>``, ``<name>_sigma<c>`` of each component.

    In logarithmic units the densities are log-normal: means and sigmas are those of the target
    itself, not of its logarithm.

    Args:
        targets: T expressions over fields of the jets, such as "mass" or "gen_mass"; a mapping
            gives them names.
        kind: "gaussian", "quantile" or "mixture".
        space: "linear", or "log" for positive targets that spread over orders of magnitude.
        levels: of the quantiles, ascending, between 0 and 1.
        components: number C of the mixture.

    Raises:
        ValueError: no target, two of one name, or strange ``kind``, ``space``, ``levels`` or
            ``components``.
        TypeError: the targets are no sequence of expressions.
    """

    def __init__(
        self,
        targets: Sequence[str] | Mapping[str, str],
        kind: Kind = "gaussian",
        space: Space = "linear",
        levels: Sequence[float] = (0.16, 0.5, 0.84),
        components: int = 3,
    ) -> None:
        super().__init__()
        if isinstance(targets, str) or not all(isinstance(name, str) for name in targets):
            raise TypeError(f"targets should be a sequence of expressions, not {targets!r}")
        named = dict(targets) if isinstance(targets, Mapping) else {}
        named = named or {column_name(text): text for text in targets}
        if not named or len(named) < len(targets):
            raise ValueError(
                f"targets should be one or more, of different names, not {list(targets)}"
            )
        self.columns, self.targets = named, tuple(named.values())
        self.kind, self.space = kind, space
        self.levels, self.components = tuple(levels), components
        self._check()
        counts = {"gaussian": 2, "quantile": len(self.levels), "mixture": 3 * components}
        self.width = len(named) * counts[kind]
        self.names = tuple(f"{column_name(n)}_{end}" for n in named for end in self._endings())
        self.register_buffer("centre", torch.zeros(len(named)))
        # 0 stands for what is not fitted yet.
        self.register_buffer("scale", torch.zeros(len(named)))
        self._fitted = False

    def _check(self) -> None:
        for name, known in (
            ("kind", ("gaussian", "quantile", "mixture")),
            ("space", ("linear", "log")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} should be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        inside = all(0 < level < 1 for level in self.levels)
        rising = all(a < b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if not self.levels or not inside or not rising:
            raise ValueError(f"levels should ascend between 0 and 1, not {list(self.levels)}")
        if self.components < 1:
            raise ValueError(f"components should be at least 1, not {self.components}")

    def _endings(self) -> list[str]:
        if self.kind == "quantile":
            return [f"q{100 * level:.6g}".replace(".", "_") for level in self.levels]
        endings = ["mean", "sigma"]
        if self.kind == "mixture":
            parts = ("weight", "mean", "sigma")
            endings += [f"{part}{c}" for c in range(self.components) for part in parts]
        return endings

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        kept = {name: getattr(self, name) for name in ("kind", "space", "components")}
        return {"targets": dict(self.columns), "levels": list(self.levels), **kept}

    def fit_targets(self, values: NDArray[np.float64], y: NDArray[np.int64] | None) -> None:
        """Mean and standard deviation of the targets (B, T), or of their logarithms."""
        if self.space == "log":
            for t, name in enumerate(self.targets):
                if (values[:, t] <= 0).any():
                    raise ValueError(
                        f"target {name!r} in log units should be above 0; it is not in "
                        f"{np.sum(values[:, t] <= 0)} of {len(values)} jets"
                    )
            values = np.log(values)
        spread = values.std(axis=0)
        for buffer, found in (
            (self.centre, values.mean(axis=0)),
            (self.scale, np.where(spread > 0, spread, 1.0)),
        ):
            cast(Tensor, buffer).copy_(torch.from_numpy(found))

    def loss(self, outputs: Tensor, jets: Batch, constituents: Tensor | None = None) -> Tensor:
        """Mean over the jets of weight times loss, summed over the targets."""
        centre, scale = cast(Tensor, self.centre), cast(Tensor, self.scale)
        # Asked until it is so, as on a device the question makes the step wait.
        self._fitted = self._fitted or bool((scale > 0).all())
        if not self._fitted:
            raise ValueError(
                f"Regression of {', '.join(self.targets)} knows no scale of its targets yet; call "
                "tagger.head.fit(training jets)"
            )
        values = in_float32(jets.targets)
        z = ((values.log() if self.space == "log" else values) - centre) / scale  # (B, T)
        raw = self._split(outputs)
        if self.kind == "gaussian":
            losses = normal_loss(raw, z)
        elif self.kind == "quantile":
            losses = pinball_loss(raw, z, self.levels)
        else:
            losses = mixture_loss(_parts(raw, self.components), z)
        return mean_over_jets(losses.sum(dim=1), jets)

    def scores(self, outputs: Tensor) -> Tensor:
        """Predictions (B, S) in the units of the targets."""
        raw, log = self._split(outputs), self.space == "log"
        centre, scale = cast(Tensor, self.centre), cast(Tensor, self.scale)
        if self.kind == "quantile":
            found = centre[:, None] + scale[:, None] * ordered(raw)  # (B, T, Q)
            values: Tensor = found.exp() if log else found
            return values.flatten(1)
        if self.kind == "gaussian":
            moments = normal_moments(raw, centre, scale, log=log)
            return torch.stack(moments, dim=2).flatten(1)
        whole, share, parts = mixture_parts(_parts(raw, self.components), centre, scale, log=log)
        each = torch.stack([share, *parts], dim=3).flatten(2)  # (B, T, 3 C)
        return torch.cat([torch.stack(whole, dim=2), each], dim=2).flatten(1)

    def _split(self, outputs: Tensor) -> Tensor:
        """Outputs of each target, (B, T, outputs of one)."""
        each = self.width // len(self.targets)
        return in_float32(outputs).reshape(-1, len(self.targets), each)


def _parts(raw: Tensor, components: int) -> Tensor:
    """The three numbers of each component, (B, T, C, 3)."""
    return raw.reshape(*raw.shape[:2], components, 3)
