r"""Features: which numbers a tagger is told of each constituent, in which order and on which scale.

``x = clip((value - centre) * scale, low, high)`` with the constants published for JetClass
(`hepgen.data.definitions`), or with those of ``fit``. The sets: "kinematics", "kinematics+pid" and
"full" have the 7, 13 and 17 features of the data configurations kin, kinpid and full of Particle
Transformer (arXiv:2202.03772), in their order.

Shapes: B jets, N constituents of all jets end to end, F features.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.data.constituents import BLOCK, Constituents
from hepgen.data.definitions import KNOWN, UNKNOWN, Feature
from hepgen.data.finite import non_finite_error
from hepgen.data.formulas import Formula, is_formula
from hepgen.data.kernels import hardest, scatter, standardise
from hepgen.io.errors import EmptyInput, MissingName, WrongType

__all__ = ["ANGLES", "MOMENTUM", "SETS", "Features"]

Floats = NDArray[np.float32]

_MOMENTA = ("log_pt", "log_energy", "log_pt_fraction", "log_energy_fraction", "delta_r")
_KINDS = ("is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon")
_TRACKS = ("tanh_d0", "d0_error", "tanh_dz", "dz_error")

SETS: Mapping[str, tuple[str, ...]] = {
    "kinematics": (*_MOMENTA, "delta_eta", "delta_phi"),
    "kinematics+pid": (*_MOMENTA, "charge", *_KINDS, "delta_eta", "delta_phi"),
    "full": (*_MOMENTA, "charge", *_KINDS, *_TRACKS, "delta_eta", "delta_phi"),
}
"""Names of the features of each set, in order."""

_FUNCTIONS: Mapping[str, Feature] = {function.__name__: function for function in KNOWN}

MOMENTUM: Mapping[str, Feature] = {
    "energy": lambda c: c.energy,
    "px": lambda c: c.px,
    "py": lambda c: c.py,
    "pz": lambda c: c.pz,
}
"""Components of the four-momentum in the order that batches have them."""

ANGLES: Mapping[str, Feature] = {
    "delta_eta": lambda c: c.delta_eta,
    "delta_phi": lambda c: c.delta_phi,
}
"""Angles to the jet axis in the order that batches have them."""


class Features:
    """Some features in order, and how each is standardised.

    Args:
        names: the name of a set, or the features in order: names of those in
            `hepgen.data.definitions`, and plain functions of `Constituents` that give shape (N,). A
            function is known by its ``__name__``.
        max_constituents: keep only so many constituents of each jet, those of greatest pT; None
            keeps all.
        non_finite: "error" raises on NaN and infinities; "drop" leaves such constituents out, and
            warns how many.

    Attributes:
        names: names of the F features.
        centre: (F,) subtracted from each value.
        scale: (F,) that is multiplied by then.
        low: (F,) least result, -inf for none.
        high: (F,) greatest result, inf for none.
        max_constituents: as given.
        non_finite: as given.

    Raises:
        MissingName: no set or feature has this name.
        ValueError: two features of one name, a function without a name, no feature, or
            max_constituents < 1.
    """

    def __init__(
        self,
        names: str | Sequence[str | Feature] = "kinematics",
        *,
        max_constituents: int | None = None,
        non_finite: Literal["error", "drop"] = "error",
    ) -> None:
        if max_constituents is not None and max_constituents < 1:
            raise ValueError(f"max_constituents should be at least 1, not {max_constituents}")
        if non_finite not in ("error", "drop"):
            raise ValueError(f"non_finite should be 'error' or 'drop', not {non_finite!r}")
        if isinstance(names, str):
            if names not in SETS:
                raise MissingName.among(names, SETS, kind="set of features", where="hepgen")
            names = SETS[names]
        self.functions = tuple(map(_function, names))
        self.names = tuple(function.__name__ for function in self.functions)
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(
                f"features should be one or more, of different names, not {self.names}"
            )
        self.max_constituents = max_constituents
        self.non_finite = non_finite
        scalings = [KNOWN.get(function, UNKNOWN) for function in self.functions]
        self._fitted = [scaling.fitted for scaling in scalings]
        self.centre, self.scale, self.low, self.high = np.array(
            [scaling[:4] for scaling in scalings], dtype=np.float64
        ).T.copy()

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        chosen = next((name for name, names in SETS.items() if names == self.names), None)
        return f"Features({chosen or list(self.names)!r}, max_constituents={self.max_constituents})"

    @property
    def fields(self) -> tuple[str, ...] | None:
        """Standard fields of constituents, besides momenta, for `hepgen.io.read` to read.

        The angles to the jet axis are always among them, for batches have them in ``pos``. None,
        which reads all, where a feature is a function that hepgen does not know.
        """
        needs: list[str] = []
        for function in self.functions:
            if function not in KNOWN and not isinstance(function, Formula):
                return None
            needs += function.needs if isinstance(function, Formula) else KNOWN[function].needs
        return tuple(dict.fromkeys([*needs, "delta_eta", "delta_phi"]))

    def fit(self, jets: ak.Array) -> Features:
        """Takes centre and scale from these jets, as weaver's ``preprocess: auto`` does.

        The centre is the median; the scale is one over the greater of the distances from there to
        the 16th and to the 84th percentile, and 1 if both are 0; results are clipped to [-5, 5].
        Flags, charges, angles, tanh and the bounded uncertainties stay as they are, for they have a
        natural scale.

        Args:
            jets: as `hepgen.io.read` gives them.

        Returns:
            These features, changed.

        Raises:
            EmptyInput: the jets have no constituents.
            NonFinite: NaN or infinities, unless ``non_finite`` is "drop".
            MissingName: the jets lack a field that a feature needs.
        """
        constituents = self.constituents(jets)
        if len(constituents) == 0:
            raise EmptyInput("features cannot be fitted: these jets have no constituents")
        for f in np.flatnonzero(self._fitted).tolist():
            values = np.empty(len(constituents), np.float32)
            with np.errstate(all="ignore"):
                for first, block in constituents.blocks():
                    start = constituents.offsets[first]
                    values[start : start + len(block)] = self._values(f, block)
            if not np.isfinite(values).all():
                raise non_finite_error(constituents, self._by_name())
            low, middle, high = np.percentile(values, (16, 50, 84))
            width = max(high - middle, middle - low)
            self.centre[f] = middle
            self.scale[f] = 1 / width if width > 0 else 1.0
            self.low[f], self.high[f] = -5.0, 5.0
        return self

    def transform(self, jets: ak.Array) -> Floats:
        """The standardised features of the constituents of some jets.

        Args:
            jets: as `hepgen.io.read` gives them.

        Returns:
            Shape (N, F), the constituents of all jets end to end in the order of the file, without
            those that ``max_constituents`` or ``non_finite`` leave out.

        Raises:
            NonFinite: NaN or infinities, unless ``non_finite`` is "drop".
            MissingName: the jets lack a field that a feature needs.
        """
        constituents = self.constituents(jets)
        rows = np.empty((len(constituents), len(self)), np.float32)
        for first, block, columns in self.columns(constituents):
            starts = constituents.offsets[first : first + block.num_jets]
            scatter(columns, block.offsets, starts, rows)
        return rows

    def constituents(self, jets: ak.Array) -> Constituents:
        """The constituents that enter: of each jet the hardest, or finite, if so asked for."""
        chosen = Constituents.of(jets)
        if (
            self.max_constituents is not None
            and chosen.counts.max(initial=0) > self.max_constituents
        ):
            chosen = chosen.take(*hardest(chosen.pt, chosen.offsets, self.max_constituents))
        if self.non_finite == "drop":
            chosen = self._finite(chosen)
        return chosen

    def columns(
        self, constituents: Constituents, others: Mapping[str, Feature] = MappingProxyType({})
    ) -> Iterator[tuple[int, Constituents, Floats]]:
        """The standardised features as columns, block by block.

        Args:
            constituents: those that enter.
            others: functions whose values are to follow as they are, by name.

        Yields:
            The number of jets before the block, the block, and columns (F + others, n) of its n
            constituents, in memory that the next block uses again.

        Raises:
            NonFinite: NaN or infinities.
            MissingName: the jets lack a field that a feature needs.
        """
        centre, scale = self.centre.astype(np.float32), self.scale.astype(np.float32)
        low, high = self.low.astype(np.float32), self.high.astype(np.float32)
        longest = min(len(constituents), max(BLOCK, int(constituents.counts.max(initial=0))))
        # Sixteen more than needed: columns of 2**n floats would fall into the same few cache lines.
        memory = np.empty((len(self) + len(others), longest + 16), np.float32)
        for first, block in constituents.blocks():
            columns = memory[:, : len(block)]
            with np.errstate(all="ignore"):  # what is not finite is counted and reported
                for f in range(len(self)):
                    columns[f] = self._values(f, block)
                for column, function in zip(columns[len(self) :], others.values(), strict=True):
                    column[:] = function(block)
            if not np.isfinite(columns).all():
                raise non_finite_error(constituents, {**others, **self._by_name()})
            standardise(columns[: len(self)], centre, scale, low, high)
            yield first, block, columns

    def to_dict(self) -> dict[str, Any]:
        """Names and constants in what JSON can hold; functions of one's own by their names only."""
        return {
            "names": list(self.names),
            "max_constituents": self.max_constituents,
            "non_finite": self.non_finite,
            **{key: getattr(self, key).tolist() for key in ("centre", "scale")},
            **{key: _bounds(getattr(self, key)) for key in ("low", "high")},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], functions: Sequence[Feature] = ()) -> Features:
        """The features that ``to_dict`` described.

        Args:
            values: what ``to_dict`` gave.
            functions: those of its features that are functions of one's own.

        Raises:
            MissingName: a feature is neither known nor among the functions, or a key is missing.
            WrongType: constants of another length than the names.
        """
        expected = ("names", "max_constituents", "non_finite", "centre", "scale", "low", "high")
        for key in values:
            if key not in expected:
                raise MissingName.among(key, expected, kind="key", where="the features")
        for key in expected:
            if key not in values:
                raise MissingName.among(key, values, kind="key", where="the features")
        own = {function.__name__: function for function in functions}
        for name in values["names"]:
            if name not in own and name not in _FUNCTIONS and not is_formula(name):
                raise MissingName(
                    f"no feature {name!r} in hepgen.data.definitions; if it is a function of yours,"
                    f" give it: functions=[{name}]"
                )
        features = cls(
            [own.get(name, name) for name in values["names"]],
            max_constituents=values["max_constituents"],
            non_finite=values["non_finite"],
        )
        for key, unbounded in (("centre", 0.0), ("scale", 0.0), ("low", -np.inf), ("high", np.inf)):
            constants = [unbounded if value is None else value for value in values[key]]
            if len(constants) != len(features):
                raise WrongType(f"{len(features)} features have {len(constants)} values of {key!r}")
            setattr(features, key, np.array(constants, np.float64))
        return features

    def _values(self, f: int, block: Constituents) -> NDArray[Any]:
        """Values of one feature, not yet standardised."""
        try:
            values = np.asarray(self.functions[f](block))
        except MissingName as error:
            raise MissingName(
                f"feature {self.names[f]!r} needs what these jets lack: {error};"
                f" their constituents have {', '.join(block.fields)}"
            ) from error
        if values.shape != (len(block),):
            raise WrongType(
                f"feature {self.names[f]!r} should give one number for each of {len(block)}"
                f" constituents, not an array of shape {values.shape}"
            )
        return values

    def _by_name(self) -> dict[str, Feature]:
        return dict(zip(self.names, self.functions, strict=True))

    def _finite(self, constituents: Constituents) -> Constituents:
        good = np.ones(len(constituents), np.bool_)
        for first, block in constituents.blocks():
            start = constituents.offsets[first]
            part = good[start : start + len(block)]
            with np.errstate(all="ignore"):
                for function in (*self.functions, *MOMENTUM.values(), *ANGLES.values()):
                    part &= np.isfinite(np.asarray(function(block), np.float32))
        if good.all():
            return constituents
        dropped = np.concatenate([[0], np.cumsum(~good)])[constituents.offsets]
        warnings.warn(
            f"NaN or infinite values: {dropped[-1]} of {len(constituents)} constituents are left"
            f" out, in {np.count_nonzero(np.diff(dropped))} of {constituents.num_jets} jets",
            stacklevel=3,
        )
        return constituents.take(np.flatnonzero(good), constituents.offsets - dropped)


def _bounds(values: NDArray[np.float64]) -> list[float | None]:
    """JSON knows no infinities."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _function(name: str | Feature) -> Feature:
    if isinstance(name, str):
        if name not in _FUNCTIONS and is_formula(name):
            return Formula(name)
        if name not in _FUNCTIONS:
            raise MissingName.among(
                name, _FUNCTIONS, kind="feature", where="hepgen.data.definitions"
            )
        return _FUNCTIONS[name]
    if getattr(name, "__name__", "<lambda>") == "<lambda>":
        raise ValueError(
            "a feature should be a function with a name (def name(c): ...), not a lambda"
        )
    return name
