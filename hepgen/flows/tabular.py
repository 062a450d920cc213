r"""Densities of tables: columns with names and units in, a flow of standardised numbers inside.

.. math:: \log p(x | c) = \log p_\mathrm{flow}\big(z(x) | z(c)\big)
   + \sum_d \log \left| \partial z_d / \partial x_d \right|

with the maps z of `hepgen.flows.columns`. A whole number k of a discrete column has a probability:
the integral of the flow's density over :math:`[k, k + 1)`, here a mean over the points of a lattice
(M. Roberts' additive recurrence, of the roots of :math:`g^{n + 1} = g + 1` for n such columns).

Shapes: B rows, D columns, C columns of the context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.flows.columns import Column, as_array, as_column, read_columns
from hepgen.flows.flow import Flow
from hepgen.flows.rows import Rows

__all__ = ["TabularDensity"]

Values = NDArray[np.float64]


@final
class TabularDensity(nn.Module):
    """The density of some columns of a table, given others if so wanted.

    `hepgen.flows.fit` takes from a table what the columns leave open (centre, scale, ends of whole
    numbers), and trains the flow. Model files hold both.

    Args:
        flow: of as many dimensions as there are columns, with as wide a context.
        columns: what the density is of: names, or `Column` for those with ends or whole numbers.
        context: columns that the density is conditional on, likewise; their whole numbers count as
            numbers.

    Raises:
        ValueError: the flow has other dimensions or another context, or a column stands twice.
        TypeError: a column is neither a name nor a `Column`.
    """

    def __init__(
        self,
        flow: Flow,
        columns: Sequence[Column | str | Mapping[str, Any]],
        context: Sequence[Column | str | Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.flow = flow
        self.columns, self.context = _columns(columns), _columns(context)
        for told, found, wanted in (
            ("columns", len(self.columns), flow.dimension),
            ("columns of context", len(self.context), flow.context),
        ):
            if found != wanted:
                raise ValueError(f"{found} {told} for a {type(flow).__name__} of {wanted}")
        names = [column.name for column in (*self.columns, *self.context)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns that stand twice: {', '.join(twice)}")

    @property
    def fitted(self) -> bool:
        """Whether all columns have their centre and scale."""
        return all(column.fitted for column in (*self.columns, *self.context))

    def read(self, table: Any, weights: Any = None) -> Rows:
        """The columns of a table, as they are.

        Args:
            table: see `hepgen.flows.columns.read_columns`; an array has the columns of the density
                first, then those of the context.
            weights: shape (N,), or the name of a column.

        Returns:
            float64 rows.

        Raises:
            ValueError: a column is missing or holds what is no value of it.
        """
        every = (*self.columns, *self.context)
        values = read_columns(table, [column.name for column in every])
        for column in every:
            column.check(values[column.name])
        if isinstance(weights, str):
            weights = read_columns(table, [weights])[weights]
        return Rows(
            x=_stacked([values[column.name] for column in self.columns]),
            context=_stacked([values[c.name] for c in self.context]) if self.context else None,
            weight=None if weights is None else torch.from_numpy(as_array(weights, "weights")),
        )

    def standardise(self, rows: Rows) -> None:
        """Take from a sample what the columns leave open.

        Args:
            rows: as `read` gives them.

        Raises:
            ValueError: a column holds one value only.
        """
        weights = None if rows.weight is None else rows.weight.numpy()
        self.columns = _fitted(self.columns, rows.x, weights)
        if rows.context is not None:
            self.context = _fitted(self.context, rows.context, weights)

    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the flow takes of some rows.

        Args:
            x: values of the columns, float64, shape (B, D).
            generator: of the noise on whole numbers; without it they go to the middle.

        Returns:
            float64, shape (B, D).
        """
        values, parts = x.numpy(), []
        for d, column in enumerate(self.columns):
            noise: float | Values = 0.5
            if generator is not None and column.kind == "discrete":
                noise = _inside(torch.rand(len(x), dtype=x.dtype, generator=generator).numpy())
            parts.append(column.encode(values[:, d], noise)[0])
        return _stacked(parts)

    def encode_context(self, context: Tensor | None) -> Tensor | None:
        """What the flow takes of their context.

        Args:
            context: values of the columns, float64, shape (B, C).

        Returns:
            float64, shape (B, C).
        """
        if context is None:
            return None
        columns = zip(self.context, context.numpy().T, strict=True)
        return _stacked([column.encode(values)[0] for column, values in columns])

    def log_prob(self, table: Any, *, batch_size: int = 8192, points: int = 64) -> Values:
        """Logarithm of the density in the units of the columns.

        Args:
            table: with all columns of the density and of the context.
            batch_size: rows at a time.
            points: of the lattice over which densities of whole numbers are integrated.

        Returns:
            float64, shape (B,); minus infinity outside the ends of a column. Whole numbers count
            by their probability.

        Raises:
            ValueError: a column is missing, or not finite; the density is not fitted.
        """
        names = [column.name for column in (*self.columns, *self.context)]
        values = read_columns(table, names)
        for column in (*self.columns, *self.context):
            Column(column.name).check(values[column.name])  # numbers at all; ends count as zero
        for column in self.context:
            column.check(values[column.name])
        self._check_fitted()
        number = len(values[names[0]])
        found = np.empty(number)
        with self._evaluating():
            for first in range(0, number, batch_size):
                some = {n: v[first : first + batch_size] for n, v in values.items()}
                found[first : first + batch_size] = self._log_prob(some, points)
        return found

    def _log_prob(self, values: dict[str, Values], points: int) -> Values:
        context = self._of_flow([c.encode(values[c.name])[0] for c in self.context])
        discrete = [d for d, column in enumerate(self.columns) if column.kind == "discrete"]
        total: Values | None = None
        lattice = _lattice(points if discrete else 1, len(discrete))
        for offsets in lattice:
            noise = dict(zip(discrete, offsets, strict=True))
            pairs = [
                c.encode(values[c.name], noise.get(d, 0.5)) for d, c in enumerate(self.columns)
            ]
            x = self._of_flow([z for z, _ in pairs])
            assert x is not None
            one: Values = self.flow.log_prob(x, context).double().cpu().numpy()
            one = one + np.sum([slope for _, slope in pairs], axis=0)
            total = one if total is None else np.logaddexp(total, one)
        assert total is not None
        mean: Values = total - np.log(len(lattice))
        return mean

    def sample(
        self,
        num_samples: int,
        context: Any = None,
        *,
        seed: int | None = None,
        batch_size: int = 8192,
    ) -> dict[str, NDArray[Any]]:
        """Draw rows.

        Args:
            num_samples: how many; with a context, for each of its rows.
            context: a table with the columns of the context.
            seed: of the random numbers; torch's own are used if not given.
            batch_size: rows at a time, at most.

        Returns:
            Name of the column -> values, float64, or int64 for whole numbers; shape
            (num_samples,), or (rows of the context * num_samples,), in the order of the context.

        Raises:
            ValueError: the context is missing or not wanted, or lacks a column; the density is not
                fitted; a negative number.
        """
        self._check_fitted()
        if num_samples < 0 or batch_size < 1:
            raise ValueError(f"{num_samples} samples, {batch_size} at a time: wanted counts")
        if (context is None) != (not self.context):
            wanted = ", ".join(column.name for column in self.context) or "none"
            raise ValueError(f"the context of this density: {wanted}; got {type(context).__name__}")
        parts = [np.empty((0, len(self.columns)))]
        device = next(self.flow.parameters()).device
        generator = None if seed is None else torch.Generator(device).manual_seed(seed)
        with self._evaluating():
            for number, given in self._portions(num_samples, context, batch_size):
                drawn = self.flow.sample(number, given, generator=generator)
                parts.append(drawn.reshape(-1, len(self.columns)).double().cpu().numpy())
        z = np.concatenate(parts)
        return {column.name: column.decode(z[:, d]) for d, column in enumerate(self.columns)}

    def _portions(
        self, num_samples: int, table: Any, batch_size: int
    ) -> Iterator[tuple[int, Tensor | None]]:
        """How many to draw at a time, of which rows of the context."""
        if table is None:
            for first in range(0, num_samples, batch_size):
                yield min(batch_size, num_samples - first), None
            return
        values = read_columns(table, [column.name for column in self.context])
        for column in self.context:
            column.check(values[column.name])
        context = self._of_flow([c.encode(values[c.name])[0] for c in self.context])
        assert context is not None
        if num_samples > 0:
            for some in torch.split(context, max(1, batch_size // num_samples)):
                yield num_samples, some

    def loss(self, batch: Rows) -> Tensor:
        """That of the flow, of rows that are encoded: without the constant of the units.

        Args:
            batch: as `hepgen.flows.fit` makes them.

        Returns:
            A scalar.
        """
        return self.flow.loss(batch)

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor but for the flow, as JSON can hold them."""
        return {
            "columns": [column.to_dict() for column in self.columns],
            "context": [column.to_dict() for column in self.context],
        }

    def parts(self) -> dict[str, nn.Module]:
        """The models that this one is made of, by argument of its constructor."""
        return {"flow": self.flow}

    def save(self, path: str | Path) -> None:
        """Write flow and columns into one file.

        Args:
            path: ``*.safetensors``; `hepgen.load` reads it.

        Raises:
            CheckpointError: the configuration of the flow is not JSON-able.
            OSError: the file cannot be written.
        """
        from hepgen import checkpoint

        checkpoint.save(self, path)

    def _of_flow(self, parts: list[Values]) -> Tensor | None:
        """Numbers in the type and on the device of the flow, (B, number of parts)."""
        if not parts:
            return None
        weight = next(self.flow.parameters())
        return _stacked(parts).to(weight.device, weight.dtype)

    def _check_fitted(self) -> None:
        if not self.fitted:
            left = [c.name for c in (*self.columns, *self.context) if not c.fitted]
            raise ValueError(
                f"columns without centre and scale: {', '.join(left)}; "
                "call hepgen.flows.fit(density, table) first"
            )

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        modes = {module: module.training for module in self.modules()}
        try:
            self.eval()
            with torch.no_grad():
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def _columns(told: Sequence[Column | str | Mapping[str, Any]]) -> tuple[Column, ...]:
    if isinstance(told, str):
        raise TypeError(f"{told!r} is one name; wanted a list of columns")
    return tuple(map(as_column, told))


def _fitted(columns: tuple[Column, ...], x: Tensor, weights: Values | None) -> tuple[Column, ...]:
    return tuple(
        column if column.fitted else column.fit(x[:, d].numpy(), weights)
        for d, column in enumerate(columns)
    )


def _stacked(parts: Sequence[Values]) -> Tensor:
    return torch.from_numpy(np.stack(parts, axis=1))


def _inside(noise: Values) -> Values:
    """Noise that leaves no number on an end."""
    edge = 1e-9
    inside: Values = np.clip(noise, edge, 1 - edge)
    return inside


def _lattice(points: int, dimension: int) -> Values:
    """Points spread evenly over the unit cube, its faces left out, (points, dimension)."""
    if points < 1:
        raise ValueError(f"points={points}: wanted at least 1")
    if dimension <= 1:
        return (np.arange(points)[:, None] + 0.5) / points * np.ones((1, dimension))
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimension + 1))
    steps = root ** -np.arange(1.0, dimension + 1)
    return _inside((0.5 + np.arange(points)[:, None] * steps) % 1)
