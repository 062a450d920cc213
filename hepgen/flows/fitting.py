"""Fitting densities to samples by the common trainer.

Shapes: N rows, D dimensions, C context.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hepgen import training
from hepgen.flows.bases import UnitUniform
from hepgen.flows.columns import Column, as_array, column_names, read_columns
from hepgen.flows.flow import Flow
from hepgen.flows.rows import RowBatches, Rows
from hepgen.flows.tabular import TabularDensity
from hepgen.training import History
from hepgen.training.randomness import seed_of

__all__ = ["check_names", "fit"]

# Fewer are no sample of anything.
FEWEST = 10
# Rows that layers begin from which begin from data.
FIRST = 4096


def fit(
    flow: Flow | TabularDensity,
    x: Any,
    *,
    context: Any = None,
    weights: Any = None,
    validation: float | Mapping[str, Any] | tuple[Any, ...] | None = 0.1,
    epochs: int = 50,
    batch_size: int = 512,
    lr: float = 1e-3,
    optimizer: Any = "adam",
    weight_decay: float = 0.0,
    schedule: Any = "cosine",
    clip: float | None = 10.0,
    patience: int | None = None,
    seed: int = 0,
    precision: str = "32-true",
    accelerator: str = "auto",
    output: str | Path | None = None,
    resume: Literal["auto"] | bool = "auto",
    progress: bool = True,
    **more: Any,
) -> History:
    """Fit a density to a sample: by maximum likelihood, or whatever else the flow's loss is.

    At the end the flow holds the weights of lowest validation loss and is in evaluation mode.
    Validation rows are chosen at random, by the seed.

    Args:
        flow: a flow, which takes numbers as they are; or a `TabularDensity`, which takes columns by
            name and standardises them.
        x: the sample. For a flow an array or tensor of shape (N, D), or a table of D columns; for
            a `TabularDensity` a table, with the columns of its context.
        context: for a flow, what the density is conditional on, (N, C); a table has C columns.
        weights: of the rows, shape (N,), scaled to a mean of 1; negative ones count as they are.
            Or the name of a column of the table of a `TabularDensity`.
        validation: share of the rows, from 0 to 1; or a sample of its own, ``{"x": ..., "context":
            ..., "weights": ...}``, or a tuple of these in this order; None for none.
        epochs: passes over the sample.
        batch_size: greatest number of rows in a batch.
        lr: peak learning rate.
        optimizer: see `hepgen.fit`.
        weight_decay: see `hepgen.fit`.
        schedule: of the learning rate, see `hepgen.fit`.
        clip: largest norm of the gradient.
        patience: stop after so many epochs without a lower validation loss.
        seed: decides the validation rows, the order, and all random numbers of the training.
        precision: "64-true" makes the flow float64; others as of `hepgen.fit`.
        accelerator: "auto", "cpu", "cuda", "mps".
        output: folder of the run, from which the same call goes on after a kill, bit for bit. Of a
            flow that was put together by hand ``model.safetensors`` holds the weights alone.
        resume: see `hepgen.fit`.
        progress: show a bar, or one line an epoch.
        **more: other arguments of `hepgen.fit`, such as ``ema``, ``devices``, ``checkpoint_steps``.

    Returns:
        The history, one row an epoch. The losses are per row, in nats for maximum likelihood, and
        for a `TabularDensity` in standardised units; what it calls jets are rows.

    Raises:
        ValueError: values that are not finite, constant columns, too few rows, other dimensions
            than the flow's, weights that sum to nothing, an argument that makes no sense.
        TypeError: the flow is none, or `hepgen.fit` has no such argument.
        NotFinite: the loss became NaN or infinite.
        TrainingError: the run in ``output`` is another one, or damaged.
    """
    check_names(more)
    rows = _read(flow, x, context, weights, "x")
    inner = flow
    if isinstance(flow, TabularDensity):
        # With the validation rows, so that none of them is outside the ends of whole numbers.
        flow.standardise(rows)
        inner = flow.flow
    train, held_out = _split(flow, rows, validation, seed)
    if precision.startswith("64"):
        flow.double()
    assert isinstance(inner, Flow)
    make = partial(_batches, flow, batch_size=batch_size, seed=seed, dtype=inner.base.origin.dtype)
    batches = make(train, shuffle=True)
    first = make(train.take(slice(FIRST)), shuffle=False, batch_size=FIRST)
    for some in first.epoch(0):
        some = some.to(inner.base.origin.device)
        inner.initialize(some.x, some.context)
    with _describable(inner):
        return training.fit(
            flow,
            batches,
            validation=None if held_out is None else make(held_out, shuffle=False),
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            optimizer=optimizer,
            weight_decay=weight_decay,
            schedule=schedule,
            clip=clip,
            patience=patience,
            seed=seed,
            precision=precision,
            accelerator=accelerator,
            output=output,
            resume=resume,
            progress=progress,
            **more,
        )


@contextmanager
def _describable(flow: Flow) -> Iterator[None]:
    """Let a flow be trained that was put together by hand, and so has no configuration."""
    try:
        flow.config()
    except TypeError:
        flow.config = None  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        flow.__dict__.pop("config", None)


def check_names(more: Mapping[str, Any]) -> None:
    """Refuse arguments that the trainer does not have.

    Args:
        more: arguments that are meant for it.

    Raises:
        TypeError: one is not; the message names the nearest.
    """
    not_ours = ("model", "train", "class_weights")
    known = [name for name in inspect.signature(training.fit).parameters if name not in not_ours]
    for name in more:
        if name not in known:
            near = get_close_matches(name, [*known, "x", "context", "weights"], n=1, cutoff=0.0)
            raise TypeError(f"fit has no argument {name!r}; nearest: {near[0]}")


def _read(flow: Flow | TabularDensity, x: Any, context: Any, weights: Any, what: str) -> Rows:
    """Checked rows, float64, on the CPU."""
    if isinstance(flow, TabularDensity):
        if context is not None:
            raise ValueError("the context of a TabularDensity is columns of its table")
        rows = flow.read(x, weights)
    elif isinstance(flow, Flow):
        rows = Rows(
            x=_matrix(x, flow.dimension, what),
            context=None if context is None else _matrix(context, flow.context, "context"),
            weight=None if weights is None else torch.from_numpy(as_array(weights, "weights")),
        )
        if (context is None) != (flow.context == 0):
            got = "none is" if context is None else "one is"
            raise ValueError(f"{type(flow).__name__} has context={flow.context}; {got} given")
        _check_cube(flow, rows.x, what)
    else:
        raise TypeError(f"{type(flow).__name__} is neither a Flow nor a TabularDensity")
    if len(rows) < FEWEST:
        raise ValueError(f"{what} has {len(rows)} rows: too few for a density, wanted {FEWEST}")
    for name, tensor in rows.to_dict().items():
        if len(tensor) != len(rows):
            raise ValueError(f"{name} has {len(tensor)} rows, {what} {len(rows)}")
    return replace(rows, weight=_scaled(rows.weight))


def _matrix(values: Any, width: int, what: str) -> Tensor:
    """Finite numbers of shape (N, width), float64."""
    names = column_names(values)
    if names is not None:
        matrix = torch.from_numpy(np.stack(list(read_columns(values, names).values()), axis=1))
    else:
        matrix = torch.from_numpy(as_array(values, what))
        names = [f"{what}[:, {d}]" for d in range(matrix.shape[-1] if matrix.ndim else 0)]
    if matrix.ndim != 2 or matrix.shape[1] != width:
        raise ValueError(f"{what} has shape {tuple(matrix.shape)}; wanted (N, {width})")
    for d, name in enumerate(names):
        values = matrix[:, d].numpy()
        Column(name).check(values)
        if what != "context" and len(values) and values.min() == values.max():
            raise ValueError(
                f"column {name!r} holds nothing but {values[0]}, which has no density; leave it out"
            )
    return matrix


def _check_cube(flow: Flow, x: Tensor, what: str) -> None:
    outside = ((x < 0) | (x > 1)).any(1)
    if isinstance(flow.base, UnitUniform) and bool(outside.any()):
        raise ValueError(
            f"{int(outside.sum()):,} of {len(x):,} rows of {what} are outside the unit cube, where "
            f"the density of this {type(flow).__name__} is zero; the first is "
            f"{x[outside][0].tolist()}"
        )


def _scaled(weight: Tensor | None) -> Tensor | None:
    """Weights of mean 1."""
    if weight is None:
        return None
    if weight.ndim != 1:
        raise ValueError(f"weights have shape {tuple(weight.shape)}; wanted one for each row")
    Column("weights").check(weight.numpy())
    mean = float(weight.mean())
    if mean <= 0:
        raise ValueError(f"the mean of the weights is {mean}; wanted one above 0")
    return weight / mean


def _split(
    flow: Flow | TabularDensity, rows: Rows, validation: Any, seed: int
) -> tuple[Rows, Rows | None]:
    """Rows for training and for validation."""
    if validation is None:
        return rows, None
    if isinstance(validation, Real):
        if not 0 < float(validation) < 1:
            raise ValueError(f"validation={validation}: wanted a share between 0 and 1, or None")
        number = max(1, round(float(validation) * len(rows)))
        generator = torch.Generator().manual_seed(seed_of("validation", seed))
        order = torch.randperm(len(rows), generator=generator)
        return rows.take(order[number:]), rows.take(order[:number])
    names = ("x", "context", "weights")
    if isinstance(validation, tuple) and len(validation) <= len(names):
        validation = dict(zip(names, validation, strict=False))
    if not isinstance(validation, Mapping) or not {"x"} <= set(validation) <= set(names):
        raise ValueError(
            f"validation is {type(validation).__name__}; wanted a share, None, or a sample as "
            '{"x": ..., "context": ..., "weights": ...} or a tuple of these'
        )
    x, context, weights = (validation.get(name) for name in names)
    return rows, _read(flow, x, context, weights, "the x of validation")


def _batches(
    flow: Flow | TabularDensity,
    rows: Rows,
    *,
    shuffle: bool,
    batch_size: int,
    seed: int,
    dtype: torch.dtype,
) -> RowBatches:
    """Rows as the flow takes them; whole numbers get another noise in each epoch."""
    prepare = None
    if isinstance(flow, TabularDensity):
        rows = replace(rows, context=flow.encode_context(rows.context))
        if any(column.kind == "discrete" for column in flow.columns):
            prepare = flow.encode
        else:
            rows = replace(rows, x=flow.encode(rows.x))
    return RowBatches(
        rows, batch_size=batch_size, shuffle=shuffle, seed=seed, dtype=dtype, prepare=prepare
    )
