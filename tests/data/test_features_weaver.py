"""Features, constants and fits, against weaver-core on real files with the published configs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from hepgen.data import Features, PackedJets
from hepgen.io import read

pytest.importorskip("weaver", reason="needs weaver-core: pip install 'hepgen[bench]'")
pytestmark = pytest.mark.filterwarnings("ignore")

JET_CLASS = "particle_transformer/JetClass/JetClass_full.yaml"
QUARK_GLUON = "particle_transformer/QuarkGluon/qg_kin.yaml"


def of_weaver(
    config: Path, file: Path, folder: Path, labels: dict[str, Any], method: str = "manual"
) -> tuple[dict[str, NDArray[np.float32]], Any]:
    """The padded inputs of all jets of a file, and the data config, after weaver's own loader."""
    from weaver.utils.dataset import SimpleIterDataset

    logging.disable(logging.INFO)
    options = yaml.safe_load(config.read_text())
    options |= {"observers": None, "selection": None, "labels": labels}
    if method == "auto":
        options["preprocess"] = {"method": "auto", "data_fraction": 1.0}
        variables = options["inputs"]["pf_features"]["vars"]
        options["inputs"] = {
            "pf_features": {
                **options["inputs"]["pf_features"],
                "vars": [v if v[1] is None else v[0] for v in variables],
            }
        }
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    loader = SimpleIterDataset(
        {"a": [str(file)]}, str(path), for_training=method == "auto", fetch_step=1, async_load=False
    )
    if method == "auto":
        return {}, loader.config
    items = [item[0] for item in loader]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}, loader.config


def unpadded(values: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """(B, F, P) -> (N, F)."""
    rows = [value[:, :count].T for value, count in zip(values, counts, strict=True)]
    return np.concatenate(rows)


JET_CLASS_LABELS = {"type": "simple", "value": ["jet_pt>0", "jet_pt<=0"]}
CASES = [
    (JET_CLASS, "sophon_JetClassII_example.root", "full"),
    (QUARK_GLUON, "timlegge_quarkgluon_2000.root", "kinematics"),
]


@pytest.mark.parametrize(("config", "file", "names"), CASES, ids=[case[2] for case in CASES])
def test_features_equal_weavers(
    real_data: Path, tmp_path: Path, config: str, file: str, names: str
) -> None:
    path = real_data / "root" / file
    theirs, _ = of_weaver(real_data / "weaver_configs" / config, path, tmp_path, JET_CLASS_LABELS)
    jets = read(path)
    features = Features(names, max_constituents=128)
    packed = PackedJets.pack(jets, features)
    counts = np.diff(packed.offsets)
    assert counts.tolist() == np.minimum(ak.num(jets.constituents), 128).tolist()
    expected = unpadded(theirs["pf_features"], counts)
    # Logarithms of ratios: a few units in the last place of numbers up to 5.
    np.testing.assert_allclose(packed.x, expected, rtol=1e-5, atol=5e-6)
    assert np.array_equal(packed.pos, unpadded(theirs["pf_points"], counts))
    assert np.array_equal(packed.p4[:, [1, 2, 3, 0]], unpadded(theirs["pf_vectors"], counts))


def test_a_fit_equals_weavers_automatic_one(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "root" / "sophon_JetClassII_example.root"
    config = real_data / "weaver_configs" / JET_CLASS
    _, theirs = of_weaver(config, path, tmp_path, JET_CLASS_LABELS, method="auto")
    features = Features("kinematics").fit(read(path))
    names = ("part_pt_log", "part_e_log", "part_logptrel", "part_logerel", "part_deltaR")
    for i, name in enumerate(names):
        constants = theirs.preprocess_params[name]
        assert features.centre[i] == pytest.approx(constants["center"], rel=1e-5, abs=1e-6)
        assert features.scale[i] == pytest.approx(constants["scale"], rel=1e-5)
