"""From the arguments of ``fit`` to a run that is about to begin or to go on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hepgen.training.average import Average
from hepgen.training.interruption import Interruption
from hepgen.training.losses import Losses
from hepgen.training.optimizers import make_optimizer
from hepgen.training.progress import make_progress
from hepgen.training.run import Run
from hepgen.training.run_folder import RunFolder
from hepgen.training.schedules import schedule
from hepgen.training.sources import BatchSource, batch_source, fingerprint
from hepgen.training.state import State

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["describe", "prepare"]

# The arguments of ``fit`` that decide the result; the others only where it is made and how shown.
DECIDING = (
    "epochs",
    "batch_size",
    "lr",
    "optimizer",
    "weight_decay",
    "lr_factors",
    "freeze",
    "sharpness",
    "ema",
    "schedule",
    "schedule_options",
    "clip",
    "accumulate",
    "patience",
    "class_weights",
    "seed",
    "precision",
)
# Those that the loop looks at as they are.
PLAIN = (
    "epochs",
    "accumulate",
    "clip",
    "patience",
    "seed",
    "checkpoint_minutes",
    "checkpoint_steps",
)


def prepare(arguments: dict[str, Any], fabric: Fabric, frozen: tuple[str, ...] = ()) -> Run:
    """Make batches, optimiser and schedule, and open the run folder.

    Args:
        arguments: those of ``fit``, by name.
        fabric: a launched Fabric.
        frozen: names of the parameters that stay as they are; they need no gradient already.

    Returns:
        A run at its beginning, or where ``last.ckpt`` stands.

    Raises:
        ValueError: an argument makes no sense, or the run in the folder is another one.
        TypeError: the model has no loss, or the data are no data.
        OSError: the folder cannot be used.
    """
    _check(arguments)
    model: nn.Module = arguments["model"]
    train = _batches(arguments, "train", fabric)
    validation = None
    if arguments["validation"] is not None:
        validation = _batches(arguments, "validation", fabric)
    shape = schedule(arguments["schedule"], arguments["schedule_options"])
    steps = arguments["epochs"] * math.ceil(len(train) / arguments["accumulate"])
    names = ("lr", "weight_decay", "lr_factors", "sharpness")
    optimizer = make_optimizer(arguments["optimizer"], model, **{n: arguments[n] for n in names})
    ema = arguments["ema"]
    module, wrapped = fabric.setup(_LossOf(model), optimizer)
    state = State()
    shown = arguments["progress"] and fabric.is_global_zero
    progress = make_progress(shown, getattr(train, "noun", "jets"))
    run = Run(
        fabric=fabric,
        model=model,
        module=module,
        optimizer=wrapped,
        train=train,
        validation=validation,
        lr_factor=lambda step: shape(step, steps),
        # Ranks see different batches; those of rank 0 stand for all.
        settings=fabric.broadcast(describe(arguments, fabric.world_size, train, validation)),
        folder=None if arguments["output"] is None else RunFolder(arguments["output"]),
        state=state,
        progress=progress,
        losses=Losses(state, model, train, progress, at_once=fabric.device.type == "cpu"),
        interruption=Interruption(),
        frozen=frozen,
        sharp=arguments["sharpness"] is not None,
        **{name: arguments[name] for name in PLAIN},
    )
    # After fabric has put the model on its device.
    run.average = None if ema is None else Average(model, ema)
    run.open(arguments["resume"])
    if arguments["compile"]:
        model.compile(dynamic=True)
    return run


class _LossOf(nn.Module):
    """What Fabric wraps: calling it is computing the loss, also through DDP and autocast."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Callable[[], Any]) -> Tensor:
        """The loss of a batch, which comes in a function.

        Fabric would round the tensors of a plain tuple or dict to the precision of autocast, and
        four-momenta in bfloat16 have lost their masses. It does not look into functions.
        """
        loss = self.model.loss(batch())  # type: ignore[operator]
        if not isinstance(loss, Tensor) or loss.ndim:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise TypeError(f"{type(self.model).__name__}.loss gives {got}; wanted a scalar tensor")
        return loss


