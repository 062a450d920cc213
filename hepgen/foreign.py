"""Taggers with the weights of other programs: weaver's networks, and the LorentzNet release.

The weights tell the architecture by their names and shapes. Three things leave no trace in them:

- ``k``, the neighbours of ParticleNet: 16 if not said, 7 for the light one.
- ``head_transpose`` of the Particle Transformer. Up to 0.4.17 weaver permuted the channels of each
  attention (heads by dimensions) before the norm that follows, since 0.5.0 it does not, and weights
  of either load into the other without an error and give wrong scores. All weights published with
  the papers are older than 0.5.0, which is of 2026, so True is taken, with a warning, if not said.
- ``use_pre_activation_pair`` of the Particle Transformer: False, as for JetClass, if not said.
"""

from __future__ import annotations

import inspect
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from hepgen.checkpoint import CheckpointError
from hepgen.data import Features
from hepgen.data.weaver import WeaverConfig, read_weaver_config
from hepgen.io.errors import MissingName, SchemaError, WrongType
from hepgen.taggers import (
    LorentzNet,
    ParticleNet,
    ParticleTransformer,
    Tagger,
    particle_net,
    particle_transformer,
)

__all__ = ["from_lorentz_net", "from_weaver", "read_weights"]

TOP, QUARK_GLUON = ("top", "QCD"), ("quark", "gluon")
# The types of particles in the quark-gluon recipe of LorentzNet, by their PDG numbers.
KINDS = (11, 13, 22, 130, 211, 321, 2112, 2212)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Names and tensors in a file that torch wrote; no code of it is run.

    Args:
        path: what ``torch.save(model.state_dict(), path)`` wrote, or a dictionary that holds it
            under ``state_dict`` or ``model``.

    Returns:
        The tensors, without the prefixes ``module.`` and ``mod.`` that wrappers leave.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is no file of torch, holds more than tensors, or none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; wanted weights that torch.save wrote")
    damage = (RuntimeError, EOFError, LookupError, ValueError, TypeError, pickle.UnpicklingError)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (*damage, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} holds no weights that can be read without running code: {error}"
        ) from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds {type(content).__name__}, wanted names and tensors")
    strange = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"{path}: {', '.join(map(str, strange[:3]))} is no tensor")
    return {re.sub(r"^(module\.|mod\.)+", "", name): value for name, value in content.items()}


def from_weaver(
    path: str | Path,
    config: str | Path | WeaverConfig,
    *,
    classes: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    **arguments: Any,
) -> Tagger:
    """A tagger with the weights of weaver's ParticleNet or Particle Transformer.

    Args:
        path: the weights.
        config: the YAML of the training, or ``preprocess.json``.
        classes: names of the classes; those of the configuration if not given.
        names: branch -> standard field, besides those of JetClass.
        **arguments: of the tagger, in place of what the weights tell.

    Returns:
        The tagger, in training mode.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the weights are damaged, or of another architecture.
        InputError: the configuration cannot be read, or does not go with the weights, or the
            tagger has no such argument.
    """
    state = read_weights(path)
    cls: type[Tagger]
    read = config if isinstance(config, WeaverConfig) else read_weaver_config(config, names=names)
    read.check_coordinates()
    features = read.features()
    if any(name.startswith("edge_convs.0.") for name in state):
        cls, found = ParticleNet, _particle_net(state, path)
        state = particle_net.from_weaver_state(state)
    elif "cls_token" in state:
        cls, found = ParticleTransformer, _particle_transformer(state, path, arguments)
        state = particle_transformer.from_weaver_state(state)
    else:
        raise CheckpointError(
            f"{path} holds neither weaver's ParticleNet (edge_convs.*) nor its Particle "
            f"Transformer (cls_token), but {', '.join(list(state)[:4])}, ..."
        )
    last = max((n for n in state if re.match(r"fc\.\d.*bias", n)), key=_depth, default=None)
    if last is None:
        raise CheckpointError(f"{path} has no last layer (fc.*.bias), so it tells no classes apart")
    width = len(state[last])
    entries = found.pop("inputs")
    if entries != len(features):
        raise SchemaError(
            f"{path} was trained on {entries} features; {read.path} has {len(features)}: "
            f"{', '.join(features.names)}"
        )
    return _filled(
        cls, features, _classes(classes, read, width, path), {**found, **arguments}, state, path
    )


def from_lorentz_net(
    path: str | Path, *, classes: Sequence[str] | None = None, **arguments: Any
) -> LorentzNet:
    """A tagger with the weights of the LorentzNet release.

    Top taggers have beams and two scalars, quark-gluon taggers the type of each particle. The
    release averages over the padding of a batch too, so that its scores depend on which jets are
    together; here they are those of each jet alone. It was trained on constituents without mass.

    Args:
        path: the weights, such as ``best-val-model.pt``.
        classes: names of the two classes; if not given, those of the tagger's task.
        **arguments: of `hepgen.taggers.LorentzNet`, in place of what the weights tell.

    Returns:
        The tagger, in training mode.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the weights are damaged, or of another architecture.
        InputError: the tagger has no such argument.
    """
    state = read_weights(path)
    if "embedding.weight" not in state or not any(n.startswith("LGEBs.") for n in state):
        raise CheckpointError(f"{path} holds no LorentzNet, but {', '.join(list(state)[:4])}, ...")
    hidden, scalars = state["embedding.weight"].shape
    if scalars not in (2, len(KINDS)):
        raise CheckpointError(
            f"{path} has {scalars} scalars a particle; known are 2 (top) and {len(KINDS)} "
            "(quark-gluon)"
        )
    top = scalars == 2
    found: dict[str, Any] = {
        "hidden": hidden,
        "blocks": 1 + max(int(n.split(".")[1]) for n in state if n.startswith("LGEBs.")),
        "coordinate_weight": 5e-3 if top else 1e-3,
        "spurions": ("massive_beams",) if top else (),
    }
    return _lorentz_net(state, path, top, classes, {**found, **arguments})


