"""Files that are written piece by piece, and are whole in the end or not there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["WholeFile"]


class WholeFile(ABC):
    """A file that is being written, for a ``with`` block.

    When the block ends well the file gets its name, else nothing of it stays.
    """

    @abstractmethod
    def close(self) -> None:
        """Finish the file and give it its name."""

    @abstractmethod
    def discard(self) -> None:
        """Give up: nothing of this file stays, and one that was to be replaced stays as it was."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
