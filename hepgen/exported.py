"""A trained tagger as one file of torch.export: a graph of operators, without its Python.

The program takes tensors and gives scores, for any number of jets and constituents above one:
``torch.export.load(path).module()(x, ptr, pos, p4)``. These are those of a batch, or of
`hepgen.PackedJets`, which calls ``ptr`` its ``offsets``. Where the program holds operators of
hepgen, such as ``hepgen::knn``, hepgen has to be imported first, which `load_exported` sees to.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen import __version__
from hepgen.atomic import replacing
from hepgen.checkpoint import CheckpointError
from hepgen.data import make_batch
from hepgen.taggers import Tagger

__all__ = ["Exported", "export", "load_exported"]

ABOUT = "hepgen.json"
INPUTS = ("x", "ptr", "pos", "p4")


@dataclass(frozen=True)
class Exported:
    """An exported tagger.

    Attributes:
        program: what torch.export wrote, for at least two jets with two constituents in all. Of
            ``x`` (N, F), ``ptr`` (B + 1,), ``pos`` (N, 2) and ``p4`` (N, 4), as the batches of
            `hepgen.PackedJets` have them, it gives scores (B, S). Calling this object is the same
            for any number.
        about: what the file says of itself: hepgen's version, the tagger's class and arguments,
            features with their standardisation, and names of the scores.
    """

    program: nn.Module
    about: Mapping[str, Any]

    def __call__(self, x: Tensor, ptr: Tensor, pos: Tensor, p4: Tensor) -> Tensor:
        """Scores (B, S) of any number of jets."""
        # Two jets more, taken away again: a program of torch.export is for two or more of
        # everything, as it takes sizes of 0 and 1 for constants.
        light = p4.new_tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
        scores: Tensor = self.program(
            functional.pad(x, (0, 0, 0, 2)),
            torch.cat([ptr, ptr[-1:] + 1, ptr[-1:] + 2]),
            functional.pad(pos, (0, 0, 0, 2)),
            torch.cat([p4, light]),
        )
        return scores[:-2]


def export(tagger: Tagger, path: str | Path) -> None:
    """Write a tagger as a program of torch.export, whole or not at all.

    Args:
        tagger: a trained tagger; it is exported in evaluation mode and stays as it was.
        path: the file to write or replace, ``*.pt2``.

    Raises:
        CheckpointError: the tagger holds operations that torch.export cannot follow.
        OSError: the file cannot be written.
    """
    modes = {module: module.training for module in tagger.modules()}
    try:
        program = _program(tagger.eval())
    finally:
        for module, mode in modes.items():
            module.training = mode
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={ABOUT: json.dumps(_about(tagger))})
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_exported(path: str | Path) -> Exported:
    """Read what `export` wrote.

    The file holds a graph of known operators; no Python of it is run.

    Args:
        path: ``*.pt2``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or was not written by hepgen.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; wanted one that hepgen.export wrote")
    more = {ABOUT: ""}
    try:
        # torch does not look at the checksums, and would compute with damaged weights.
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise CheckpointError(f"{path} is damaged: {bad} is not what was written")
        program = torch.export.load(path, extra_files=more)
    except (RuntimeError, ValueError, OSError, LookupError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is no program of torch.export: {error}") from error
    if not more[ABOUT]:
        raise CheckpointError(f"{path} is a program of torch.export, but none of hepgen's")
    return Exported(program.module(), json.loads(more[ABOUT]))


class _Scores(nn.Module):
    """Tensors in, scores out."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger = tagger

    def forward(self, x: Tensor, ptr: Tensor, pos: Tensor, p4: Tensor) -> Tensor:
        batch = make_batch(x, ptr, pos=pos, p4=p4)
        return self.tagger.head.scores(self.tagger(batch))


def _program(tagger: Tagger) -> torch.export.ExportedProgram:
    parameter = next(tagger.parameters())
    like = torch.empty(0, dtype=parameter.dtype, device=parameter.device)
    counts = torch.tensor([0, 3, 7, 12], device=parameter.device)
    generator = torch.Generator().manual_seed(0)
    p3 = torch.randn(12, 3, generator=generator).to(like)
    example = (
        torch.randn(12, len(tagger.features), generator=generator).to(like),
        counts,
        torch.rand(12, 2, generator=generator).to(like),
        torch.cat([p3.norm(dim=1, keepdim=True), p3], dim=1),
    )
    free = tuple({0: torch.export.Dim.DYNAMIC} for _ in INPUTS)
    try:
        return torch.export.export(_Scores(tagger), example, dynamic_shapes=free, strict=False)
    except (RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"torch.export cannot follow {type(tagger).__name__}: {error}"
        ) from error


def _about(tagger: Tagger) -> dict[str, Any]:
    return {
        "hepgen": __version__,
        "model": type(tagger).__name__,
        "config": tagger.config(),
        "features": tagger.features.to_dict(),
        "classes": list(tagger.classes),
        "scores": list(tagger.score_names),
        "inputs": list(INPUTS),
    }
