"""The table: a row a tagger, each number with its errors; as CSV, Markdown and plot."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepgen.metrics import Estimate
from hepgen.metrics.estimate import rounded

__all__ = ["Row", "Table"]

COSTS = ("parameters", "megaflops", "train_seconds", "train_jets_per_second", "jets_per_second")
HEADS = {
    "parameters": "parameters",
    "megaflops": "MFLOP a jet",
    "train_seconds": "training, s",
    "train_jets_per_second": "training, jets/s",
    "jets_per_second": "scoring, jets/s",
}


@dataclass(frozen=True)
class Row:
    """One tagger, trained with several seeds.

    Attributes:
        name: as the pipeline calls it.
        model: name of the class.
        seeds: of the trainings.
        metrics: name -> an estimate for each seed, whose error is that of the test sample.
        costs: name -> a number: parameters, megaflops, times; the median over the seeds.
        published: name of a metric -> what the paper has, as text.
    """

    name: str
    model: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Sequence[Estimate]]
    costs: Mapping[str, float]
    published: Mapping[str, str]

    def mean(self, metric: str) -> float:
        """Mean over the seeds; infinite where one is."""
        return float(np.mean([estimate.value for estimate in self.metrics[metric]]))

    def spread(self, metric: str) -> float:
        """Standard deviation over the seeds; NaN for a single one."""
        values = [estimate.value for estimate in self.metrics[metric]]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def sampling(self, metric: str) -> float:
        """Error of the test sample, which all seeds and taggers share: the mean of theirs."""
        return float(np.mean([estimate.error for estimate in self.metrics[metric]]))

    def text(self, metric: str) -> str:
        """Mean ± spread over the seeds ± error of the test sample; of one seed, value ± error."""
        values = self.metrics[metric]
        if any(math.isinf(estimate.value) for estimate in values):
            return str(
                min(values, key=lambda e: e.value if e.lower_limit is None else e.lower_limit)
            )
        mean, spread = self.mean(metric), self.spread(metric)
        sampling = self.sampling(metric)
        if math.isnan(spread):
            return rounded(mean, sampling)
        error = rounded(sampling, sampling).partition(" ")[0]
        if spread == 0:  # few test jets: another training may tell them apart just as well
            return f"{rounded(mean, sampling).partition(' ')[0]} ± 0 ± {error}"
        return f"{rounded(mean, spread)} ± {error}"


@dataclass(frozen=True)
class Table:
    """All taggers of a benchmark; ``print`` shows it in Markdown.

    Attributes:
        rows: in the order of the pipeline.
        about: of what, in a sentence.
    """

    rows: tuple[Row, ...]
    about: str

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, in the order of the columns."""
        return tuple(self.rows[0].metrics)

    def __str__(self) -> str:
        return self.markdown()

    def markdown(self) -> str:
        """The table in Markdown, with what its errors are."""
        published = any(row.published for row in self.rows)
        heads = ["tagger", *self.metrics, *(["published"] if published else []), *HEADS.values()]
        lines = [heads, ["---"] * len(heads)]
        for row in self.rows:
            cells = [row.name, *(row.text(metric) for metric in self.metrics)]
            if published:
                cells.append("; ".join(f"{k} {v}" for k, v in row.published.items()) or "–")
            lines.append([*cells, *(_number(row.costs[name]) for name in COSTS)])
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        several = max(len(row.seeds) for row in self.rows) > 1
        errors = (
            "mean over the seeds ± their standard deviation ± error of the test sample, which all "
            "taggers share"
            if several
            else "± error of the test sample, which all taggers share"
        )
        return f"{self.about}\n\n{table}\n\nMetrics: {errors}.\n"

    def csv(self) -> str:
        """One line a tagger and seed, with unrounded numbers; costs are medians over the seeds."""
        lines = [line for row in self.rows for line in _lines(row)]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()


def _lines(row: Row) -> list[dict[str, Any]]:
    lines = []
    for i, seed in enumerate(row.seeds):
        line: dict[str, Any] = {"tagger": row.name, "model": row.model, "seed": seed}
        for metric, estimates in row.metrics.items():
            line[metric], line[f"{metric} error"] = estimates[i].value, estimates[i].error
        lines.append({**line, **row.costs})
    return lines


def _number(value: float) -> str:
    if value != value:
        return "–"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ")
