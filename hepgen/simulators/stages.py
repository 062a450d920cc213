"""Training a simulator, one stage after the other, by the common trainer."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hepgen import checkpoint, training
from hepgen.atomic import replacing
from hepgen.calorimeter import Showers
from hepgen.calorimeter.errors import ShowerError
from hepgen.simulators.batches import ShowerSource
from hepgen.training import History
from hepgen.training.errors import TrainingError
from hepgen.training.progress import make_progress
from hepgen.training.randomness import seed_of
from hepgen.training.ranks import is_first_rank

if TYPE_CHECKING:
    from hepgen.simulators.simulator import Simulator

__all__ = ["Part", "fit_stages"]

# Fewer are no sample of anything.
FEWEST = 10
# Showers that preprocessings are fitted to, and from how many places in the sample: files may be
# sorted by energy.
PREPARING = 20_000
PLACES = 40
# Voxels of them in memory, of calorimeters with many.
PREPARING_BYTES = 1 << 30
# What the simulator decides, not the caller.
NOT_OURS = ("model", "train", "validation", "class_weights", "output", "resume", "seed", "progress")


class Part:
    """Some showers of a sample, by number; the sample may be in files.

    Args:
        source: the sample.
        rows: rising numbers, shape (N,).
    """

    def __init__(self, source: ShowerSource, rows: np.ndarray) -> None:
        self.source, self.rows, self.geometry = source, rows, source.geometry

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Showers:
        return self.source[self.rows[which]]


def fit_stages(
    simulator: Simulator,
    showers: ShowerSource,
    *,
    validation: float | ShowerSource | None,
    augment: bool,
    settings: Mapping[str, Any],
    stages: Mapping[str, Mapping[str, Any]],
    seed: int,
    output: Path | None,
    resume: Literal["auto"] | bool,
    progress: bool,
) -> dict[str, History]:
    """Train the stages of a simulator; see `Simulator.fit`.

    Args:
        simulator: what to train.
        showers: the sample.
        validation: a share, a sample, or None.
        augment: whether to turn showers.
        settings: arguments of the trainer for all stages.
        stages: arguments of the trainer for some.
        seed: of everything random.
        output: folder of the run.
        resume: as of the trainer.
        progress: whether to show a bar.

    Returns:
        Stage -> its history.

    Raises:
        TypeError: an argument or stage that is not known.
        ShowerError: fewer than ten showers, or a share that is none.
        GeometryError: showers of another calorimeter.
        TrainingError: the run in ``output`` learns from other showers.
    """
    simulator.check_geometry(showers.geometry)
    train, held_out = _split(showers, validation, seed)
    if held_out is not None:
        simulator.check_geometry(held_out.geometry)
    some = train[_from_all_over(len(train), train.geometry.num_voxels)]
    told = _told_of(some, len(train), augment)
    with _same_sample(output, told, resume):
        return _fit_each(
            simulator,
            (train, held_out),
            some,
            augment=augment,
            settings=settings,
            stages=stages,
            seed=seed,
            output=output,
            resume=resume,
            progress=progress,
        )


def _fit_each(
    simulator: Simulator,
    samples: tuple[ShowerSource, ShowerSource | None],
    some: Showers,
    *,
    augment: bool,
    settings: Mapping[str, Any],
    stages: Mapping[str, Mapping[str, Any]],
    seed: int,
    output: Path | None,
    resume: Literal["auto"] | bool,
    progress: bool,
) -> dict[str, History]:
    train, held_out = samples
    # As batches are cut: what the geometry counts as empty is no energy of a layer either.
    simulator.prepare(some.into(simulator.geometry).above())
    modules = simulator.stages()
    _check_names(type(simulator).__name__, modules, settings, stages)
    histories: dict[str, History] = {}
    for name, module in modules.items():
        own = getattr(module, "defaults", {})
        chosen = _layered(simulator.defaults, own, settings, stages.get(name, {}))
        batch_size = chosen.pop("batch_size", 256)
        turned = chosen.pop("augment", augment)
        single = len(modules) == 1
        if not single:
            said = f"stage {len(histories) + 1} of {len(modules)}: {name}"
            make_progress(progress and is_first_rank()).say(said)
        histories[name] = training.fit(
            module,
            simulator.batches(
                train, batch_size=batch_size, shuffle=True, seed=seed, augment=turned
            ),
            validation=None
            if held_out is None
            else simulator.batches(held_out, batch_size=batch_size, seed=seed),
            seed=seed_of(name, seed) % 2**31 if not single else seed,
            output=output if output is None or single else output / name,
            resume=resume,
            progress=progress,
            **chosen,
        )
    simulator.eval()
    if output is not None and len(modules) != 1 and is_first_rank():
        output.mkdir(parents=True, exist_ok=True)
        checkpoint.save(simulator, output / "model.safetensors")
    return histories


def _layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the trainer: later layers win; another schedule drops options of the last."""
    found: dict[str, Any] = {}
    for layer in layers:
        if "schedule" in layer and layer["schedule"] != found.get("schedule"):
            found.pop("schedule_options", None)
        found |= layer
    return found


