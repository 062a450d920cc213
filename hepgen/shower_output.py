"""Files of showers and models that are to be written: what is wrong is told before the work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepgen import calorimeter
from hepgen.calorimeter import Showers
from hepgen.calorimeter.files import writer_of
from hepgen.io.errors import MissingFile, NotReadable, OutputExists

__all__ = ["check_new_file", "try_to_write"]


def check_new_file(
    path: str | os.PathLike[str], *, overwrite: bool = False, suffix: str | None = None
) -> Path:
    """See that a file can be made.

    Args:
        path: the file.
        overwrite: whether one that is there may be replaced.
        suffix: what its name should end in; anything if not given.

    Returns:
        The path.

    Raises:
        OutputExists: it is there, or is a folder.
        MissingFile: the folder it shall stand in does not exist.
        NotReadable: another suffix.
    """
    file = Path(path)
    if file.is_dir():
        raise OutputExists(f"{file} is a folder; wanted the name of a file")
    if file.exists() and not overwrite:
        raise OutputExists(f"{file} exists; overwrite replaces it")
    if not file.parent.is_dir():
        raise MissingFile(f"{file}: there is no folder {file.parent}")
    if suffix is not None and file.suffix.lower() != suffix:
        raise NotReadable(f"{file}: wanted the name of a file that ends in {suffix}")
    return file


def try_to_write(
    path: str | os.PathLike[str], one: Showers, options: Mapping[str, Any] | None = None
) -> None:
    """Write a shower as the others shall be written, and forget it.

    Args:
        path: of the file that is to come, of which the name is looked at.
        one: a shower with all that the others have.
        options: of `hepgen.calorimeter.write`.

    Raises:
        NotReadable: a suffix of no format that hepgen writes.
        InputError: the writer has no such option, or refuses something else.
    """
    # By its own name, not by that of the trial.
    writer_of(path, options or ())
    with tempfile.TemporaryDirectory() as folder:
        calorimeter.write(Path(folder) / Path(path).name, one, **(options or {}))
