"""Which of several processes this is, outside of the training itself."""

from __future__ import annotations

import os

from torch import distributed

__all__ = ["is_first_rank"]


def is_first_rank() -> bool:
    """Whether this process is the one that writes files and speaks for all.

    Returns:
        True in a run of one process, and for rank 0 of several, whether they have found each other
        yet or are only told by torchrun who they are.
    """
    if distributed.is_available() and distributed.is_initialized():
        return bool(distributed.get_rank() == 0)
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
