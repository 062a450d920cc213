"""Which files are meant: paths, globs, ``file.root:tree``, URLs, lists, and classes by file."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hepgen.io.errors import InputError, MissingFile, NotReadable, WrongType, nearest_names

__all__ = ["FileSpec", "Files", "expand"]

_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
_CLASS = re.compile(r"(?P<label>[A-Za-z_]\w*):(?!//)(?P<rest>.+)", re.DOTALL)
_TREE = re.compile(r"(?P<path>.+\.root):(?P<tree>[^:]+)", re.DOTALL)
_MAGIC = {
    b"root": "root",
    b"PAR1": "parquet",
    b"\x89HDF": "hdf5",
    b"PK\x03\x04": "npz",
}
_SUFFIXES = {
    ".root": "root",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".npz": "npz",
}


@dataclass(frozen=True)
class FileSpec:
    """One file to read.

    Args:
        path: path or URL.
        tree: name of the tree in it, None where it is still to be found.
        label: the class that all jets of this file belong to, None where the file does not tell.
    """

    path: str
    tree: str | None = None
    label: str | None = None

    @property
    def is_url(self) -> bool:
        """Whether the path begins with a scheme such as ``root://`` or ``https://``."""
        return _SCHEME.match(self.path) is not None

    @property
    def name(self) -> str:
        """The last part of the path, for messages."""
        return self.path.rsplit("/", 1)[-1] or self.path

    @property
    def format(self) -> str:
        """One of root, parquet, hdf5 and npz, by the suffix, else by the first bytes.

        Raises:
            NotReadable: neither tells a format that hepgen reads.
        """
        path = self.path.split("?", 1)[0] if self.is_url else self.path
        suffix = os.path.splitext(path)[1].lower()
        if suffix in _SUFFIXES:
            return _SUFFIXES[suffix]
        if self.is_url:
            return "root"
        with open(self.path, "rb") as file:
            start = file.read(4)
        if start in _MAGIC:
            return _MAGIC[start]
        raise NotReadable(
            f"{self.path} is of no format that hepgen reads (its first bytes are {start!r}); "
            f"wanted one of {', '.join(_SUFFIXES)}"
        )


PathLike = str | os.PathLike[str] | FileSpec
Files = PathLike | Iterable[PathLike] | Mapping[str, PathLike | Iterable[PathLike]]


def expand(files: Files) -> list[FileSpec]:
    """The files that are meant, in order.

    Args:
        files: a path, a glob (``**`` too), ``file.root:tree``, a URL, ``class:`` before any of
            them, a list of them, or a mapping of classes to them. URLs are passed on as they are;
            the files of a glob are sorted.

    Returns:
        One `FileSpec` a file; local files exist.

    Raises:
        MissingFile: a path or glob that matches nothing.
        NotReadable: a folder where a file is wanted.
        WrongType: something that is no path.
        InputError: the same file and tree twice, or a class for some of the files only.
    """
    specs: list[FileSpec] = []
    if isinstance(files, Mapping):
        for label, some in files.items():
            specs += [replace(spec, label=str(label)) for spec in expand(some)]
    elif isinstance(files, (str, os.PathLike, FileSpec)):
        specs = _expand_one(files)
    elif isinstance(files, Iterable):
        for one in files:
            if not isinstance(one, (str, os.PathLike, FileSpec)):
                raise WrongType(
                    f"wanted a path, got {one!r} ({type(one).__name__}) among the files"
                )
            specs += _expand_one(one)
    else:
        raise WrongType(f"wanted a path, a list or a mapping of paths, got {files!r}")
    if not specs:
        raise MissingFile(f"no files at all in {files!r}")
    _check(specs)
    return specs


def _check(specs: list[FileSpec]) -> None:
    seen: set[tuple[str, str | None]] = set()
    for spec in specs:
        key = (spec.path, spec.tree)
        if key in seen:
            raise InputError(f"{spec.path} is given twice; each of its jets would count double")
        seen.add(key)
    unlabelled = [spec.path for spec in specs if spec.label is None]
    if unlabelled and len(unlabelled) < len(specs):
        raise InputError(f"a class is given for some of the files, but none for {unlabelled[0]}")


def _expand_one(file: PathLike) -> list[FileSpec]:
    if isinstance(file, FileSpec):
        return [file]
    text = os.fspath(file)
    if os.path.isfile(text):
        return [FileSpec(text)]
    label = tree = None
    if match := _CLASS.fullmatch(text):
        label, text = match["label"], match["rest"]
    if match := _TREE.fullmatch(text):
        text, tree = match["path"], match["tree"]
    if _SCHEME.match(text):
        return [FileSpec(text, tree, label)]
    text = os.path.expanduser(text)
    if os.path.isfile(text):
        return [FileSpec(text, tree, label)]
    if os.path.isdir(text):
        raise NotReadable(
            f"{text} is a folder, wanted a file; its files are {os.path.join(text, '*')!r}"
        )
    paths = sorted(path for path in glob.glob(text, recursive=True) if os.path.isfile(path))
    if not paths:
        raise MissingFile(_what_is_there(text))
    return [FileSpec(path, tree, label) for path in paths]


def _what_is_there(text: str) -> str:
    folder, name = os.path.split(text)
    folder = folder or "."
    if glob.has_magic(text):
        return f"no file matches {text!r}"
    if not os.path.isdir(folder):
        return f"no file {text!r}; there is no folder {folder!r}"
    nearest = nearest_names(name, os.listdir(folder))
    return f"no file {text!r}; nearest in that folder: {', '.join(nearest) or 'it is empty'}"
