"""A trained model in one file: weights, and in the header all that is needed to build it again.

The file is in the safetensors format: an 8-byte length, a JSON header, the numbers. The header's
metadata holds one key, ``hepgen``, whose JSON gives format version, class name, constructor
arguments, features, classes, head and a summary of the training. Loading runs no code of the file:
classes are looked up by name among those of hepgen, the user hands in their own feature functions.
"""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepgen import __version__
from hepgen.atomic import replacing

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["CheckpointError", "Description", "describe", "load", "load_weights", "save"]

# Of models that learn something else than classes, or hold others; the rest are of format 1.
FORMAT = 2
# Where a class may come from; a file cannot name any other module.
PACKAGES = ("taggers", "certainty", "simulators", "flows")
# Far above any header; a wrong file would else ask for gigabytes.
LONGEST_HEADER = 100_000_000


class CheckpointError(ValueError):
    """A file that holds no model, not the whole of it, or not one that this hepgen can build."""


@dataclass(frozen=True)
class Description:
    """What the header of a model file says.

    Attributes:
        path: the file.
        format: version of the layout.
        hepgen: version of hepgen that wrote it.
        package: subpackage of hepgen that holds the class, such as "taggers"; None for a class of
            the user's own.
        model: name of the class.
        config: arguments of its constructor besides features and classes.
        features: the features and their standardisation, as ``Features.to_dict`` gives them.
        classes: names of the classes, in the order of the scores.
        training: summary of the training, such as epoch and validation loss.
        shapes: name -> shape of the weights and buffers.
        dtypes: name -> type of the same, such as "F32".
        size: of the file, in bytes.
        head: what the model learns, as ``Head.to_dict`` gives it; None for classes alone.
        parts: models that this one is made of, by argument of its constructor, a model or a list.
    """

    path: Path
    format: int
    hepgen: str
    package: str | None
    model: str
    config: dict[str, Any]
    features: dict[str, Any] | None
    classes: tuple[str, ...] | None
    training: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    size: int
    head: dict[str, Any] | None = None
    parts: dict[str, Any] = field(default_factory=dict)


def save(model: nn.Module, path: str | Path, *, training: Mapping[str, Any] | None = None) -> None:
    """Write a model, whole or not at all.

    Args:
        model: a tagger (or simulator, flow) of hepgen. Any other module can be saved too; its
            weights can be had again with `load_weights`.
        path: the file to write or replace, ``*.safetensors``.
        training: anything JSON-able worth knowing about the training.

    Raises:
        CheckpointError: the model's configuration is not JSON-able.
        OSError: the file cannot be written; one that was there before is left.
    """
    from safetensors.torch import save_file

    identity = _identity(model)
    version = FORMAT if {"head", "parts"} & identity.keys() else 1
    header = {"format": version, "hepgen": __version__, "training": dict(training or {})}
    try:
        text = json.dumps({**header, **identity})
    except TypeError as error:
        raise CheckpointError(f"{type(model).__name__} cannot be saved: {error}") from error
    # Copies, as two names may share one tensor, which the format does not know.
    weights = {
        name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()
    }
    with replacing(path) as temporary:
        temporary.touch()  # what cannot be written is told by the system, not by the package
        save_file(weights, temporary, metadata={"hepgen": text})


