"""Calls of the user's integrand: shapes checked, bad values found, batches spread over workers.

Shapes: B points, D dimensions, M values of a vector integrand.
"""

from __future__ import annotations

import inspect
import pickle
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.domain import Domain

__all__ = ["BadIntegrand", "Evaluated", "Evaluator", "each"]

Array = NDArray[np.float64]
Function = Callable[[Any], Any]

# Points handed over in one call of the function: large enough that calling costs nothing, small
# enough for a few temporary arrays in the cache of a core.
BATCH = 1 << 15
# Squares of larger values, times numbers of points, overflow.
LARGEST_VALUE = 1e150


class BadIntegrand(ValueError):
    """The integrand gave something that cannot be integrated; the message says what and where."""


@dataclass(frozen=True)
class Evaluated:
    """The integrand at some points.

    Attributes:
        x: the points in the integrand's variables, shape (B, D).
        values: integrand times the Jacobian of the bounds, shape (B, M).
        observables: further quantities at the points by name, each of shape (B,).
    """

    x: Array
    values: Array
    observables: dict[str, Array] = field(default_factory=dict)


def each(function: Callable[[Array], float]) -> Function:
    """Make a function of one point a function of many.

    Args:
        function: of one point, shape (D,), to a number; one compiled by numba stays so, another
            is called in a Python loop, which costs about a microsecond a point.

    Returns:
        A function of points (B, D) to values (B,), for `integrate`.
    """
    if hasattr(function, "py_func"):
        import numba

        @numba.njit(nogil=True)
        def looped(x: Array) -> Array:
            values = np.empty(len(x))
            for i in range(len(x)):
                values[i] = function(x[i])
            return values

        return looped
    return partial(_in_loop, function)