def _split(
    showers: ShowerSource, validation: float | ShowerSource | None, seed: int
) -> tuple[ShowerSource, ShowerSource | None]:
    if len(showers) < FEWEST:
        raise ShowerError(f"{len(showers)} showers are too few to learn from, wanted {FEWEST}")
    if validation is None:
        return showers, None
    if not isinstance(validation, (int, float)):
        return showers, validation
    if not 0 < validation < 1:
        raise ShowerError(f"validation={validation}: wanted a share between 0 and 1, or None")
    rng = np.random.default_rng(seed_of("validation", seed))
    number = max(1, round(float(validation) * len(showers)))
    held_out = np.sort(rng.permutation(len(showers))[:number])
    rest = np.setdiff1d(np.arange(len(showers)), held_out)
    if isinstance(showers, Showers):
        return showers[rest], showers[held_out]
    return Part(showers, rest), Part(showers, held_out)


def _from_all_over(total: int, num_voxels: int) -> np.ndarray:
    """Rising numbers of showers, in runs of neighbours from all over a long sample."""
    wanted = min(PREPARING, max(10 * PLACES, PREPARING_BYTES // (4 * num_voxels)))
    if total <= wanted:
        return np.arange(total)
    size = wanted // PLACES
    starts = np.linspace(0, total - size, PLACES).astype(int)
    return np.unique(starts[:, None] + np.arange(size))


def _told_of(some: Showers, number: int, augment: bool) -> dict[str, Any]:
    """What tells a sample from another; the trainer itself does not look at energies."""
    digest = hashlib.sha256(np.ascontiguousarray(some.incident_energy).tobytes())
    digest.update(np.count_nonzero(some.voxels, axis=1).astype(np.int64).tobytes())
    return {"showers": number, "digest": digest.hexdigest()[:16], "augment": augment}


@contextmanager
def _same_sample(
    output: Path | None, told: Mapping[str, Any], resume: Literal["auto"] | bool
) -> Iterator[None]:
    """Refuse a run that learns from other showers; keep of a run that begins what it learns from.

    Raises:
        TrainingError: see there.
    """
    if output is None:
        yield
        return
    path = output / "sample.json"
    if path.exists() and resume is not False:
        before = json.loads(path.read_text())
        for name, value in told.items():
            if before.get(name) != value:
                raise TrainingError(
                    f"{output} is of a run with another sample: {name} was {before.get(name)!r}, "
                    f"now {value!r}; name another folder"
                )
    begun = True
    try:
        yield
    except training.DifferentRun:
        # What stands there is of a run that learns from something else, as far as is known.
        begun = False
        raise
    finally:
        files = [output / "run.json", *output.glob("*/run.json")]
        if begun and is_first_rank() and any(file.exists() for file in files):
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(told))


def _check_names(
    simulator: str,
    modules: Mapping[str, Any],
    settings: Mapping[str, Any],
    stages: Mapping[str, Mapping[str, Any]],
) -> None:
    signature = inspect.signature(training.fit)
    known = [name for name in signature.parameters if name not in NOT_OURS]
    for name in stages:
        if name not in modules:
            near = ", ".join(modules)
            raise TypeError(f"{simulator} has no stage {name!r}; its stages are {near}")
    for name in {**settings, **{k: v for one in stages.values() for k, v in one.items()}}:
        if name not in [*known, "augment"]:
            near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise TypeError(f"fit has no argument {name!r}; nearest: {near}")
