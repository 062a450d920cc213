"""ResNeXt-50 against torchvision's, by the logits it gave, and its images against numpy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data import Batch, Features
from hepgen.taggers import ResNeXt50
from tests.reference.seeded_weights import seeded_weights
from tests.taggers.jets import CLASSES, make, shuffled

REFERENCE = Path(__file__).parents[1] / "reference" / "resnext50.npz"
COUNTS = [40, 1, 0, 200, 2]
SHORT = {"blocks": (1, 1), "groups": 4, "channels": 16}


def test_it_has_as_many_parameters_as_published() -> None:
    # 1.46M; without weights in the shortcut of the first stage there were 1 453 090.
    tagger = ResNeXt50(Features(), CLASSES)
    assert sum(p.numel() for p in tagger.parameters()) == 1_457_314


def test_at_full_width_it_has_as_many_parameters_as_torchvision_s() -> None:
    with torch.device("meta"):
        tagger = ResNeXt50(Features(), CLASSES, group_width=4, channels=256)
    # ResNeXt50_32X4D of torchvision: 25 028 904 with three colours and a thousand classes.
    colours, classes = 2 * 64 * 7 * 7, 998 * (2048 + 1)
    assert sum(p.numel() for p in tagger.parameters()) + colours + classes == 25_028_904


@pytest.mark.parametrize("name", ["full", "short"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)
def test_logits_of_images_are_those_of_torchvision(name, dtype, tolerance) -> None:
    with np.load(REFERENCE) as stored:
        images, expected = stored["images"], torch.from_numpy(stored[name])
    blocks = {"full": (3, 4, 6, 3), "short": (1, 1, 1, 1)}[name]
    tagger = ResNeXt50(Features(), CLASSES, blocks=blocks, group_width=4, channels=256).to(dtype)
    tagger.load_state_dict(seeded_weights(tagger))
    with torch.no_grad():
        got = tagger.eval().score(torch.from_numpy(images).to(dtype)).double()
    assert expected.std(dim=0).min() > 0.05
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_images_are_histograms_of_centred_and_upright_jets() -> None:
    batch = make(COUNTS, dtype=torch.float64)
    got = ResNeXt50(Features(), CLASSES, **SHORT).images(batch)
    assert got.shape == (len(COUNTS), 64, 64)
    edges = np.linspace(-0.8, 0.8, 65)
    for jet, count in enumerate(COUNTS):
        if count < 3:
            continue
        rows = slice(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
        r, p4 = batch.pos[rows].numpy(), batch.p4[rows].numpy()
        z = np.hypot(p4[:, 1], p4[:, 2])
        z = z / z.sum()
        r = r - np.average(r, axis=0, weights=z)
        axis = np.linalg.eigh((r.T * z) @ r)[1][:, 1]
        axis = axis if z @ (r @ axis) ** 3 > 0 else -axis
        r = np.stack([r @ [axis[1], -axis[0]], r @ axis], axis=1)
        expected = np.histogram2d(*r.T, bins=(edges, edges), weights=z)[0]
        np.testing.assert_allclose(got[jet], expected, atol=1e-14)
    # One constituent is in the middle, two lie upright, none leave the image empty.
    assert got[1].nonzero().tolist() == [[32, 32]]
    assert (got[4].nonzero()[:, 0] == 32).all()
    assert got[2].sum() == 0


@pytest.mark.parametrize("by", [0.7, np.pi / 2, np.pi, 4.0])
def test_images_do_not_depend_on_how_the_jet_was_turned(by) -> None:
    batch = make(COUNTS, dtype=torch.float64)
    tagger = ResNeXt50(Features(), CLASSES, **SHORT)
    expected = tagger.images(batch)
    cos, sin = np.cos(by), np.sin(by)
    turn = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    batch.pos = batch.pos @ turn + torch.tensor([0.1, 0.05], dtype=torch.float64)
    assert float((tagger.images(batch) - expected).abs().max()) < 1e-10


def test_images_that_are_not_turned_are_only_centred() -> None:
    batch = make([60], dtype=torch.float64)
    image = ResNeXt50(Features(), CLASSES, **SHORT, upright=False).images(batch)[0]
    z = torch.hypot(batch.p4[:, 1], batch.p4[:, 2])
    z = z / z.sum()
    r = batch.pos - (z[:, None] * batch.pos).sum(dim=0)
    edges = np.linspace(-0.8, 0.8, 65)
    expected = np.histogram2d(*r.numpy().T, bins=(edges, edges), weights=z.numpy())[0]
    np.testing.assert_allclose(image, expected, atol=1e-14)


def test_images_have_the_same_bits_in_any_order_of_constituents() -> None:
    batch = make(COUNTS)
    tagger = ResNeXt50(Features(), CLASSES, **SHORT)
    for seed in range(3):
        torch.testing.assert_close(
            tagger.images(shuffled(batch, seed)), tagger.images(batch), rtol=0, atol=0
        )


def mirrors(tagger: ResNeXt50, batch: Batch) -> list[Tensor]:
    """The images that the network was given in training, with one jet in 200 copies."""
    seen: list[Tensor] = []
    hook = tagger.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0]))
    tagger.train()(batch)
    hook.remove()
    return seen


def test_training_mirrors_images_in_all_four_ways_equally_often() -> None:
    torch.manual_seed(0)
    batch = make([30])
    copies = make([30] * 200)
    for name in ("x", "pos", "p4"):
        copies[name] = batch[name].repeat(200, 1)
    tagger = ResNeXt50(Features(), CLASSES, **SHORT)
    image = tagger.images(batch)[0]
    (seen,) = mirrors(tagger, copies)
    ways = [image.flip(sides) for sides in ([], [0], [1], [0, 1])]
    counts = [sum(torch.equal(one, way) for one in seen) for way in ways]
    assert sum(counts) == 200
    # Binomial with mean 50 and deviation 6.1: five deviations, false alarms below 1e-5.
    assert all(abs(count - 50) < 31 for count in counts)
    (seen,) = mirrors(ResNeXt50(Features(), CLASSES, **SHORT, flip=0.0), copies)
    torch.testing.assert_close(seen, image.expand(200, -1, -1), rtol=0, atol=0)


def test_without_blocks_it_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one block in each stage"):
        ResNeXt50(Features(), CLASSES, blocks=(1, 0))
