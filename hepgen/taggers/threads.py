"""Work shared among threads, each of which computes alone.

The usual way of torch on a CPU is to divide each operation among threads that wait for one another
at its end. For many operations on little data that wait costs more than the operation, and much
more when other programs want the same cores (measured: up to a factor 20). Here each thread does a
whole piece of the work by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

__all__ = ["map_in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function that needs no gradient to some items, in several threads.

    As many as ``torch.get_num_threads()`` says; inside, torch computes with one thread. What comes
    back does not depend on the number of threads if no item's work does.

    Args:
        function: of one item; torch operations and compiled numba code run side by side.
        items: the pieces of work.

    Returns:
        The results in the order of the items.

    Raises:
        Exception: whatever the function raised for the first item it failed for.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(items) < 2:
        with torch.no_grad():
            return [function(item) for item in items]
    inference = torch.is_inference_mode_enabled()

    def alone(item: Item) -> Result:
        # Both modes belong to a thread.
        with torch.inference_mode(inference), torch.no_grad():
            return function(item)

    return list(_pool(threads, os.getpid()).map(alone, items))


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads within which torch has one thread each; a forked process gets its own."""
    pool = ThreadPoolExecutor(threads, "hepgen")
    everyone = Barrier(threads)

    def start(_: int) -> None:
        # Asked first, as the first use of torch in a thread sets the number that all share.
        torch.get_num_threads()
        torch.set_num_threads(1)
        everyone.wait()

    list(pool.map(start, range(threads)))
    # The number is kept for each thread, but a copy of it, for threads to come, is shared.
    torch.set_num_threads(threads)
    return pool
