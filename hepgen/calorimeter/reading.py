"""How files of showers are read, whatever their format: what one has to tell where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hepgen.calorimeter.errors import ShowerError
from hepgen.calorimeter.units import Unit
from hepgen.io.errors import WrongType

__all__ = ["Float", "Reading"]

Float = Literal["float32", "float64"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reader of showers is told.

    Args:
        names: our name -> that of the file, where it has others; which of ours there are stands
            with each format.
        unit: of the energies, "MeV" unless the file says otherwise; one for both or
            ``{"voxels": "MeV", "incident_energy": "GeV"}``. What is told is not doubted.
        conditions: names of the conditions that are wanted; all that the file declares, and
            "theta", "phi", "eta" and "pdg" of others, if not given.
        sampling_fraction: share of the energy that the file holds; voxels are divided by it.
        axes: what the axes of the voxels of HDF5 files after the first are, as "z r alpha", where
            they are not layer, sector, ring (z, alpha, r). Not for ROOT files.
        dtype: of the voxels in memory. With float64, numbers of float32 files come back bit for bit
            when they are written; with float32, to one unit in the last place.

    Raises:
        ShowerError: a sampling fraction that is no share.
        WrongType: another dtype.
    """

    names: Mapping[str, str] | None = None
    unit: Unit | None = None
    conditions: Sequence[str] | None = None
    sampling_fraction: float = 1.0
    axes: str | None = None
    dtype: Float = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float64"):
            raise WrongType(f"dtype={self.dtype!r}: wanted 'float32' or 'float64'")
        if not 0 < self.sampling_fraction <= 1:
            raise ShowerError(
                f"sampling_fraction={self.sampling_fraction}: wanted a share, such as 0.033"
            )
