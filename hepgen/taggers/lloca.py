r"""LLoCa: any tagger made Lorentz invariant, by looking at each constituent in a frame of its own.

J. Spinner, L. Favaro, P. Lippmann, S. Pitz, G. Gerhartz, T. Plehn and F. A. Hamprecht, "Lorentz
local canonicalization: how to make any network Lorentz-equivariant", arXiv:2505.20280; L. Favaro et
al., "Lorentz-equivariance without limitations", arXiv:2508.14898.

Shapes: B jets, N constituents of all jets end to end, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, cast, final

from torch import Tensor

from hepgen.data import Batch, Features
from hepgen.heads import Head
from hepgen.taggers.local_features import LocalJets, check_scalars, in_local_frames
from hepgen.taggers.local_frames import LocalFrames
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["LLoCa"]


@final
class LLoCa(Tagger):
    """A tagger that is given jets in local frames, with scalar messages.

    `LocalFrames` finds a frame for each constituent that turns with the jet. What the backbone gets
    of the constituent is its momentum in that frame, the features of momenta and the angles that
    follow from it, and the scalars as they are. None of it changes where the jet is rotated or
    boosted, so that neither do the scores, whatever the backbone does. Constituents do not tell one
    another how their frames stand to each other; `LLoCaTransformer` has such messages.

    Without spurions the scores are invariant under all proper Lorentz transformations, in float64
    to about 1e-10 (tested for nine backbones; where a network puts constituents in an order of
    transverse momentum, the two of a jet of two are equal in their frames, and rounding decides).
    Digits are lost with the square of the boosts, those into the rest frame of the jet and those
    from there into the local frames; scores of a network in float32 differ from those in float64 by
    less than 1e-4 of the largest (tested). Reflections are not among the transformations, as frames
    have a handedness. With spurions only those are left that keep them, see `LocalFrames`.

    The paper has no entry of this arrangement in the table of the top-tagging reference set.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits, or a head.
        backbone: name of a tagger in ``hepgen.taggers.__all__``.
        backbone_arguments: its arguments, besides features and classes.
        scalars: names of features that no transformation changes; None for charge, type and
            displacement. The others should be in `hepgen.taggers.local_features.LOCAL`.
        spurions: what the frames may know of the detector, names of
            `hepgen.taggers.spurions.SPURIONS`.
        frame_hidden: width of the layers that predict frames.
        frame_layers: number of these.

    Raises:
        ValueError: there is no such tagger or spurion, or a feature is neither a scalar nor known
            in local frames.
        TypeError: arguments that the backbone does not take.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    paper: ClassVar[Paper | None] = Paper(
        "J. Spinner, L. Favaro, P. Lippmann, S. Pitz, G. Gerhartz, T. Plehn and F. A. Hamprecht",
        "Lorentz local canonicalization: how to make any network Lorentz-equivariant",
        "NeurIPS 2025",
        "2505.20280",
    )
    chunk: ClassVar[int] = 8

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        backbone: str = "Transformer",
        backbone_arguments: Mapping[str, Any] | None = None,
        scalars: Sequence[str] | None = None,
        spurions: Sequence[str] = (),
        frame_hidden: int = 128,
        frame_layers: int = 2,
    ) -> None:
        super().__init__(features, classes)
        self.backbone, self.backbone_arguments = backbone, dict(backbone_arguments or {})
        self.scalars = check_scalars(scalars, features)
        self.frame_hidden, self.frame_layers = frame_hidden, frame_layers
        self._columns = [features.names.index(name) for name in self.scalars]
        self.frames = LocalFrames(len(self.scalars), spurions, frame_hidden, frame_layers)
        self.spurions = self.frames.spurions
        self.network = _tagger(backbone)(features, classes, **self.backbone_arguments)
        if hasattr(self.network, "constituent_layer"):  # this tagger has its own
            del self.network.constituent_layer

    def localised(self, jets: Batch) -> LocalJets:
        """The jets as the backbone sees them.

        Args:
            jets: packed jets.
        """
        framed = self.frames(jets.p4, jets.x[:, self._columns], jets.ptr)
        return in_local_frames(jets, framed, self.features, self.scalars)

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        logits: Tensor = self.network(cast(Batch, self.localised(jets)))
        return logits

    @property
    def latent_width(self) -> int:
        """Width of the latent vectors of the backbone.

        Raises:
            AttributeError: it has none.
        """
        return cast(int, self.network.latent_width)

    @property
    def latents(self) -> Callable[[Batch], Tensor]:
        """From jets to the latent vectors of the backbone, shape (N, C).

        Raises:
            AttributeError: it has none.
        """
        latents = cast(Callable[[Batch], Tensor], self.network.latents)
        return lambda jets: latents(cast(Batch, self.localised(jets)))

    @property
    def pooled(self) -> Callable[[Tensor, Batch], Tensor]:
        """From these and jets to logits (B, K).

        Raises:
            AttributeError: it has none.
        """
        pooled = cast(Callable[[Tensor, Batch], Tensor], self.network.pooled)
        return lambda latents, jets: pooled(latents, cast(Batch, self.localised(jets)))


def _tagger(name: str) -> type[Tagger]:
    """A tagger by its name: one of ``__all__``, and nothing else that could be imported."""
    from hepgen import taggers

    names = [entry for entry in taggers.__all__ if entry not in ("Tagger", "LLoCa")]
    if name not in names:
        near = get_close_matches(str(name), names, n=1, cutoff=0.0)[0]
        raise ValueError(f"no tagger {name!r} to be a backbone; nearest: {near}; there are {names}")
    found: type[Tagger] = getattr(taggers, name)
    return found
