"""``hepgen.load``: models of hepgen, and weights that other programs trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hepgen import checkpoint
from hepgen.io.errors import InputError, MissingName

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["load"]

PROGRAMS = ("weaver", "lorentznet")
# Endings that torch.save gives to files.
FOREIGN = (".pt", ".pth", ".ckpt", ".bin")


def load(
    path: str | Path,
    *,
    like: Literal["weaver", "lorentznet"] | None = None,
    config: str | Path | None = None,
    classes: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    functions: Sequence[Callable[..., Any]] = (),
    device: str | torch.device = "cpu",
    **arguments: Any,
) -> nn.Module:
    """Load a model: one that hepgen saved, or weights of another program.

    With ``like`` the architecture is read from names and shapes of the weights, which are read with
    ``torch.load(weights_only=True)``: no code of the file runs. What leaves no trace in them has to
    be said, see `hepgen.foreign`: the number of neighbours of ParticleNet (``k=16`` if not said),
    and of the Particle Transformer ``head_transpose`` and ``use_pre_activation_pair``.

    Args:
        path: ``model.safetensors`` of hepgen, or a file of weights (``*.pt``) of another program.
        like: whose weights they are: "weaver" (ParticleNet, Particle Transformer), "lorentznet"
            (the release that goes with its paper); None for hepgen's own.
        config: the YAML that weaver was trained with, or the ``preprocess.json`` it exported.
        classes: names of the classes in the order of the logits, if the configuration tells none.
        names: branch -> standard field, for a configuration with others than those of JetClass.
        functions: your own feature functions, if a model of hepgen was trained with any.
        device: where to put the model.
        **arguments: of the tagger, in place of what was read from the weights.

    Returns:
        The model in evaluation mode; with ``like`` a tagger that can predict, be trained further
        and saved like any other.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or its weights are of no architecture that is known.
        InputError: ``like`` is no program that is known, the configuration does not go with the
            weights, or the tagger has no such argument.
    """
    if like is None:
        given = {"config": config, "classes": classes, "names": names, **arguments}
        more = [name for name, value in given.items() if value is not None]
        if more:
            raise InputError(f"{', '.join(more)} goes with weights of other programs: say like=")
        try:
            return checkpoint.load(path, functions=functions, device=device)
        except checkpoint.CheckpointError as error:
            if Path(path).suffix in FOREIGN:
                hint = f"{error}; for weights of another program say like= ({', '.join(PROGRAMS)})"
                raise checkpoint.CheckpointError(hint) from error
            raise
    if like not in PROGRAMS:
        raise MissingName.among(like, PROGRAMS, kind="program (like=)", where="hepgen")
    from hepgen import foreign

    if like == "weaver":
        if config is None:
            raise InputError(f"{path}: weights of weaver need config=, the YAML of its training")
        model = foreign.from_weaver(path, config, classes=classes, names=names, **arguments)
    else:
        model = foreign.from_lorentz_net(path, classes=classes, **arguments)
    return model.to(device).eval()
