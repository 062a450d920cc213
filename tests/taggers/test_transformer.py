"""The plain transformer against torch's own encoder and the one of the LLoCa package."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hepgen.data import Batch, Features
from hepgen.taggers.transformer import PlainBlock, Transformer
from tests.taggers.jets import CLASSES, make

COUNTS = [1, 2, 5, 40, 17, 100, 200]


def build() -> Transformer:
    torch.manual_seed(0)
    return Transformer(Features(), CLASSES, channels=24, heads=3, num_blocks=3).double().eval()


def padded(batch: Batch, length: int) -> tuple[Tensor, Tensor]:
    """Features (B, P, F), and whether a constituent is there (B, P)."""
    mask = torch.arange(max(length, int(batch.ptr.diff().max()))) < batch.ptr.diff()[:, None]
    x = batch.x.new_zeros(*mask.shape, batch.x.shape[1])
    x[mask] = batch.x
    return x, mask


def of_torch(tagger: Transformer) -> nn.TransformerEncoder:
    """torch's encoder with the weights of the tagger's blocks."""
    layer = nn.TransformerEncoderLayer(
        tagger.channels,
        tagger.heads,
        tagger.expansion * tagger.channels,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    encoder = nn.TransformerEncoder(layer, tagger.num_blocks, enable_nested_tensor=False)
    renamed = {"attn.in_proj.": "self_attn.in_proj_", "attn.out_proj": "self_attn.out_proj"}
    state = {}
    for name, tensor in tagger.blocks.state_dict().items():
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        state["layers." + name] = tensor
    missing, unexpected = encoder.load_state_dict(state, strict=False)
    # Scales and shifts of theirs stay 1 and 0.
    assert not unexpected
    assert all(".norm" in name for name in missing)
    return encoder.double()


@pytest.mark.parametrize("length", [0, 230])
@pytest.mark.parametrize("training", [False, True])
def test_logits_are_those_of_the_encoder_of_torch(length, training) -> None:
    tagger = build().train(training)
    encoder = of_torch(tagger).train(training)
    batch = make(COUNTS, dtype=torch.float64)
    x, mask = padded(batch, length)
    latents = encoder(tagger.linear_in(x), src_key_padding_mask=~mask)
    mean = (latents * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(tagger(batch), tagger.linear_out(mean), rtol=1e-10, atol=1e-10)
    single, batch32 = tagger.float(), make(COUNTS)
    expected = tagger.linear_out(mean.float())
    assert (single(batch32) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_gradients_are_those_of_the_encoder_of_torch() -> None:
    tagger = build().train()
    encoder = of_torch(tagger).train()
    batch = make([30] * 4, dtype=torch.float64)
    latents = encoder(tagger.linear_in(padded(batch, 0)[0]))
    tagger.linear_out(latents.mean(1)).square().sum().backward()
    expected = [block.linear1.weight.grad for block in encoder.layers]
    tagger.zero_grad()
    tagger(batch).square().sum().backward()
    for block, gradient in zip(tagger.blocks, expected, strict=True):
        assert isinstance(block, PlainBlock)
        torch.testing.assert_close(block.linear1.weight.grad, gradient, rtol=1e-9, atol=1e-11)


def test_logits_are_those_of_the_transformer_of_lloca_without_local_frames() -> None:
    backbone = pytest.importorskip("lloca.backbone.transformer")
    frames = pytest.importorskip("lloca.framesnet.frames")
    torch.manual_seed(0)
    tagger = Transformer(Features(), CLASSES).double().eval()
    theirs = backbone.Transformer(
        in_channels=7, attn_reps="16x0n", out_channels=2, num_blocks=10, num_heads=8
    ).double()
    count = sum(p.numel() for p in theirs.parameters())
    assert sum(p.numel() for p in tagger.parameters()) == count == 1_978_882
    missing, unexpected = theirs.load_state_dict(to_lloca(tagger), strict=False)
    assert not unexpected
    assert not set(missing) & {name for name, _ in theirs.named_parameters()}
    for size in (1, 7, 50):
        batch = make([size], dtype=torch.float64)
        still = frames.Frames(is_identity=True, shape=(1, size), device="cpu", dtype=torch.float64)
        expected = theirs(batch.x[None], still).mean(1)
        torch.testing.assert_close(tagger(batch), expected, rtol=1e-9, atol=1e-10)


def to_lloca(tagger: Transformer) -> dict[str, Tensor]:
    """Names of that package; there heads vary fastest in queries, keys and values."""
    renamed = {
        "attn.in_proj": "attention.qkv_linear.linear",
        "attn.out_proj": "attention.out_linear",
        "linear1": "mlp.0",
        "linear2": "mlp.3",
    }
    state = {}
    for name, tensor in tagger.state_dict().items():
        if ".attn.in_proj" in name:
            split = tensor.view(3, tagger.heads, -1, *tensor.shape[1:])
            tensor = split.transpose(1, 2).reshape(tensor.shape)
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        state[name] = tensor
    return state


def test_latents_are_pooled_to_logits() -> None:
    tagger, batch = build(), make([3, 0, 4], dtype=torch.float64)
    latents = tagger.latents(batch)
    assert latents.shape == (7, tagger.latent_width)
    torch.testing.assert_close(tagger.pooled(latents, batch), tagger(batch))
    torch.testing.assert_close(tagger(batch)[1], tagger.linear_out.bias)
