"""Tables turned over in registers, eight rows by eight columns at a time, for numba kernels.

A kernel that works on one column of many rows with one instruction has to turn over what torch
keeps row by row. Number by number, that takes one instruction of the processor each; here, an
eighth of one and three exchanges among registers, a third of the time.

Shapes: N rows, M columns, T lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["turn_back", "turn_over"]

Floats = NDArray[np.floating[Any]]

SIDE = 8


@njit(cache=True, nogil=True, error_model="numpy")
def turn_over(rows: Floats, start: int, n: int, columns: int, turned: Floats) -> None:
    """The first columns of n rows, as rows.

    Args:
        rows: shape (N, M).
        start: the first row.
        n: how many rows, at most T.
        columns: how many columns.
        turned: filled, its first columns of (T), shape (at least columns, T).
    """
    done = 0
    if columns >= SIDE:
        while done + SIDE <= n:
            for column in range(0, columns, SIDE):
                # The last block overlaps the one before rather than leave columns.
                first = column if column + SIDE <= columns else columns - SIDE
                _turn_block(rows, start + done, first, turned, first, done)
            done += SIDE
    for t in range(done, n):
        for k in range(columns):
            turned[k, t] = rows[start + t, k]


@njit(cache=True, nogil=True, error_model="numpy")
def turn_back(turned: Floats, rows: Floats, start: int, n: int) -> None:
    """Rows that were columns, as n rows.

    Args:
        turned: shape (M, T).
        rows: filled, shape (N, M).
        start: the first row.
        n: how many rows, at most T.
    """
    columns = len(turned)
    done = 0
    if columns >= SIDE:
        while done + SIDE <= n:
            for column in range(0, columns, SIDE):
                first = column if column + SIDE <= columns else columns - SIDE
                _turn_block(turned, first, done, rows, start + done, first)
            done += SIDE
    for t in range(done, n):
        for k in range(columns):
            rows[start + t, k] = turned[k, t]


def _turn(
    _: Any, source: Any, row: Any, column: Any, target: Any, target_row: Any, target_column: Any
) -> Any:
    """A block of SIDE by SIDE numbers of one array (rows one after another) into another."""
    place = types.intp
    signature = types.void(source, place, place, target, place, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tools: Any = cgutils
        ir = tools.ir
        align = source.dtype.bitwidth // 8
        vector = ir.VectorType(context.get_value_type(source.dtype), SIDE)
        steps = ir.VectorType(ir.IntType(32), SIDE)

        def pointers(kind: Any, array: Any, row: Any, column: Any) -> list[Any]:
            view = context.make_array(kind)(context, builder, array)
            width = tools.unpack_tuple(builder, view.shape, 2)[1]
            found = []
            for i in range(SIDE):
                at = builder.add(row, context.get_constant(place, i))
                at = builder.add(builder.mul(at, width), column)
                found.append(builder.bitcast(builder.gep(view.data, [at]), vector.as_pointer()))
            return found

        lines = [builder.load(pointer, align=align) for pointer in pointers(source, *arguments[:3])]
        step = 1
        while step < SIDE:
            # Blocks of step by step numbers change places across the diagonal.
            for i in range(SIDE):
                if not i & step:
                    pair = lines[i], lines[i + step]
                    low = [j if not j & step else SIDE + j - step for j in range(SIDE)]
                    high = [j + step if not j & step else SIDE + j for j in range(SIDE)]
                    lines[i] = builder.shuffle_vector(*pair, steps(low))
                    lines[i + step] = builder.shuffle_vector(*pair, steps(high))
            step *= 2
        for line, pointer in zip(lines, pointers(target, *arguments[3:]), strict=True):
            builder.store(line, pointer, align=align)
        return context.get_dummy_value()

    return signature, generate


_turn_block: Any = intrinsic(_turn)
