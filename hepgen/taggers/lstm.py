r"""LSTM: the constituents one after the other, the hardest first.

S. Egan, W. Fedorko, A. Lister, J. Pearkes and C. Gay, "Long Short-Term Memory (LSTM) networks with
jet constituents for boosted top tagging at the LHC", arXiv:1711.09059.

Shapes: B jets, N constituents of all jets end to end, F features, H hidden, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor, nn, where
from torch.nn import functional

from hepgen.data import Batch, Features
from hepgen.heads import Head
from hepgen.taggers.mlp import mlp
from hepgen.taggers.ordering import by_pt
from hepgen.taggers.recurrence import lstm
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["LSTM"]


@final
class LSTM(Tagger):
    r"""A recurrence over constituents ordered by momentum, and a layer on its last hidden state.

    A jet without constituents has a hidden state of 0. There is no padding, and no greatest
    number of constituents. Weights of ``torch.nn.LSTM`` of one layer are those of ``cell`` with
    ``_l0`` behind their names.

    With H = 128, 7 features and two classes it has 78 530 parameters. It has no entry in the table
    of the top-tagging reference set; the paper reports 1/eB = 100 at a signal efficiency of 50 % on
    a sample of its own. From memory: one LSTM layer of 128 and a dense one of 64, Adam, up to 120
    constituents given by momentum and angles. There the best order is that of the clustering tree,
    with subjets; here it is that of transverse momentum, its simpler choice. The learning rate,
    batch and epochs of the paper are not known to us (Adam's own rate is 1e-3). Weights begin as in
    Keras, where the forget gates are open.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits; or a head.
        hidden: H.
        fc_channels: widths of the fully connected layers before the last.

    Attributes:
        latent_width: H.

    Raises:
        ValueError: hidden < 1.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    paper: ClassVar[Paper | None] = Paper(
        "S. Egan, W. Fedorko, A. Lister, J. Pearkes and C. Gay",
        "Long Short-Term Memory (LSTM) networks with jet constituents for boosted top tagging at "
        "the LHC",
        "preprint (2017)",
        "1711.09059",
    )
    chunk: ClassVar[int] = 128

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        hidden: int = 128,
        fc_channels: Sequence[int] = (64,),
    ) -> None:
        super().__init__(features, classes)
        if hidden < 1:
            raise ValueError(f"LSTM needs hidden >= 1, not {hidden}")
        self.hidden, self.fc_channels = hidden, tuple(fc_channels)
        self.latent_width = hidden
        self.cell = nn.LSTMCell(len(features), hidden)
        self.fc = mlp(hidden, self.fc_channels)
        self.out = nn.Linear(self.fc_channels[-1] if self.fc_channels else hidden, self.width)
        _as_keras_begins(self.cell)

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        return self.pooled(self.latents(jets), jets)

    def latents(self, jets: Batch) -> Tensor:
        """Hidden states (N, H) after each constituent and all harder ones of its jet."""
        order = by_pt(jets)  # (N,)
        cell = self.cell
        gates = functional.linear(jets.x[order], cell.weight_ih, cell.bias_ih + cell.bias_hh)
        states = lstm(gates, cell.weight_hh, jets.ptr)  # (N, H)
        return states[order.argsort()]

    def pooled(self, latents: Tensor, jets: Batch) -> Tensor:
        """Logits (B, K) from the hidden states (N, H), by that of the softest constituent."""
        # A row of zeros behind all others, for jets without constituents.
        none = latents.shape[0]
        last = functional.pad(by_pt(jets), (0, 1))[jets.ptr[1:] - 1]  # (B,)
        last = where(jets.ptr.diff() > 0, last, none)
        logits: Tensor = self.out(self.fc(functional.pad(latents, (0, 0, 0, 1))[last]))
        return logits


def _as_keras_begins(cell: nn.LSTMCell) -> None:
    """Glorot's weights for inputs, orthogonal ones for states, forget gates open by a bias of 1."""
    nn.init.xavier_uniform_(cell.weight_ih)
    nn.init.orthogonal_(cell.weight_hh)
    nn.init.zeros_(cell.bias_ih)
    nn.init.zeros_(cell.bias_hh)
    nn.init.ones_(cell.bias_ih.detach().chunk(4)[1])
