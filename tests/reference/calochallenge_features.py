"""High-level features by the CaloChallenge's own class, of the showers that follow.

HighLevelFeatures.py (commit 0d10232) and XMLHandler.py (b7da333) of the folder "code" of
github.com/CaloChallenge/homepage, and its binning files, in one folder DIR:

    PYTHONPATH=DIR python tests/reference/calochallenge_features.py DIR tests/reference

Of that commit the class keeps radii in lists, which it then multiplies, and counts layers without
voxels where it looks them up but not where it keeps them: no data set gets through. It is given the
same radii in arrays, by the number of the layer. Later versions were not at hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Name -> particle, binning file, voxels, least energy in MeV.
CASES = {
    "ds1-photons": ("photon", "binning_dataset_1_photons.xml", 368, 1.0),
    "ds1-pions": ("pion", "binning_dataset_1_pions.xml", 533, 1.0),
    "ds2": ("electron", "binning_dataset_2.xml", 6480, 0.01515),
}
NUMBER = 6
# Their name -> that of hepgen.
KINDS = {
    "E_layers": "energy",
    "sparsity": "sparsity",
    "EC_etas": "centre_x",
    "EC_phis": "centre_y",
    "width_etas": "width_x",
    "width_phis": "width_y",
    "EC_r": "centre_r",
    "width_r": "width_r",
}


def voxels(name: str) -> NDArray[np.float32]:
    """Energies in MeV, 0 or at least twice the threshold; some layers and one shower are empty.

    Args:
        name: of a case.
    """
    _, _, number, least = CASES[name]
    rng = np.random.default_rng(len(name))
    found = 2 * least * (1 + rng.exponential(20, (NUMBER, number)))
    found *= rng.random((NUMBER, number)) < 0.2
    found[1, : number // 2] = 0
    found[4] = 0
    return found.astype(np.float32)


def theirs(name: str, folder: Path) -> dict[str, NDArray[np.float64]]:
    """Features by the class of the challenge, in MeV and mm.

    Args:
        name: of a case.
        folder: of the binning files.
    """
    from HighLevelFeatures import HighLevelFeatures  # type: ignore[import-not-found]

    particle, binning, _, _ = CASES[name]
    shower = HighLevelFeatures(particle, filename=str(folder / binning))
    middles = zip(shower.relevantLayers, shower.radial_center_mult, strict=True)
    shower.radial_center_mult = {layer: np.array(radii) for layer, radii in middles}
    # Doubles: sums of float32 are good to 1e-6 only, and differences of their squares are not.
    shower.CalculateFeatures(voxels(name).astype(np.float64))
    found = {"total_energy": shower.E_tot}
    for kind, ours in KINDS.items():
        for layer, values in getattr(shower, kind).items():
            found[f"{ours}_layer_{layer}"] = values
    return found


if __name__ == "__main__":
    for case in CASES:
        file = Path(sys.argv[2]) / f"calochallenge_features_{case}.npz"
        np.savez_compressed(file, **theirs(case, Path(sys.argv[1])))
