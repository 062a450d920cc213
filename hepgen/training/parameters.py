"""Parameters by patterns of their names: some learn faster, some not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["find_frozen", "freezing", "rate_factors", "stop_statistics"]


def find_frozen(model: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Names of the parameters that should stay as they are.

    Args:
        model: whose parameters.
        patterns: names with ``*`` and ``?``, such as ``edge_convs.0.*``; ``edge_convs.0`` alone
            stands for all below it.

    Returns:
        The names, in the order of the model.

    Raises:
        ValueError: a pattern fits no parameter, or a string in place of a sequence of patterns.
    """
    if isinstance(patterns, str):
        raise ValueError(f"freeze should be a list of patterns, such as [{patterns!r}]")
    names = [name for name, _ in model.named_parameters()] if patterns else []
    for pattern in patterns:
        _check(pattern, names, "freeze")
    return tuple(n for n in names if any(_fits(n, pattern) for pattern in patterns))


@contextmanager
def freezing(model: nn.Module, frozen: Sequence[str]) -> Iterator[None]:
    """Keep parameters from getting gradients for a while.

    Args:
        model: whose parameters.
        frozen: names, see `find_frozen`.
    """
    parameters = [p for n, p in model.named_parameters() if n in frozen and p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def stop_statistics(model: nn.Module, frozen: Collection[str]) -> None:
    """Put batch norms whose parameters are all frozen into evaluation mode.

    Else their running means would go on to change, and with them the frozen part.

    Args:
        model: in training mode.
        frozen: names, see `find_frozen`.
    """
    for name, module in model.named_modules():
        if isinstance(module, _NormBase):
            own = [f"{name}.{n}" if name else n for n, _ in module.named_parameters(recurse=False)]
            if own and all(n in frozen for n in own):
                module.eval()


def rate_factors(names: Collection[str], factors: Mapping[str, float]) -> dict[float, list[str]]:
    """Parameters by the factor on their learning rate.

    Args:
        names: of the parameters.
        factors: pattern -> factor, as ``{"fc.*": 50}``; the first pattern that fits a name counts,
            names that none fits have 1.

    Returns:
        Factor -> names, in the order of their first appearance.

    Raises:
        ValueError: a pattern fits no parameter, or a factor is not above 0.
    """
    for pattern, factor in factors.items():
        _check(pattern, names, "lr_factors")
        if not factor > 0:
            raise ValueError(f"lr_factors: {pattern!r} has {factor!r}; wanted a number above 0")
    found: dict[float, list[str]] = {}
    for name in names:
        factor = next((f for pattern, f in factors.items() if _fits(name, pattern)), 1.0)
        found.setdefault(float(factor), []).append(name)
    return found


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _check(pattern: str, names: Collection[str], what: str) -> None:
    if not any(_fits(name, pattern) for name in names):
        near = get_close_matches(pattern, names, n=3, cutoff=0.0)
        raise ValueError(f"{what}: no parameter fits {pattern!r}; nearest: {', '.join(near)}")
