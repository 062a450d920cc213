r"""What transformers have in common whose tokens are four-momenta: tokens in, invariants out.

J. Spinner et al., "Lorentz-equivariant geometric algebra transformers for high-energy physics",
NeurIPS 2024, arXiv:2405.14806.

Shapes: B jets, N constituents of all jets end to end, M tokens of all jets (global token, spurions,
constituents of each), P places of the largest jet, H heads, D values of a head, F features,
S scalars, K classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from difflib import get_close_matches
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from hepgen.data import Batch, Features
from hepgen.heads import Head
from hepgen.kinematics import mass_squared
from hepgen.taggers.attention import attend, key_bias
from hepgen.taggers.dense import from_dense, places, to_dense
from hepgen.taggers.segments import segment_mean
from hepgen.taggers.size_groups import SizeGroups
from hepgen.taggers.tagger import Tagger

__all__ = ["EquivariantTransformer", "JetAttention", "regulated"]


class JetAttention:
    """Attention among the tokens of each jet.

    Args:
        ptr: offsets of the jets in M, shape (B + 1,), int64.
        dtype: of queries, keys and values.
    """

    def __init__(self, ptr: Tensor, dtype: torch.dtype) -> None:
        self._ptr, self._rows = ptr, places(ptr)  # (B, P)
        self._bias = key_bias(self._rows, dtype)  # (B, 1, 1, P)

    def __call__(self, qkv: Tensor) -> Tensor:
        """What each token takes from all of its jet.

        Args:
            qkv: queries, keys and values, shape (M, 3, H, D).

        Returns:
            Shape (M, H, D).
        """
        size, _, heads, width = qkv.shape
        dense = to_dense(qkv.flatten(1), self._rows)  # (B, P, 3 H D)
        query, key, value = torch.unflatten(dense, 2, (3, heads, width)).permute(2, 0, 3, 1, 4)
        mixed = attend(query, key, value, self._bias)  # (B, H, P, D)
        packed = from_dense(mixed.transpose(1, 2).flatten(2), self._ptr, size)
        return torch.unflatten(packed, 1, (heads, width))


class EquivariantTransformer(Tagger):
    """Four-momenta and scalars become tokens; what is invariant at the end becomes logits.

    Each jet has its constituents, its spurions and, unless it is pooled by the mean, one global
    token without momentum. Momenta are divided by ``unit``, spurions are not. Scalars are the
    features named in ``scalars``, 0 for other tokens, and one more that is 1 for the global token
    alone; with the mean and without named scalars it is 1 for all tokens.

    The network is equivariant under all proper orthochronous Lorentz transformations, so that
    spurions, scalars and ``mass_reg`` are all that can break the symmetry of the scores. It
    computes in the type of its weights also where autocast would have less: digits of products of
    momenta cancel. On a CPU jets go through in groups of about the same size, which stay in the
    cache; under ``torch.compile`` and elsewhere all at once.

    Args:
        features: what enters of each constituent; only those in ``scalars`` are used.
        classes: names of the K classes, in the order of the logits; or a head.
        scalars: names of features that enter as scalars.
        spurions: names of fixed tokens, of ``vectors``.
        pooling: "global_token" reads the logits from the global token, "mean" from all.
        mass_reg: constituents of a mass below this, in GeV, get this mass, by their energy; 0
            leaves them as they are.
        unit: of the momenta, in GeV.
        vectors: the spurions there are, with what the subclass embeds for each.

    Raises:
        ValueError: a scalar is no feature, there is no such spurion or pooling, ``mass_reg`` < 0
            or ``unit`` <= 0.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    chunk: ClassVar[int] = 256
    padded: ClassVar[bool] = True
    # Constituents of a group of jets of about the same size.
    group_rows: ClassVar[int] = 1024

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        scalars: Sequence[str],
        spurions: Sequence[str],
        pooling: Literal["global_token", "mean"],
        mass_reg: float,
        unit: float,
        vectors: dict[str, tuple[tuple[float, ...], ...]],
    ) -> None:
        super().__init__(features, classes)
        for kind, names, known in (
            ("scalar", scalars, features.names),
            ("spurion", spurions, list(vectors)),
            ("pooling", [pooling], ["global_token", "mean"]),
        ):
            if isinstance(names, str):
                raise ValueError(f"{kind}s should be a sequence of names, such as [{names!r}]")
            for name in names:
                if name not in known:
                    near = get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
                    raise ValueError(f"no {kind} {name!r}; nearest: {near}; there are {known}")
        if mass_reg < 0 or unit <= 0:
            raise ValueError(f"mass_reg should be >= 0 and unit > 0, not {mass_reg=}, {unit=}")
        self.scalars, self.spurions, self.pooling = tuple(scalars), tuple(spurions), pooling
        self.mass_reg, self.unit = mass_reg, unit
        self._columns = [features.names.index(name) for name in self.scalars]
        self._spurions = [vector for name in self.spurions for vector in vectors[name]]
        self._has_token = pooling == "global_token"
        self._has_flag = self._has_token or not self.scalars
        self._num_scalars = len(self.scalars) + int(self._has_flag)

    @abstractmethod
    def encode(self, momenta: Tensor, scalars: Tensor, ptr: Tensor) -> Tensor:
        """What is invariant of the tokens after the last block.

        Args:
            momenta: what is embedded of the tokens, shape (M, 4) or, where spurions have more
                components than momenta, (M, 16).
            scalars: shape (M, S).
            ptr: offsets of the jets in M, shape (B + 1,), int64.

        Returns:
            Shape (M, D).
        """

    @abstractmethod
    def classify(self, invariants: Tensor) -> Tensor:
        """Logits (B, K) from invariants of the jets (B, D)."""

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        dtype = next(self.parameters()).dtype
        momenta = (regulated(jets.p4, self.mass_reg) / self.unit).to(dtype)  # (N, 4)
        scalars = jets.x[:, self._columns].to(dtype)  # (N, S or S - 1)
        with torch.autocast(momenta.device.type, enabled=False):
            compiling = torch.compiler.is_compiling()
            if momenta.device.type != "cpu" or compiling or momenta.shape[0] == 0:
                return self._alone(momenta, scalars, jets.ptr)
            groups = SizeGroups(jets.ptr, momenta.shape[0], self.group_rows)
            rows = [groups.rows(groups.sort(values)) for values in (momenta, scalars)]
            threads = not torch.is_grad_enabled()
            return groups.join_jets(groups.map(self._alone, *rows, threads=threads))

    def _alone(self, momenta: Tensor, scalars: Tensor, ptr: Tensor) -> Tensor:
        """Logits (B, K) of some jets."""
        momenta, scalars, ptr = self._tokens(momenta, scalars, ptr)
        hidden = self.encode(momenta, scalars, ptr)  # (M, D)
        # The global token is the first of its jet.
        return self.classify(hidden[ptr[:-1]] if self._has_token else segment_mean(hidden, ptr))

    def _tokens(
        self, momenta: Tensor, scalars: Tensor, ptr: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Momenta (M, 4 or 16), scalars (M, S) and offsets of all tokens."""
        width = len(self._spurions[0]) if self._spurions else 4
        if width > 4:
            momenta = functional.pad(momenta, (1, width - 5))
        fixed = momenta.new_tensor(self._spurions).reshape(-1, width)
        if self._has_token:
            fixed = functional.pad(fixed, (0, 0, 1, 0))
        if self._has_flag:
            scalars = functional.pad(scalars, (0, 1), value=0.0 if self._has_token else 1.0)
        own = scalars.new_zeros(fixed.shape[0], scalars.shape[1])
        if self._has_flag:
            own[: 1 if self._has_token else None, -1] = 1
        each, size = fixed.shape[0], momenta.shape[0]
        if each == 0:
            return momenta, scalars, ptr
        jets = ptr.shape[0] - 1
        ptr = ptr + each * torch.arange(jets + 1, device=ptr.device)
        jet = torch.repeat_interleave(ptr.diff(), output_size=size + each * jets)
        row = torch.arange(size + each * jets, device=ptr.device)
        place = row - ptr[jet]
        source = torch.where(place < each, place, row - each * jet)
        momenta = torch.cat([fixed, momenta]).index_select(0, source)
        return momenta, torch.cat([own, scalars]).index_select(0, source), ptr


def regulated(p4: Tensor, mass: float) -> Tensor:
    """Momenta none of which has less than some mass.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).
        mass: the least, in GeV; 0 leaves all as they are.

    Returns:
        The same in float64, with more energy where the mass was less.
    """
    # Devices of Apple have no float64.
    p4 = p4.to(torch.float32 if p4.device.type == "mps" else torch.float64)
    if mass == 0:
        return p4
    energy = (p4[..., 1:].square().sum(-1) + mass**2).sqrt()
    energy = torch.where(mass_squared(p4) < mass**2, energy, p4[..., 0])
    return torch.cat([energy[..., None], p4[..., 1:]], dim=-1)
