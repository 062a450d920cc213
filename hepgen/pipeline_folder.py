"""What the folder of a run says of the pipeline it is from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hepgen.atomic import replacing
from hepgen.training.ranks import is_first_rank

__all__ = ["told_in"]


@contextmanager
def told_in(folder: Path, resolved: str | None) -> Iterator[None]:
    """Keep ``pipeline.yaml`` from the start of a run, but not if the run does not begin.

    Args:
        folder: of the run.
        resolved: what the file shall hold; None for no file.

    Yields:
        Nothing; the run is begun inside the block.
    """

    def begun() -> bool:
        # A simulator has a folder for each of its stages.
        return (folder / "run.json").exists() or any(folder.glob("*/run.json"))

    # Ranks that wrote the file at the same time would take its temporary name from each other.
    if resolved is None or begun() or not is_first_rank():
        yield
        return
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pipeline.yaml"
    with replacing(path) as temporary:
        temporary.write_text(resolved)
    try:
        yield
    finally:
        if not begun():
            path.unlink()
            if new and not any(folder.iterdir()):
                folder.rmdir()
