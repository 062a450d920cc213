"""Several runs side by side, with the errors of their differences.

Two runs on the same jets fluctuate together: their difference is known better than each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepgen.metrics.bootstrap import spread
from hepgen.metrics.estimate import Estimate
from hepgen.metrics.summary import Evaluation

__all__ = ["Comparison", "ComparisonRow", "compare_evaluations"]


@dataclass(frozen=True)
class ComparisonRow:
    """One number of all runs.

    Attributes:
        metric: what it is.
        estimates: of each run; None where a run has no such number.
        differences: to the first run, None for itself and where a number is missing.
        paired: whether the error of each difference is that of paired resamples.
    """

    metric: str
    estimates: tuple[Estimate | None, ...]
    differences: tuple[Estimate | None, ...]
    paired: tuple[bool, ...]


@dataclass(frozen=True)
class Comparison:
    """A table of runs; ``print`` shows it.

    Attributes:
        names: of the runs, the reference first.
        rows: a number each.
        same_jets: whether a run was evaluated on the same jets as the first.
    """

    names: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    same_jets: tuple[bool, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as a mapping for strict JSON."""

        def plain(estimates: tuple[Estimate | None, ...]) -> list[Any]:
            return [None if found is None else found.to_dict() for found in estimates]

        return {
            "names": list(self.names),
            "same_jets": list(self.same_jets),
            "rows": [
                {
                    "metric": row.metric,
                    "estimates": plain(row.estimates),
                    "differences": plain(row.differences),
                    "paired": list(row.paired),
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        header = ["", *self.names]
        table = [header]
        for row in self.rows:
            cells = [row.metric]
            for estimate, difference, paired in zip(
                row.estimates, row.differences, row.paired, strict=True
            ):
                text = "-" if estimate is None else str(estimate)
                if difference is not None:
                    text += f"  [{difference}{'' if paired else ', unpaired'}]"
                cells.append(text)
            table.append(cells)
        widths = [max(len(line[column]) for line in table) for column in range(len(header))]
        lines = [
            "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([*lines, f"[ ]: difference to {self.names[0]}"])


def compare_evaluations(runs: Sequence[Evaluation]) -> Comparison:
    """Set runs side by side.

    The error of a difference is the spread of the differences of replicas where two runs were
    resampled in the same way and on the same jets; otherwise both errors are added in quadrature,
    which is too much for runs that share jets.

    Args:
        runs: two or more; the first is the reference.

    Returns:
        The table, with the numbers that at least two runs have.

    Raises:
        ValueError: fewer than two runs, or runs of one name.
    """
    names = tuple(run.name for run in runs)
    if len(runs) < 2 or len(set(names)) < len(names):
        raise ValueError(f"a comparison needs two runs or more, of different names; got {names}")
    numbers = [run.numbers() for run in runs]
    metrics = dict.fromkeys(name for found in numbers for name in found)
    rows = []
    for metric in metrics:
        estimates = tuple(found.get(metric) for found in numbers)
        if sum(estimate is not None for estimate in estimates) < 2:
            continue
        outcome = [_difference(metric, runs[0], run) for run in runs]
        differences = tuple(found[0] for found in outcome)
        rows.append(
            ComparisonRow(metric, estimates, differences, tuple(found[1] for found in outcome))
        )
    same = tuple(run.fingerprint == runs[0].fingerprint for run in runs)
    return Comparison(names, tuple(rows), same)


def _difference(
    metric: str, reference: Evaluation, run: Evaluation
) -> tuple[Estimate | None, bool]:
    """Difference to the reference, and whether its error is that of paired replicas."""
    first, second = reference.numbers().get(metric), run.numbers().get(metric)
    if run is reference or first is None or second is None:
        return None, False
    if not (math.isfinite(first.value) and math.isfinite(second.value)):
        return None, False
    value = second.value - first.value
    one, other = _replicas_of(metric, reference), _replicas_of(metric, run)
    together = reference.fingerprint == run.fingerprint and reference.seed == run.seed
    if together and one is not None and other is not None and len(one) == len(other):
        return Estimate(value, spread(other - one)), True
    return Estimate(value, math.hypot(first.error, second.error)), False


def _replicas_of(metric: str, run: Evaluation) -> Any:
    """Replicas of a number of ``Evaluation.numbers``; of a rejection to first order."""
    if metric == "accuracy":
        return run.replicas.get("accuracy")
    for separation in run.headline:
        other = separation.background or "rest"
        tail = f", {separation.signal} against {separation.background or 'the rest'}"
        tail = tail if len(run.classes) > 2 else ""
        if metric == f"AUC{tail}":
            return run.replicas.get(f"AUC:{separation.signal}:{other}")
        for point, estimate in separation.background_rejection.items():
            if metric == f"rejection at {100 * point:g} %{tail}":
                key = f"background efficiency@{point:g}:{separation.signal}:{other}"
                drawn = run.replicas.get(key)
                return None if drawn is None else -np.square(estimate.value) * drawn
    return None