def load(
    path: str | Path,
    *,
    functions: Sequence[Callable[..., Any]] = (),
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build a model again and give it its weights.

    Args:
        path: what `save` wrote.
        functions: the user's own feature functions, if the model was trained with any.
        device: where to put the model.

    Returns:
        The model in evaluation mode, its weights bit for bit those that were saved, in their types.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is cut short, no model of hepgen, of a newer format, or names a
            class or weights that this hepgen does not have, or features whose functions were not
            given.
    """
    import torch

    # Initial weights are drawn and thrown away; the caller's random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        model = _build(describe(path), functions)
    load_weights(model, path)
    return model.to(device).eval()


def _build(described: Description, functions: Sequence[Callable[..., Any]]) -> nn.Module:
    """The model without its weights."""
    path, cls = described.path, _find_class(described)
    arguments = dict(described.config)
    if described.features is not None:
        # By name, as this module knows of taggers and their features as little as of other models.
        features = importlib.import_module("hepgen.data").Features
        try:
            arguments["features"] = features.from_dict(described.features, functions=functions)
        except ValueError as error:
            raise CheckpointError(
                f"{path}: {error}; give functions of your own as load(path, functions=[...])"
            ) from error
    if described.classes is not None:
        arguments["classes"] = described.classes
    if described.head is not None:
        try:
            made = importlib.import_module("hepgen.heads").head_from_dict(described.head)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        arguments["classes"] = made
    for name, part in described.parts.items():
        several = part if isinstance(part, list) else [part]
        made = [_build(replace(described, **_of_model(one)), functions) for one in several]
        arguments[name] = made if isinstance(part, list) else made[0]
    try:
        return cls(**arguments)
    except TypeError as error:
        raise CheckpointError(
            f"{path} was written by hepgen {described.hepgen}, whose {described.model} takes "
            f"other arguments than that of this hepgen {__version__}: {error}"
        ) from error


def load_weights(model: nn.Module, path: str | Path, *, fresh: Sequence[str] = ()) -> None:
    """Give a model the weights in a file.

    Args:
        model: a model with the same names and shapes; it takes over the types of the weights in
            the file and stays on its device.
        path: what `save` wrote.
        fresh: patterns of weights that stay as the model has them, such as ``["fc.*"]`` for a new
            head; the file may have others under these names, or none.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, names or shapes differ, or a pattern fits no weight of
            the model; the message names them.
    """
    from safetensors.torch import load_file

    described = describe(path)
    kept = _fresh(model, path, fresh)
    own = model.state_dict()
    wanted = {name: tuple(t.shape) for name, t in own.items() if name not in kept}
    got = {n: s for n, s in described.shapes.items() if not _fits(n, fresh)}
    _compare_weights(described, type(model).__name__, wanted, got)
    weights: dict[str, Tensor] = {n: t for n, t in load_file(path).items() if n in got}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name in weights:
            tensor.data = tensor.data.to(weights[name].dtype)
    model.load_state_dict({**{name: own[name] for name in kept}, **weights})


def describe(path: str | Path) -> Description:
    """Read the header of a model file, and neither weights nor torch.

    Args:
        path: what `save` wrote.

    Returns:
        What the header says.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is cut short, no model of hepgen, or of a newer format.
    """
    path = Path(path)
    tensors = _header(path)
    try:
        ours = json.loads(tensors.pop("__metadata__", {})["hepgen"])
        version, writer = ours["format"], ours["hepgen"]
    except KeyError as error:
        raise CheckpointError(
            f"{path} is a safetensors file, but none of hepgen's models"
        ) from error
    if version > FORMAT:
        raise CheckpointError(
            f"{path} was written by hepgen {writer} in format {version}; this hepgen {__version__} "
            f"reads up to format {FORMAT}; upgrade it"
        )
    return Description(
        path=path,
        format=version,
        hepgen=writer,
        **_of_model(ours),
        training=ours["training"],
        shapes={name: tuple(t["shape"]) for name, t in tensors.items()},
        dtypes={name: t["dtype"] for name, t in tensors.items()},
        size=path.stat().st_size,
    )


def _of_model(ours: Mapping[str, Any]) -> dict[str, Any]:
    """What describes a model, or a part of one, in `Description`."""
    classes = ours["classes"]
    return {
        "package": ours["package"],
        "model": ours["class"],
        "config": ours["config"],
        "features": ours["features"],
        "classes": None if classes is None else tuple(classes),
        "head": ours.get("head"),
        "parts": ours.get("parts", {}),
    }


def _identity(model: nn.Module) -> dict[str, Any]:
    """Class, constructor arguments, features, classes; head or parts if it has more than these."""
    cls = type(model)
    names = cls.__module__.split(".")
    package = names[1] if names[0] == "hepgen" and names[1:2] and names[1] in PACKAGES else None
    config = getattr(model, "config", None)
    arguments = dict(config()) if callable(config) else {}
    features: Any = getattr(model, "features", None)
    classes: Any = getattr(model, "classes", None)
    arguments = {k: v for k, v in arguments.items() if k not in ("features", "classes")}
    identity: dict[str, Any] = {
        "package": package,
        "class": cls.__name__,
        "config": arguments,
        "features": features.to_dict() if hasattr(features, "to_dict") else None,
        "classes": None if classes is None else list(classes),
    }
    head: Any = getattr(model, "head", None)
    described = head.to_dict() if callable(getattr(head, "to_dict", None)) else None
    if described is not None and described["class"] != "Classification":
        identity["head"] = described
    parts = getattr(model, "parts", None)
    if package is not None and callable(parts):
        # Features and classes are those of the parts.
        identity |= {"features": None, "classes": None, "parts": {}}
        for name, part in parts().items():
            several = isinstance(part, (list, tuple))
            identity["parts"][name] = [*map(_identity, part)] if several else _identity(part)
    return identity


def _header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file, after a look at the length of the file."""
    if not path.is_file():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.safetensors")])
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise FileNotFoundError(f"no file {path}{hint}")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER + 1
        text = file.read(length) if length <= LONGEST_HEADER else b""
    if not text.startswith(b"{"):
        raise CheckpointError(f"{path} ({size:,} bytes) is no safetensors file")
    if len(text) < length:
        raise CheckpointError(
            f"{path} is cut short: {size:,} bytes, the header alone has {length:,}"
        )
    try:
        header = dict(json.loads(text))
        ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} has a damaged header: {error!r}") from error
    whole = 8 + length + max(ends, default=0)
    if size != whole:
        what = "is cut short" if size < whole else "has something behind its end"
        raise CheckpointError(f"{path} {what}: {size:,} bytes, and its header tells of {whole:,}")
    return header


