from __future__ import annotations

import numpy as np
import pytest
import torch

from hepgen import taggers
from hepgen.data import Batch, Features
from hepgen.heads import AuxiliaryLabels, Classification
from hepgen.taggers import LLoCa, Tagger
from hepgen.taggers.local_features import LocalJets
from tests.taggers.jets import CLASSES, make, make_jets
from tests.taggers.lorentz import massive, matrix, moved, random_lorentz
from tests.taggers.sizes import SMALL

BACKBONES = [
    "EnergyFlowNetwork",
    "LorentzNet",
    "PCNN",
    "PELICAN",
    "ParticleFlowNetwork",
    "ParticleNet",
    "ParticleTransformer",
    "TopoDNN",
    "Transformer",
]


def build(backbone: str, names: str = "kinematics+pid", **arguments) -> LLoCa:
    torch.manual_seed(4)
    small = SMALL.get(backbone, {})
    made = LLoCa(Features(names), CLASSES, backbone, small, frame_hidden=32, **arguments)
    with torch.no_grad():
        made(with_pid(make([30, 50, 20, 40], seed=9)))
    return made.eval().double()


def with_pid(batch: Batch) -> Batch:
    generator = torch.Generator().manual_seed(0)
    shape = (batch.x.shape[0], 13)
    batch.x = torch.randn(shape, generator=generator, dtype=torch.float64).to(batch.x.dtype)
    return batch


def jets_of(counts: list[int]) -> Batch:
    return massive(with_pid(make(counts, dtype=torch.float64)))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_tagger_becomes_invariant_under_rotations_and_boosts(backbone: str) -> None:
    tagger = build(backbone)
    # Two constituents have the same transverse momentum in their frames: rounding decides an order.
    few = [] if backbone == "PCNN" else [2]
    batch = jets_of([0, 1, *few, 3, 4, 20, 40])
    rng = np.random.default_rng(0)
    with torch.no_grad():
        expected = tagger(batch)
        assert expected.std(dim=0).min() > 1e-6
        for _ in range(5):
            got = tagger(moved(batch, random_lorentz(rng)))
            assert (got - expected).abs().max() < 1e-10


def test_a_backbone_alone_is_not_invariant() -> None:
    torch.manual_seed(0)
    alone = taggers.ParticleFlowNetwork(Features("kinematics+pid"), CLASSES).double()
    batch = jets_of([20, 40])
    with torch.no_grad():
        got = alone(moved(batch, random_lorentz(np.random.default_rng(0))))
        assert (got - alone(batch)).abs().max() > 1e-3


def test_scalars_tell_what_they_tell() -> None:
    tagger = build("ParticleFlowNetwork")
    batch, other = jets_of([20, 40]), jets_of([20, 40])
    charge = Features("kinematics+pid").names.index("charge")
    other.x[:, charge] += 1
    with torch.no_grad():
        assert (tagger(batch) - tagger(other)).abs().max() > 1e-6


REMAINING = {
    ("beams",): (lambda p: p.rotateZ(0.7), lambda p: p.boostZ(beta=0.5)),
    ("time",): (lambda p: p.rotateX(0.5).rotateY(1.1), lambda p: p.boostX(beta=0.5)),
    ("beams", "time"): (lambda p: p.rotateZ(1.3), lambda p: p.rotateX(0.7)),
}


@pytest.mark.parametrize("spurions", REMAINING, ids=" ".join)
def test_with_spurions_what_leaves_them_alone_is_left(spurions: tuple[str, ...]) -> None:
    tagger = build("ParticleNet", spurions=spurions)
    batch = jets_of([0, 1, 2, 3, 20, 40])
    kept, broken = REMAINING[spurions]
    with torch.no_grad():
        expected = tagger(batch)
        assert (tagger(moved(batch, matrix(kept))) - expected).abs().max() < 1e-10
        assert (tagger(moved(batch, matrix(broken))) - expected).abs().max() > 1e-5


def test_in_float32_scores_stay_to_four_digits() -> None:
    tagger = build("ParticleFlowNetwork").float()
    batch = massive(with_pid(make([3, 20, 40, 100], dtype=torch.float64)))
    with torch.no_grad():
        expected = tagger.double()(batch)
        tagger.float()
        batch.x = batch.x.float()
        assert (tagger(batch) - expected).abs().max() < 1e-4 * float(expected.abs().max())


def test_the_backbone_is_chosen_by_a_name_of_the_list_alone() -> None:
    with pytest.raises(
        ValueError, match="no tagger 'ParticleNett' to be a backbone; nearest: Part"
    ):
        LLoCa(Features(), CLASSES, "ParticleNett")
    for name in ("Tagger", "LLoCa", "torch.nn.Linear", "hepgen.taggers.ParticleNet", "tagger"):
        with pytest.raises(ValueError, match="to be a backbone"):
            LLoCa(Features(), CLASSES, name)
    with pytest.raises(TypeError, match="kk"):
        LLoCa(Features(), CLASSES, "ParticleNet", {"kk": 3})


def test_the_backbone_and_its_arguments_are_kept_with_the_model(tmp_path) -> None:
    from hepgen import checkpoint

    tagger = build("PELICAN", names="kinematics", spurions=("time",))
    tagger.float().save(tmp_path / "model.safetensors")
    loaded = checkpoint.load(tmp_path / "model.safetensors")
    assert isinstance(loaded, LLoCa)
    assert loaded.backbone == "PELICAN"
    assert loaded.config() == tagger.config()
    assert loaded.frames.vectors.seen
    jets = make_jets([3, 20])
    np.testing.assert_array_equal(loaded.predict(jets), tagger.predict(jets))


def test_a_pipeline_names_the_backbone(tmp_path) -> None:
    from hepgen.pipeline import pipeline_parser

    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "data: {files: jets.root}\n"
        "model:\n"
        "  class_path: LLoCa\n"
        "  init_args: {backbone: ParticleNet, backbone_arguments: {k: 5}, spurions: [time]}\n"
    )
    chosen = pipeline_parser().parse_args(["--config", str(path)]).model
    made = LLoCa(Features(), CLASSES, **chosen.init_args.as_dict())
    assert made.network.k == 5
    assert made.spurions == ("time",)


def test_labels_of_constituents_are_learnt_from_the_latents_of_the_backbone() -> None:
    head = AuxiliaryLabels(Classification(CLASSES), "kind", ["a", "b"])
    tagger = LLoCa(Features(), head, "EnergyFlowNetwork")
    batch = make([3, 20])
    logits, labels = tagger.outputs(batch)
    assert logits.shape == (2, 2)
    assert labels is not None
    assert labels.shape == (23, 2)
    assert not any("network.constituent_layer" in name for name in tagger.state_dict())


def test_it_has_the_latent_vectors_of_its_backbone() -> None:
    tagger = build("EnergyFlowNetwork")
    batch = jets_of([3, 20])
    latents = tagger.latents(batch)
    assert latents.shape == (23, tagger.latent_width)
    torch.testing.assert_close(tagger.pooled(latents, batch), tagger(batch))
    assert not hasattr(build("ParticleNet"), "latents")
    assert isinstance(tagger, Tagger)
    assert isinstance(tagger.localised(batch), LocalJets)