def _particle_net(state: Mapping[str, Tensor], path: str | Path) -> dict[str, Any]:
    """Arguments of ParticleNet, and its number of inputs."""
    if any(name.startswith("fusion_block") for name in state):
        raise CheckpointError(
            f"{path} has a fusion block, an option of weaver that is not in the paper and that "
            "hepgen's ParticleNet does not have"
        )
    blocks: dict[int, dict[int, int]] = {}
    layers: dict[int, int] = {}
    for name, tensor in state.items():
        if match := re.match(r"edge_convs\.(\d+)\.convs\.(\d+)\.weight", name):
            blocks.setdefault(int(match[1]), {})[int(match[2])] = len(tensor)
        elif match := re.match(r"fc\.(\d+)\.0\.weight", name):
            layers[int(match[1])] = len(tensor)
    return {
        "inputs": len(state["bn_fts.weight"]),
        "conv_channels": tuple(
            tuple(v for _, v in sorted(b.items())) for _, b in sorted(blocks.items())
        ),
        "fc_channels": tuple(width for _, width in sorted(layers.items())),
    }


def _particle_transformer(
    state: Mapping[str, Tensor], path: str | Path, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of the Particle Transformer, and its number of inputs."""
    if "head_transpose" not in given:
        warnings.warn(
            f"{path}: head_transpose=True is taken, for weights of weaver up to 0.4.17; those of "
            "weaver 0.5.0 and later need head_transpose=False, and nothing in the file tells which",
            stacklevel=4,
        )
    embed = {
        n: t for n, t in state.items() if re.match(r"embed\.embed\.\d+\.weight", n) and t.ndim == 2
    }
    pairs = {
        n: t
        for n, t in state.items()
        if re.match(r"pair_embed\.embed\.\d+\.weight", n) and t.ndim == 3
    }
    if not embed or not pairs:
        raise CheckpointError(
            f"{path} is a Particle Transformer without pair embedding, or of weaver's v2 or later, "
            "which hepgen does not have"
        )
    blocks = {int(n.split(".")[1]) for n in state if n.startswith("blocks.")}
    last = {int(n.split(".")[1]) for n in state if n.startswith("cls_blocks.")}
    widths = [len(pairs[name]) for name in sorted(pairs, key=_depth)]
    return {
        "inputs": embed[min(embed, key=_depth)].shape[1],
        "embed_channels": tuple(len(embed[name]) for name in sorted(embed, key=_depth)),
        "pair_channels": tuple(widths[:-1]),
        "heads": widths[-1],
        "num_blocks": len(blocks),
        "num_class_blocks": len(last),
        "head_transpose": True,
    }


def _depth(name: str) -> int:
    """The first number in a name."""
    return int(re.findall(r"\d+", name)[0])


def _classes(
    given: Sequence[str] | None, config: WeaverConfig, width: int, path: str | Path
) -> tuple[str, ...]:
    names = tuple(config.classes if given is None else given)
    if len(names) != width:
        source = "classes" if given is not None else str(config.path)
        raise SchemaError(
            f"{path} has {width} outputs; {source} names {len(names)} classes: "
            f"{', '.join(names[:12]) or 'none'}; say classes=[...]"
        )
    return names


def _filled(
    cls: type[Tagger],
    features: Features,
    classes: Sequence[str],
    arguments: Mapping[str, Any],
    state: Mapping[str, Tensor],
    path: str | Path,
) -> Tagger:
    """A tagger with these weights."""
    known = [n for n in inspect.signature(cls).parameters if n not in ("features", "classes")]
    for name in arguments:
        if name not in known:
            raise MissingName.among(name, known, kind="argument", where=cls.__name__)
    try:
        with torch.random.fork_rng(devices=[]):
            tagger = cls(features, classes, **arguments)
    except TypeError as error:
        raise WrongType(f"{cls.__name__} cannot have {dict(arguments)}: {error}") from error
    try:
        tagger.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {cls.__name__}: {error}") from error
    return tagger


def _lorentz_net(
    state: Mapping[str, Tensor],
    path: str | Path,
    top: bool,
    classes: Sequence[str] | None,
    arguments: Mapping[str, Any],
) -> LorentzNet:
    names = [] if top else [f"np.abs(pid) == {kind}" for kind in KINDS]
    features = Features("kinematics" if top else names)
    renamed = {_lorentz_name(name): tensor for name, tensor in state.items()}
    if not top:
        # Its scalars are the types alone; hepgen's begin with the mass, which gets weights of 0.
        for name, tensor in renamed.items():
            if name == "embedding.weight":
                renamed[name] = torch.cat([torch.zeros_like(tensor[:, :1]), tensor], dim=1)
            elif name.endswith("phi_h.0.weight"):
                latent, kinds = tensor[:, : -len(KINDS)], tensor[:, -len(KINDS) :]
                renamed[name] = torch.cat([latent, torch.zeros_like(tensor[:, :1]), kinds], dim=1)
    chosen = classes or (TOP if top else QUARK_GLUON)
    made = {"scalars": tuple(names), **arguments}
    return cast(LorentzNet, _filled(LorentzNet, features, chosen, made, renamed, path))


def _lorentz_name(name: str) -> str:
    """The name that hepgen's LorentzNet has for a tensor of the release."""
    name = re.sub(r"^LGEBs\.", "layers.", name)
    name = re.sub(r"\.phi_m\.0\.", ".phi_m.", name)
    return re.sub(r"\.(phi_[eh])\.3\.", r".\1.2.", name)
