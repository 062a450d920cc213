"""Arrays of numpy: ``.npz``, one row an entry. Objects, which would be pickled, are refused."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from hepgen.io.columns import Column, Values
from hepgen.io.errors import EmptyInput, InputError, MissingFile, NotReadable
from hepgen.io.files import FileSpec
from hepgen.io.memory import number_of_bytes

__all__ = ["NpzSource"]


class NpzSource:
    """The arrays of an npz file that have one row an entry.

    An array cannot be read in parts, so each is read whole, once, when it is first asked for.

    Args:
        spec: the file.
        tree: not used; other formats have trees.

    Raises:
        NotReadable: it is not an npz file, is cut short or damaged.
        EmptyInput: it holds no array.
    """

    kind = "array"
    tree_name = None

    def __init__(self, spec: FileSpec, tree: str | None = None) -> None:
        del tree
        self.spec = spec
        self.where = spec.name
        self._loaded: dict[str, Values] = {}
        with contextlib.ExitStack() as stack, _readable(spec.path):
            # numpy leaves a file open that it cannot read.
            stream = stack.enter_context(open(spec.path, "rb"))
            self.file = np.load(stream, allow_pickle=False)
            if not isinstance(self.file, np.lib.npyio.NpzFile):
                raise NotReadable(f"{spec.path} is one array, not an npz file of several")
            lengths = {name: len(self._array(name)) for name in self.file.files}
            if not lengths:
                raise EmptyInput(f"no array in {self.where}")
            self._stack = stack.pop_all()
        self.num_entries = Counter(lengths.values()).most_common(1)[0][0]
        self.names = tuple(name for name, size in lengths.items() if size == self.num_entries)

    def __enter__(self) -> NpzSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()
        self._stack.close()

    def _array(self, name: str) -> Values:
        if name not in self._loaded:
            self._loaded[name] = np.atleast_1d(self.file[name])
        return self._loaded[name]

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """The values of some arrays for rows start <= i < stop; see `RootSource.read`."""
        with _readable(self.spec.path):
            return {name: self._array(name)[start:stop] for name in names}

    def steps(
        self, names: Sequence[str], step: str | int, start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Entry ranges of about one size; see `RootSource.steps`."""
        size = step
        if isinstance(size, str):
            total = sum(self._array(name).nbytes for name in names)
            size = max(1, number_of_bytes(size) * self.num_entries // max(total, 1))
        for begin in range(start, stop, size):
            yield begin, min(begin + size, stop)


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise MissingFile(f"no file {path}") from error
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise NotReadable(f"{path} cannot be read as npz ({reason})") from error
