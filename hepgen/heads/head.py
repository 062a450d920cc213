"""What every head is: outputs of a network to a loss, and to the numbers that a user wants.

Shapes: B jets, N constituents of all jets end to end, K classes, T targets, S scores.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.data import Batch, JetFiles, PackedJets, class_index
from hepgen.data.targets import target_values

__all__ = ["Head", "column_name", "in_float32", "mean_over_jets", "with_targets"]


class Head(nn.Module, ABC):
    """A task, whatever network it is given to.

    Arguments of the constructor are kept as attributes of their own names, so that a model file can
    hold them; what is learnt or fitted are parameters and buffers.

    Attributes:
        width: outputs of the network for a jet.
        constituent_width: outputs for each constituent, 0 if none.
        classes: names of the K classes of the jets; empty if it tells none apart.
        targets: T expressions over fields of the jets that the loss needs besides the class.
        constituent_labels: expression over fields of the constituents whose values the loss needs.
        names: names of the S scores, columns of the files that `hepgen.predict_files` writes.
    """

    width: int
    constituent_width: int = 0
    classes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    constituent_labels: str | None = None
    names: tuple[str, ...]

    @abstractmethod
    def loss(self, outputs: Tensor, jets: Batch, constituents: Tensor | None = None) -> Tensor:
        """Mean over the jets of weight times loss, in float32 at least.

        Args:
            outputs: of the network, shape (B, width).
            jets: the batch, with ``y``, ``targets`` in the order of `targets`, ``constituent_y`` as
                the head needs them; jets without ``weight`` count as 1.
            constituents: outputs for the constituents, shape (N, constituent_width).

        Returns:
            A scalar, 0 for a batch of no jets.

        Raises:
            ValueError: a head that was to be fitted is not.
        """

    @abstractmethod
    def scores(self, outputs: Tensor) -> Tensor:
        """What a user gets of some outputs.

        Args:
            outputs: of the network, shape (B, width).

        Returns:
            Shape (B, S), in float32 at least, in the order of `names`.
        """

    def class_logits(self, outputs: Tensor) -> Tensor:
        """The outputs that are logits of the classes.

        Args:
            outputs: of the network, shape (B, width).

        Returns:
            Shape (B, K).

        Raises:
            ValueError: the head has no classes.
        """
        raise ValueError(f"{type(self).__name__} tells no classes apart")

    def fit(self, jets: ak.Array | PackedJets | JetFiles) -> Self:
        """Take constants, such as the scale of the targets, from the training jets.

        Args:
            jets: as `hepgen.io.read` gives them, with the targets among their fields; or packed
                with them; or in files.

        Returns:
            This head, changed.

        Raises:
            InputError: the jets lack a target, or it is not finite.
            ValueError: there are no jets, or packed ones without these targets.
        """
        if not self.targets:
            return self
        y: NDArray[np.int64] | None = None
        classes = self.classes or None
        if isinstance(jets, JetFiles):
            values, y = jets.targets(self.targets, classes)
        elif isinstance(jets, PackedJets):
            if jets.targets is None or jets.targets.shape[1] != len(self.targets):
                raise ValueError(
                    f"{type(self).__name__} needs jets packed with targets={list(self.targets)}"
                )
            values, y = jets.targets, jets.y
        else:
            values = target_values(jets, self.targets)
            y = None if classes is None else class_index(jets, classes)
        if not len(values):
            raise ValueError(f"{type(self).__name__} cannot be fitted to no jets")
        self.fit_targets(values.astype(np.float64), y)
        return self

    def fit_targets(self, values: NDArray[np.float64], y: NDArray[np.int64] | None) -> None:
        """Take constants from the targets of the training jets; see `fit`.

        Args:
            values: targets, shape (B, T).
            y: class indices, shape (B,), if the head has classes.
        """

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor, as JSON can hold them; heads among them as dicts."""
        names = inspect.signature(type(self)).parameters
        return {name: _plain(getattr(self, name)) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Name of the class and arguments: what `hepgen.heads.head_from_dict` makes the head of."""
        return {"class": type(self).__name__, **self.config()}


def _plain(value: Any) -> Any:
    if isinstance(value, Head):
        return value.to_dict()
    if isinstance(value, (Mapping, nn.ModuleDict)):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def in_float32(values: Tensor) -> Tensor:
    """Half-precision numbers as float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def mean_over_jets(losses: Tensor, jets: Batch) -> Tensor:
    """Mean of weight times loss.

    Args:
        losses: shape (B,).
        jets: the batch; jets without ``weight`` count as 1.

    Returns:
        A scalar, 0 of no jets.
    """
    if jets.get("weight") is not None:
        losses = losses * jets.weight
    return losses.sum() / max(1, losses.shape[0])


def with_targets(jets: Batch, mine: Sequence[str], wanted: Sequence[str]) -> Batch:
    """The batch as a head within a head wants it.

    Args:
        jets: the batch.
        mine: targets that are its columns.
        wanted: those that the inner head has, all among them.

    Returns:
        The batch itself, or one that shares all but the targets with it.
    """
    if not wanted or tuple(mine) == tuple(wanted):
        return jets
    part = copy.copy(jets)
    part.targets = jets.targets[:, [list(mine).index(name) for name in wanted]]
    return part


def column_name(text: str) -> str:
    """A name for columns of files made of an expression: letters, digits and single underscores.

    Args:
        text: such as "log(gen_mass)", which gives "log_gen_mass".

    Raises:
        ValueError: nothing is left.
    """
    kept = "".join(c if c.isascii() and c.isalnum() else " " for c in text).split()
    if not kept:
        raise ValueError(f"no column can be named after {text!r}")
    return "_".join(kept)
