"""What can be wrong with input and output files, one class for each kind of mistake.

Every message says what was wanted, what was got, where, and the nearest right names. All are
`InputError`, which is a ValueError; a missing name is a KeyError too and a missing file a
FileNotFoundError, so that usual handlers catch them.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest

__all__ = [
    "EmptyInput",
    "InputError",
    "LabelError",
    "MissingFile",
    "MissingName",
    "MissingPackage",
    "NotReadable",
    "OutputExists",
    "SchemaError",
    "WrongType",
    "nearest_names",
]


class InputError(ValueError):
    """A file, or what was asked of it, cannot be used."""


class MissingFile(InputError, FileNotFoundError):
    """No file stands under this path or matches this glob."""


class MissingName(InputError, KeyError):
    """A tree, branch, field, collection or class that is not there."""

    # KeyError prints the repr of its argument, with the quotes doubled and newlines escaped.
    __str__ = Exception.__str__

    @classmethod
    def among(cls, name: str, names: Iterable[str], *, kind: str, where: str) -> MissingName:
        """The error for one name, with the nearest of the names that exist.

        Args:
            name: what was asked for.
            names: what is there.
            kind: what is named: "branch", "tree", "field", "class".
            where: in what: "tree 'tree' of jets.root".

        Returns:
            An error to raise, "no branch 'part_p_x' in tree 'tree' of jets.root; nearest: part_px,
            part_py, part_pz".
        """
        nearest = nearest_names(name, names)
        hint = f"nearest: {', '.join(nearest)}" if nearest else "there are none at all"
        return cls(f"no {kind} {name!r} in {where}; {hint}")


class NotReadable(InputError):
    """A file that is not of the format it should be, is cut short, or is damaged."""


class EmptyInput(InputError):
    """No entries, or no jets after the selection."""


class LabelError(InputError):
    """Jets that belong to no class or to several."""


class SchemaError(InputError):
    """The columns follow no known schema, or not the one that was asked for."""


class WrongType(InputError):
    """A column, or an argument, whose values are not of the wanted type or shape."""


class MissingPackage(InputError, ImportError):
    """An optional dependency that this format needs is not installed."""


class OutputExists(InputError, FileExistsError):
    """The output is there already and nobody said to overwrite it."""


def nearest_names(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names most like a given one, the best first.

    Args:
        name: what was asked for.
        names: what is there.
        count: how many to give at most.

    Returns:
        Up to ``count`` of ``names``, by the similarity ratio of difflib without regard to case.
    """
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name.lower())

    def similarity(other: str) -> float:
        matcher.set_seq1(other.lower())
        return matcher.ratio()

    return nlargest(count, names, key=similarity)
