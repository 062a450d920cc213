"""The folder of a run: which files it holds, and whether they are of this run.

``model.safetensors`` (the best weights), ``last.ckpt`` (to go on from), ``history.csv``,
``run.json`` (settings, versions, data) and ``tensorboard/``. Other files are left alone.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from hepgen import __version__
from hepgen.atomic import replacing
from hepgen.training.errors import DifferentRun, RunExists, TrainingError

__all__ = ["RunFolder", "differences"]

Resume = Literal["auto"] | bool


class RunFolder:
    """The files of one run.

    Args:
        path: the folder; made if it is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.model = self.path / "model.safetensors"
        self.last = self.path / "last.ckpt"
        self.history = self.path / "history.csv"
        self.run = self.path / "run.json"
        self.tensorboard = self.path / "tensorboard"

    def open(self, resume: Resume) -> bool:
        """Make the folder, or find the run in it.

        Args:
            resume: "auto" to go on if there is a run, True if there must be one, False if there
                must be none.

        Returns:
            Whether there is a run in the folder.

        Raises:
            RunExists: there is a run and ``resume`` is False, or files of one without ``run.json``.
            TrainingError: there is no run and ``resume`` is True.
            OSError: the folder cannot be made.
        """
        ours = (self.model, self.last, self.history, self.run)
        there = [file.name for file in ours if file.exists()]
        if resume is True and not self.last.exists():
            raise TrainingError(f"nothing to resume: no last.ckpt in {self.path}")
        if there and resume is False:
            raise RunExists(
                f"{self.path} holds a run already ({', '.join(there)}); "
                "name another output folder, or go on with resume='auto'"
            )
        if there and not self.run.exists():
            raise RunExists(
                f"{self.path} holds {', '.join(there)} but no run.json, so it is no run that can "
                "go on; name another output folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        return bool(there)

    def check(self, settings: Mapping[str, Any], kept: Mapping[str, Any], file: Path) -> None:
        """Refuse to go on with a run that was begun differently.

        Args:
            settings: of this call.
            kept: of the run in the folder.
            file: where the latter stand.

        Raises:
            DifferentRun: they differ; the message names each difference.
        """
        found = differences(kept, settings)
        if found:
            raise DifferentRun(
                f"{file} is of a run with other settings; name another output folder, or undo:\n  "
                + "\n  ".join(found)
            )

    def write_run(self, settings: Mapping[str, Any]) -> None:
        """Write ``run.json``.

        Args:
            settings: what decides the result, flat; sizes of the data too.

        Raises:
            OSError: it cannot be written.
        """
        packages = ("torch", "lightning", "numpy", "torch_geometric", "awkward", "uproot")
        content = {
            "hepgen": __version__,
            "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": sys.argv,
            "settings": dict(settings),
            "versions": {"python": platform.python_version(), **_versions(packages)},
            "git": _git(),
        }
        with replacing(self.run) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    def read_settings(self) -> dict[str, Any]:
        """The settings in ``run.json``.

        Raises:
            TrainingError: the file is damaged.
            OSError: it cannot be read.
        """
        try:
            settings = json.loads(self.run.read_text())["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{self.run} is damaged: {error!r}") from error
        return dict(settings)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two sets of settings, one line each.

    A longer run is the same run if its learning rate is constant, as only then the steps already
    done are those the longer run would have done.

    Args:
        before: settings of the run in the folder.
        now: settings asked for.

    Returns:
        Lines such as "lr: 0.001 in the run, 0.01 now".
    """
    now = json.loads(json.dumps(now))  # as they look when read back: tuples are lists
    # A list or mapping with nothing in it asks for no more than an argument that was not there yet.
    before, now = ({n: None if v in ([], {}) else v for n, v in s.items()} for s in (before, now))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if before.get("schedule") == now.get("schedule") == "constant" and "epochs" in names:
        names.remove("epochs")
    missing = "absent"
    return [f"{n}: {before.get(n, missing)} in the run, {now.get(n, missing)} now" for n in names]


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    installed = {d.metadata["Name"].replace("-", "_"): d.version for d in metadata.distributions()}
    return {name: installed[name] for name in packages if name in installed}


def _git() -> dict[str, Any] | None:
    """Commit of the working directory, where it is a git checkout."""
    try:
        commit, status = (
            subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=True)
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "modified": bool(status.stdout.strip())}
