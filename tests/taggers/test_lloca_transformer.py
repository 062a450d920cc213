from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from lloca.backbone.transformer import Transformer
from lloca.equivectors import MLPVectors
from lloca.framesnet.equi_frames import LearnedPDFrames
from lloca.reps.tensorreps import TensorReps
from lloca.reps.tensorreps_transform import TensorRepsTransform
from torch import Tensor

from hepgen.data import Batch, Features
from hepgen.taggers import LLoCaTransformer
from hepgen.taggers.lloca_transformer import from_lloca_state
from hepgen.taggers.local_features import in_local_frames
from hepgen.taggers.segments import segment_mean
from tests.taggers.jets import CLASSES, make
from tests.taggers.lorentz import massive, matrix, moved, random_lorentz

SMALL: dict[str, Any] = {"blocks": 3, "heads": 4}


def build(**arguments: Any) -> LLoCaTransformer:
    torch.manual_seed(2)
    made = LLoCaTransformer(Features(), CLASSES, **{**SMALL, **arguments})
    with torch.no_grad():
        made(make([30, 50], seed=9))
    return made.eval()


def jets_of(counts: list[int]) -> Batch:
    return massive(make(counts, dtype=torch.float64))


def test_it_has_as_many_parameters_as_published() -> None:
    tagger = LLoCaTransformer(Features(), CLASSES)
    assert sum(p.numel() for p in tagger.parameters()) == 1_997_826  # "2.0M"
    assert sum(p.numel() for p in tagger.frames.parameters()) == 18_944


def reference(scalars: int, steady: bool) -> tuple[Transformer, LearnedPDFrames]:
    """The package's networks, with the arrangement of `build`."""
    torch.manual_seed(7)
    network = Transformer(7, "8x0n+2x1n", 2, 3, 4, preserve_variance=steady)
    made = partial(MLPVectors, num_scalars=scalars, hidden_channels=128, num_layers_mlp=2)
    return network, LearnedPDFrames(made)


def theirs(
    network: Transformer, frames: LearnedPDFrames, tagger: LLoCaTransformer, batch: Batch, pad: bool
) -> Tensor:
    """The package's logits from momenta in the rest frames of jets, padded or packed."""
    with torch.no_grad():
        mine = tagger.frames(batch.p4, batch.x[:, :0], batch.ptr)
    energy = mine.jet[:, 0] * mine.p4[:, 0] - (mine.jet[:, 1:] * mine.p4[:, 1:]).sum(1)
    scalars = (0.5 * energy.log())[:, None].to(batch.x.dtype)
    made = frames(mine.p4, scalars, ptr=batch.ptr)
    turn = TensorRepsTransform(TensorReps("1x1n"))
    framed = mine._replace(frame=made.matrices)
    local = in_local_frames(batch, framed, tagger.features, ())
    torch.testing.assert_close(local.p4, turn(mine.p4, made).to(local.p4.dtype))
    made.to(batch.x.dtype)
    if not pad:
        total = torch.stack([mine.jet[start] for start in batch.ptr[:-1]])
        one = batch.batch[:, None] == batch.batch
        out = network(
            local.x[None], made.reshape(1, *made.shape), p_ref=total, ptr=batch.ptr,
            attn_mask=one[None, None],
        )  # fmt: skip
        return segment_mean(out[0], batch.ptr)
    logits = []
    for start, stop in zip(batch.ptr[:-1], batch.ptr[1:], strict=True):
        length = int(stop - start) + 5
        x = local.x.new_zeros(1, length, 7)
        x[0, :-5] = local.x[start:stop]
        matrices = torch.eye(4, dtype=x.dtype).repeat(1, length, 1, 1)
        matrices[0, :-5] = made.matrices[start:stop]
        there = torch.arange(length) < length - 5
        out = network(
            x, type(made)(matrices), p_ref=mine.jet[start : start + 1],
            attn_mask=there.expand(1, 1, length, length),
        )  # fmt: skip
        logits.append(out[0, :-5].mean(0))
    return torch.stack(logits)


@pytest.mark.parametrize("pad", [False, True], ids=["packed", "padded"])
@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
def test_its_logits_are_those_of_lloca_with_its_weights(pad, steady, dtype, tolerance) -> None:
    tagger = build(spurions=(), steady=steady)
    network, frames = reference(1, steady)
    block = frames.equivectors.block
    block.edge_mean.fill_(0.5), block.edge_std.fill_(2.2), block.edge_inited.fill_(True)
    tagger.load_state_dict(from_lloca_state(network.state_dict(), frames.state_dict(), 4))
    for module in (tagger, network, frames):
        module.to(dtype)
    batch = jets_of([4, 5, 30, 100, 200])
    batch.x = batch.x.to(dtype)
    with torch.no_grad():
        expected = theirs(network, frames, tagger, batch, pad)
        got = tagger(batch)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_without_spurions_scores_are_lorentz_invariant() -> None:
    tagger = build(spurions=()).double()
    batch = jets_of([0, 1, 2, 3, 4, 20, 40])
    rng = np.random.default_rng(1)
    with torch.no_grad():
        expected = tagger(batch)
        for _ in range(10):
            got = tagger(moved(batch, random_lorentz(rng)))
            assert (got - expected).abs().max() < 1e-10


def test_with_beams_and_time_rotations_about_the_beam_are_left() -> None:
    tagger = build().double()
    batch = jets_of([0, 1, 2, 3, 4, 20, 40])
    with torch.no_grad():
        expected = tagger(batch)
        for angle in (0.3, 2.0, -1.0):
            got = tagger(moved(batch, matrix(lambda p, angle=angle: p.rotateZ(angle))))
            assert (got - expected).abs().max() < 1e-10
        for broken in (lambda p: p.rotateX(0.5), lambda p: p.boostZ(beta=0.5)):
            assert (tagger(moved(batch, matrix(broken))) - expected).abs().max() > 1e-4


def test_messages_of_vectors_matter() -> None:
    tagger = build(spurions=()).double()
    batch = jets_of([20, 40])
    with torch.no_grad():
        expected = tagger(batch)
        for layer in tagger.layers:
            weight = layer.attention.in_proj.weight.view(3, 4, 16, -1)
            weight[:, :, 8:] = 0
        assert (tagger(batch) - expected).abs().max() > 1e-4


def test_logits_are_pooled_latents() -> None:
    tagger = build()
    batch = make([0, 3, 20])
    latents = tagger.latents(batch)
    assert latents.shape == (23, tagger.latent_width) == (23, 64)
    torch.testing.assert_close(tagger.pooled(latents, batch), tagger(batch), rtol=0, atol=0)


def test_settings_without_a_network_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks=0"):
        LLoCaTransformer(Features(), CLASSES, blocks=0)
    with pytest.raises(ValueError, match="heads=0"):
        LLoCaTransformer(Features(), CLASSES, heads=0)
