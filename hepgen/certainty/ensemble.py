"""Several trainings of one task, whose disagreement tells what one alone cannot.

B. Lakshminarayanan, A. Pritzel and C. Blundell, "Simple and scalable predictive uncertainty
estimation using deep ensembles", NeurIPS 2017, arXiv:1612.01474.

Shapes: B jets, M members, S scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import nn

from hepgen.certainty.certain import Certain, Moments, Prediction
from hepgen.data import PackedJets

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Ensemble"]


@final
class Ensemble(Certain):
    """The mean of the members' scores, their standard deviation, and their mutual information.

    Members may be of different architectures and features, such as one tagger trained with several
    seeds, or several taggers.

    Args:
        members: two models or more that give the same scores.

    Raises:
        ValueError: fewer than two, or different scores.
        TypeError: a member that is no model.
    """

    tells_spread = True

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__(list(members))
        if len(members) < 2:
            raise ValueError(f"an ensemble needs two members at least, not {len(members)}")
        self.members = nn.ModuleList(members)
        self.tells_information = bool(self.classes)

    def parts(self) -> dict[str, Any]:
        """The members."""
        return {"members": list(self.members)}

    def prediction(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Prediction:
        """Mean, spread and mutual information of the members.

        Packed jets must be of the features of every member.
        """
        found = Moments(self._columns)
        for member in self.members:
            model: Any = member
            found.add(model.predict(jets, batch_size=batch_size, device=device, progress=progress))
        return found.prediction()
