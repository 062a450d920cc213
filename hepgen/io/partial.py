"""A file is written under a temporary name and takes its own name only when it is complete."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from hepgen.io.errors import MissingFile, OutputExists

__all__ = ["PartialFile"]


class PartialFile:
    """The temporary stand-in, in the same folder, of a file that is being written.

    Args:
        path: where the file will be.
        overwrite: whether a file that is there already may be replaced; it stays until `keep`.

    Attributes:
        path: where the file will be.
        temporary: where to write it.

    Raises:
        MissingFile: there is no such folder.
        OutputExists: the file is there and ``overwrite`` is false, or it is a folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        folder = self.path.parent
        if not folder.is_dir():
            raise MissingFile(f"no folder {str(folder)!r} to write {self.path.name} to")
        self._check()
        # In the same folder, because a file can be renamed in one step within a file system only.
        unique = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.temporary = folder / f".{self.path.name}.{unique}.partial"

    def _check(self) -> None:
        if self.path.is_dir():
            raise OutputExists(f"{self.path} is a folder, wanted the name of a file to write")
        if self.path.exists() and not self.overwrite:
            raise OutputExists(f"{self.path} exists; overwrite=True (--overwrite) replaces it")

    def sync(self) -> None:
        """Wait until the content is on the disk, lest a power cut leave the name without it.

        Raises:
            OSError: the disk is full after all, as a network file system tells only now.
        """
        descriptor = os.open(self.temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def keep(self) -> None:
        """Give the complete file its name, in one step.

        Raises:
            OutputExists: another program has written a file of that name meanwhile.
        """
        try:
            self._check()
            os.replace(self.temporary, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what has been written, if anything."""
        self.temporary.unlink(missing_ok=True)