class Evaluator:
    """Calls the integrand on points of the unit cube and counts.

    Args:
        function: of points (B, D) to values (B,) or (B, M), or a mapping of names to (B,).
        domain: where the points lie.
        observables: of points (B, D) to a mapping of names to (B,), asked for on request.
        library: what the points are handed over as, "numpy" (float64) or "torch" (tensors, without
            gradient); None takes torch for a ``torch.nn.Module`` and for a function annotated with
            ``Tensor``, else numpy.
        device: where tensors are; None takes that of the module's parameters, else the CPU.
        executor: what runs the calls, such as a ``ProcessPoolExecutor``, a thread pool (for
            compiled functions that release the interpreter) or dask's ``client.get_executor()``.
        workers: into how many pieces the points are cut for the executor.
        batch_size: points handed over in one call.
        non_finite: "raise" or "zero" where the function gives NaN or infinity.

    Attributes:
        calls: points evaluated so far.
        seconds: spent with the function.
        non_finite_points: how many gave NaN or infinity.
        names: of the M values if the function gives a mapping, else None.

    Raises:
        TypeError: something that cannot be called.
        ValueError: an option with no such choice.
    """

    def __init__(
        self,
        function: Function,
        domain: Domain,
        *,
        observables: Function | None = None,
        library: str | None = None,
        device: str | None = None,
        executor: Executor | None = None,
        workers: int = 1,
        batch_size: int | None = None,
        non_finite: str = "raise",
    ) -> None:
        for name, called in (("integrand", function), ("observables", observables or function)):
            if not callable(called):
                raise TypeError(f"{name}: wanted a function of points (B, D), got {called!r}")
        if executor is not None and not hasattr(executor, "map"):
            raise TypeError(f"executor: wanted a pool with a method map, got {executor!r}")
        for name, number in (("workers", workers), ("batch_size", batch_size)):
            if number is not None and number < 1:
                raise ValueError(f"{name}: wanted one at least, got {number}")
        for name, got, choices in (
            ("library", library, (None, "numpy", "torch")),
            ("non_finite", non_finite, ("raise", "zero")),
        ):
            if got not in choices:
                raise ValueError(
                    f"{name}: wanted one of {', '.join(map(repr, choices))}, got {got!r}"
                )
        self.function, self.domain, self.observables = function, domain, observables
        self.library = library or _library_of(function)
        self.device, self.executor, self.workers = device, executor, workers
        self.batch_size = batch_size or BATCH
        self.non_finite = non_finite
        self.calls = 0
        self.seconds = 0.0
        self.non_finite_points = 0
        self.names: tuple[str, ...] | None = None
        self.scalar = True
        self._width: int | None = None

    def __call__(self, u: Array, *, with_observables: bool = False) -> Evaluated:
        """Evaluate.

        Args:
            u: points in the unit cube, shape (B, D).
            with_observables: ask for those too.

        Returns:
            Points, values and, if asked for, observables.

        Raises:
            BadIntegrand: values of a wrong shape or type, NaN, infinite or above 1e150.
        """
        x, jacobian = self.domain.forward(u)
        start = time.perf_counter()
        values = self._values(x)
        found = self._observed(x) if with_observables and self.observables else {}
        self.seconds += time.perf_counter() - start
        self.calls += len(x)
        values = self._finite(x, values)
        if not self.domain.is_unit_cube:
            values = values * jacobian[:, None]
        largest = float(np.abs(values).max(initial=0.0))
        if largest > LARGEST_VALUE:
            raise BadIntegrand(
                f"the integrand comes to {largest:g}, of which there is no square for an error; "
                "multiply it by a constant"
            )
        return Evaluated(x, values, found)

    def observable_names(self, u: Array) -> list[str]:
        """Names that axes may have: x0, x1, ... and what the observables give at some points."""
        found = self._observed(self.domain.forward(u)[0]) if self.observables else {}
        return [f"x{i}" for i in range(self.domain.dimension)] + list(found)

    def _values(self, x: Array) -> Array:
        pieces = _pieces(x, self.batch_size, self.workers)
        call = partial(_call, self.function, self.library, self.device)
        if self.executor is None:
            given = [call(piece) for piece in pieces]
        else:
            try:
                given = list(self.executor.map(call, pieces))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                if "pickle" not in str(error):
                    raise
                raise BadIntegrand(
                    "the integrand cannot be sent to other processes: "
                    f"{error}; define it at the top level of a module"
                ) from error
        rows = [self._matrix(one, len(piece)) for one, piece in zip(given, pieces, strict=True)]
        return np.concatenate(rows) if len(rows) > 1 else rows[0]

    def _matrix(self, given: Any, size: int) -> Array:
        """What the function gave for one piece as (B, M)."""
        if isinstance(given, Mapping):
            names = tuple(map(str, given))
            if not names:
                raise BadIntegrand("the integrand gave a mapping of no values")
            if self.names not in (None, names):
                raise BadIntegrand(f"the integrand gave values {names}, before {self.names}")
            self.names = names
            columns = [_numbers(value) for value in given.values()]
            for name, column in zip(names, columns, strict=True):
                if column.shape != (size,):
                    raise BadIntegrand(
                        f"integrand, value {name!r}: wanted shape ({size},), one a point, "
                        f"got {column.shape}"
                    )
            values = np.stack(columns, axis=1)
            self.scalar = False
        else:
            values = _numbers(given)
            if values.ndim == 0 or len(values) != size or values.ndim > 2:
                hint = "; for a function of one point pass hepgen.integration.each(function)"
                raise BadIntegrand(
                    f"integrand: {size} points of shape (B, D) = ({size}, {self.domain.dimension}) "
                    f"should give values of shape ({size},) or ({size}, M), got {values.shape}"
                    f"{hint if values.ndim == 0 or len(values) == self.domain.dimension else ''}"
                )
            self.scalar = values.ndim == 1
            values = values[:, None] if self.scalar else values
        if not values.shape[1]:
            raise BadIntegrand(f"the integrand gave no values: shape {values.shape}")
        if self._width not in (None, values.shape[1]):
            raise BadIntegrand(
                f"the integrand gave {values.shape[1]} values a point, before {self._width}"
            )
        self._width = values.shape[1]
        return values

    def _observed(self, x: Array) -> dict[str, Array]:
        assert self.observables is not None
        found: dict[str, list[Array]] = {}
        for piece in _pieces(x, self.batch_size, 1):
            given = _call(self.observables, self.library, self.device, piece)
            if not isinstance(given, Mapping):
                raise BadIntegrand(
                    f"observables: wanted a mapping of names to arrays, got {type(given).__name__}"
                )
            for name, value in given.items():
                column = _numbers(value)
                if column.shape != (len(piece),):
                    raise BadIntegrand(
                        f"observable {name!r}: wanted shape ({len(piece)},), got {column.shape}"
                    )
                found.setdefault(str(name), []).append(column)
        return {name: np.concatenate(columns) for name, columns in found.items()}

    def _finite(self, x: Array, values: Array) -> Array:
        # A sum is finite where all are, but for overflow, which the second look sorts out.
        if np.isfinite(values.sum()):
            return values
        bad = np.asarray(~np.isfinite(values).all(axis=1))
        count = int(bad.sum())
        if not count:
            return values
        self.non_finite_points += count
        if self.non_finite == "raise":
            first = int(np.argmax(bad))
            point = ", ".join(f"{c:.17g}" for c in x[first])
            raise BadIntegrand(
                f"NaN or infinite values at {count} of {len(x)} points, first {values[first]} at "
                f"({point}); integrate(..., non_finite='zero') counts such points as zero"
            )
        return np.where(bad[:, None], 0.0, values)


def _call(function: Function, library: str, device: str | None, x: Array) -> Any:
    # The function may change what it is given, and the points are still needed.
    x = x.copy()
    if library == "numpy":
        return function(x)
    import torch

    at: Any = device
    dtype = torch.float64
    if isinstance(function, torch.nn.Module):
        parameter = next(function.parameters(), None)
        if parameter is not None:
            at, dtype = device or parameter.device, parameter.dtype
    with torch.no_grad():
        given = function(torch.as_tensor(x, dtype=dtype, device=at))
    if isinstance(given, Mapping):
        return {name: _from_torch(value) for name, value in given.items()}
    return _from_torch(given)


def _from_torch(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _numbers(given: Any) -> Array:
    values = np.asarray(_from_torch(given))
    if values.dtype.kind not in "fiub":
        raise BadIntegrand(f"the integrand gave {values.dtype} values, wanted real numbers")
    return values.astype(np.float64, copy=False)


def _in_loop(function: Callable[[Array], float], x: Array) -> Array:
    return np.array([function(point) for point in x], np.float64)


def _pieces(x: Array, batch_size: int, workers: int) -> list[Array]:
    size = min(batch_size, -(-len(x) // workers)) if workers > 1 else batch_size
    return [x[start : start + size] for start in range(0, len(x), size)] or [x]


def _library_of(function: Function) -> str:
    for cls in type(function).__mro__:
        if cls.__module__.startswith("torch.nn.modules") and cls.__name__ == "Module":
            return "torch"
    try:
        annotations = inspect.get_annotations(getattr(function, "py_func", function))
    except TypeError:
        annotations = {}
    return "torch" if any("Tensor" in str(a) for a in annotations.values()) else "numpy"
