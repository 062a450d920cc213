"""Files that are either whole or not there: written under a temporary name, synced, renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place once the block ends without error.

    After a crash, a full disk or a kill at any moment, ``path`` is the old file or the new one,
    never a part of it. The temporary name is always the same, so what a kill leaves behind is
    written over by the next attempt.

    Args:
        path: the file to write or replace; its folder exists.

    Yields:
        The name to write under, in the same folder.

    Raises:
        OSError: the file cannot be written; then nothing of it is left.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Without it the new name may be lost in a power cut although the content is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
