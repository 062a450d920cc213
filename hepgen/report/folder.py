"""A folder of results that is either complete or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from hepgen.atomic import replacing
from hepgen.io.errors import MissingFile, OutputExists

__all__ = ["check_output", "write_folder"]


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """See that a folder can be made, before the work is done.

    Args:
        path: the folder.
        overwrite: whether files in it may be replaced.

    Raises:
        OutputExists: it is there and not empty, or is a file.
        MissingFile: the folder it shall stand in does not exist.
    """
    folder = Path(path)
    if folder.is_dir():
        if any(folder.iterdir()) and not overwrite:
            raise OutputExists(
                f"{folder} is there and not empty; overwrite=True replaces its files"
            )
    elif folder.exists():
        raise OutputExists(f"{folder} is a file, a folder is wanted")
    elif not folder.absolute().parent.is_dir():
        raise MissingFile(f"no folder {str(folder.parent)!r} to make {folder.name!r} in")


def write_folder(
    path: str | os.PathLike[str], files: Mapping[str, bytes], *, overwrite: bool = False
) -> None:
    """Write files into a new folder, all of them or none.

    Args:
        path: the folder; in one that is there already, each file is replaced by itself.
        files: contents by name; names may hold folders, with slashes.
        overwrite: whether files in it may be replaced.

    Raises:
        OutputExists: as for :func:`check_output`.
        MissingFile: as for :func:`check_output`.
        OSError: the disk is full, or writing is not allowed; nothing new is left then.
    """
    check_output(path, overwrite=overwrite)
    folder = Path(path)
    if folder.is_dir():
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                temporary.write_bytes(content)
        return
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, content in files.items():
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        os.rename(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