def _batches(arguments: dict[str, Any], what: str, fabric: Fabric) -> BatchSource:
    return batch_source(
        arguments["model"],
        arguments[what],
        what=what,
        batch_size=arguments["batch_size"],
        shuffle=what == "train",
        seed=arguments["seed"],
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        class_weights=arguments["class_weights"] if what == "train" else None,
    )


def _check(arguments: Mapping[str, Any]) -> None:
    model = arguments["model"]
    if not isinstance(model, nn.Module) or not callable(getattr(model, "loss", None)):
        raise TypeError(f"{type(model).__name__} is no torch module with a method loss(batch)")
    for name in ("epochs", "batch_size", "accumulate", "patience", "checkpoint_steps"):
        value = arguments[name]
        if value is not None and (not isinstance(value, Integral) or value < 1):
            raise ValueError(f"{name}={value!r}: wanted a whole number, at least 1")
    for name in ("lr", "clip", "sharpness", "checkpoint_minutes"):
        value = arguments[name]
        real = isinstance(value, Real) and 0 < float(value) < math.inf
        if value is not None and not real:
            raise ValueError(f"{name}={value!r}: wanted a number above 0")
    ema = arguments["ema"]
    if ema is not None and not (isinstance(ema, Real) and 0 < float(ema) < 1):
        raise ValueError(f"ema={ema!r}: wanted a number between 0 and 1, such as 0.999")
    if arguments["sharpness"] is not None and arguments["precision"] == "16-mixed":
        raise ValueError("sharpness does not go with 16-mixed, whose scaler may skip steps")
    if arguments["patience"] is not None and arguments["validation"] is None:
        raise ValueError(f"patience={arguments['patience']} needs a validation sample")
    if arguments["resume"] is True and arguments["output"] is None:
        raise ValueError("resume=True needs the output folder to resume from")


def describe(
    arguments: Mapping[str, Any],
    processes: int,
    train: BatchSource,
    validation: BatchSource | None,
) -> dict[str, Any]:
    """All that decides the result of a run, flat, so that two runs can be compared by name.

    Args:
        arguments: those of ``fit``.
        processes: number of ranks.
        train: training batches.
        validation: validation batches, if any.

    Returns:
        JSON-able values by names such as "lr", "model.config.k", "train.batches".
    """
    found = {name: arguments[name] for name in DECIDING}
    found |= {"processes": processes, **_describe_model(arguments["model"])}
    for name, source in (("train", train), ("validation", validation)):
        if source is not None:
            found[f"{name}.batches"] = len(source)
            found[f"{name}.fingerprint"] = fingerprint(source)
            data = arguments[name]
            if hasattr(data, "__len__"):
                found[f"{name}.length"] = len(data)
    return dict(json.loads(json.dumps(found, default=_text)))


def _describe_model(model: nn.Module) -> dict[str, Any]:
    shapes = [(n, tuple(t.shape), str(t.dtype)) for n, t in model.state_dict().items()]
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    config = getattr(model, "config", None)
    items = dict(config()) if callable(config) else {}
    features = getattr(getattr(model, "features", None), "names", None)
    if features is not None:
        items["features"] = list(features)
    head: Any = getattr(model, "head", None)
    described = head.to_dict() if callable(getattr(head, "to_dict", None)) else None
    # Runs that were begun before there were heads go on.
    if described is not None and described["class"] != "Classification":
        items["head"] = described
    return {
        "model": type(model).__qualname__,
        **{f"model.{name}": value for name, value in items.items()},
        "model.parameters": sum(p.numel() for p in model.parameters()),
        "model.shapes": hashlib.sha256(repr((shapes, trained)).encode()).hexdigest()[:16],
    }


def _text(value: Any) -> str:
    # A function's name, not its repr: that holds an address, which is another in each process.
    return str(getattr(value, "__qualname__", None) or type(value).__qualname__)