def _find_class(described: Description) -> type[nn.Module]:
    from torch import nn

    path, name = described.path, described.model
    if described.package is None:
        raise CheckpointError(
            f"{path} holds the weights of {name!r}, which is no class of hepgen; make the model "
            "yourself and call hepgen.checkpoint.load_weights(model, path)"
        )
    if described.package not in PACKAGES:
        raise CheckpointError(
            f"{path} wants a class of {described.package!r}; models are in {', '.join(PACKAGES)}"
        )
    try:
        package = importlib.import_module(f"hepgen.{described.package}")
    except ModuleNotFoundError as error:
        if error.name != f"hepgen.{described.package}":
            raise
        raise CheckpointError(
            f"{path} needs hepgen.{described.package}, which this hepgen {__version__} lacks; "
            f"it was written by hepgen {described.hepgen}"
        ) from error
    named = {one: getattr(package, one) for one in package.__all__}
    models = {
        one: cls
        for one, cls in named.items()
        if isinstance(cls, type) and issubclass(cls, nn.Module)
    }
    if name not in models:
        near = get_close_matches(name, models, n=3, cutoff=0.0)
        raise CheckpointError(
            f"{path} needs {name!r}, which hepgen.{described.package} lacks; "
            f"nearest: {', '.join(near)}"
        )
    return models[name]


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, p) or fnmatchcase(name, f"{p}.*") for p in patterns)


def _fresh(model: nn.Module, path: str | Path, patterns: Sequence[str]) -> list[str]:
    """Names of the weights of the model that patterns leave alone."""
    names = list(model.state_dict())
    for pattern in patterns:
        if not any(_fits(name, [pattern]) for name in names):
            near = get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise CheckpointError(
                f"{path} into {type(model).__name__}: no weight fits {pattern!r}; "
                f"nearest: {', '.join(near)}"
            )
    return [name for name in names if _fits(name, patterns)]


def _compare_weights(
    described: Description,
    model: str,
    wanted: Mapping[str, tuple[int, ...]],
    got: Mapping[str, tuple[int, ...]],
) -> None:
    faults = []
    for what, names in (("missing", wanted.keys() - got), ("unexpected", got.keys() - wanted)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            faults.append(f"{what}: {', '.join(sorted(names)[:5])}{more}")
    faults += [
        f"{name} has shape {got[name]}, wanted {shape}"
        for name, shape in wanted.items()
        if name in got and got[name] != shape
    ]
    if faults:
        raise CheckpointError(f"{described.path} does not fit {model}: {'; '.join(faults)}")
