"""The transformer of CaloMatching: tokens, blocks, symmetry, sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

from hepgen.calorimeter import Geometry, GeometryError, Layer
from hepgen.simulators.patches import Grouping, Patches, grouping_of
from hepgen.simulators.shower_transformer import ShowerTransformer
from hepgen.simulators.symmetry import turns
from tests.simulators.samples import IRREGULAR, REGULAR


def network(patches: Patches, seed: int = 0, **arguments: object) -> ShowerTransformer:
    """With weights that matter, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = ShowerTransformer(patches, 3, **{"width": 12, "depth": 2, "heads": 2, **arguments})
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made.double().eval()


def drawn(voxels: int, number: int = 5, seed: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(number, generator=generator, dtype=torch.float64)
    x = torch.randn(number, voxels, generator=generator, dtype=torch.float64)
    return t, x, torch.randn(number, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("geometry", "grouping", "tokens"),
    [
        (REGULAR, "sectors", 4),
        (REGULAR, "layers", 4),
        (REGULAR, "auto", 4),
        (REGULAR, [2, 2, 3], 4),
        (REGULAR, [1, 4, 1], 12),
        (IRREGULAR, "layers", 3),
        (IRREGULAR, "auto", 3),
    ],
)
def test_each_voxel_is_in_one_token_and_comes_back(
    geometry: Geometry, grouping: Grouping, tokens: int
) -> None:
    patches = Patches(geometry, grouping)
    x = torch.arange(1.0, 1 + 2 * geometry.num_voxels).view(2, -1)
    split = patches.split(x)
    assert split.shape == (2, tokens, patches.size)
    told = split[0][split[0] > 0].long() - 1
    assert sorted(told.tolist()) == list(range(geometry.num_voxels))
    assert torch.equal(patches.join(split), x)


def test_tokens_hold_what_their_names_say():
    x = torch.arange(48)[None]
    found = Patches(REGULAR, "sectors").split(x)[0]
    alpha = REGULAR.alpha[found.numpy()]
    assert (alpha == alpha[:, :1]).all()
    # The same place is the same layer and ring in each sector.
    assert (REGULAR.layer_of[found] == REGULAR.layer_of[found[:1]]).all()
    assert (REGULAR.r[found] == REGULAR.r[found[:1]]).all()
    found = Patches(REGULAR, [2, 1, 3]).split(x)[0].numpy()
    assert [sorted(set(REGULAR.layer_of[row])) for row in found] == [[0, 1]] * 4 + [[2, 3]] * 4
    assert all(len(set(REGULAR.alpha[row])) == 1 for row in found)
    found = Patches(IRREGULAR, "layers").split(torch.arange(1, 19)[None])[0]
    assert (found > 0).sum(1).tolist() == [2, 15, 1]


def test_calorimeters_that_cannot_be_grouped_so_are_named():
    assert grouping_of(REGULAR) == "sectors"
    assert grouping_of(IRREGULAR) == "layers"
    with pytest.raises(GeometryError, match=r"\[1, 5\] sectors.*grouping='layers'"):
        Patches(IRREGULAR, "sectors")
    with pytest.raises(GeometryError, match=r"blocks of \[3, 1, 1\] do not divide small"):
        Patches(REGULAR, [3, 1, 1])
    with pytest.raises(GeometryError, match=r"'sector'.*wanted 'sectors', 'layers', or"):
        Patches(REGULAR, "sector")
    with pytest.raises(GeometryError, match="divided alike"):
        Patches(IRREGULAR, [1, 1, 1])


@pytest.mark.parametrize("precondition", [True, False])
def test_a_turned_or_reflected_shower_has_a_turned_velocity(precondition):
    geometry = Geometry(
        tuple(Layer((0, 5, 15), 6, i) for i in range(3)), "six", None, 1e-5, symmetric=True
    )
    made = network(
        Patches(geometry, "sectors"), positions="none", relative=True, precondition=precondition
    )
    t, x, condition = drawn(geometry.num_voxels)
    velocity = made(t, x, condition)
    ways = torch.from_numpy(turns(geometry))
    assert len(ways) == 12
    for way in ways:
        torch.testing.assert_close(made(t, x[:, way], condition), velocity[:, way])
    # The test would see a network without the symmetry.
    shifted = network(Patches(geometry, "sectors"), positions="learned", relative=True)
    away = shifted(t, x[:, ways[1]], condition) - shifted(t, x, condition)[:, ways[1]]
    assert away.abs().max() > 1e-3


def test_a_block_is_attention_and_a_network_between_gates():
    made = network(Patches(REGULAR, "sectors"), positions="none", relative=True, depth=1)
    block = made.blocks[0]
    rng = np.random.default_rng(2)
    x, told = rng.normal(size=(1, 4, 12)), rng.normal(size=(1, 12))
    with torch.no_grad():
        found = block(torch.from_numpy(x), torch.from_numpy(told))[0].numpy()
    weights = {name: tensor.numpy() for name, tensor in block.state_dict().items()}

    def linear(name, y):
        return y @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(y):
        return (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)

    b1, s1, g1, b2, s2, g2 = np.split(linear("modulation", told)[0], 6)
    y = x[0]
    q, k, v = np.split(linear("qkv", norm(y) * (1 + s1) + b1), 3, axis=1)
    apart = np.array([[0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]])
    heads = []
    for h in range(2):
        at = slice(6 * h, 6 * h + 6)
        scores = q[:, at] @ k[:, at].T / math.sqrt(6) + weights["bias"][h][apart]
        heads.append(softmax(scores, axis=1) @ v[:, at])
    y = y + g1 * linear("out", np.concatenate(heads, axis=1))
    z = linear("mlp.0", norm(y) * (1 + s2) + b2)
    z = 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    np.testing.assert_allclose(found, y + g2 * linear("mlp.2", z), rtol=1e-10, atol=1e-10)


def test_a_network_that_has_learnt_nothing_has_the_velocity_of_a_gaussian():
    patches = Patches(REGULAR)
    t, x, condition = drawn(48)
    plain = ShowerTransformer(patches, 3, width=12, heads=2, precondition=False).double()
    assert torch.count_nonzero(plain(t, x, condition)) == 0
    made = ShowerTransformer(patches, 3, width=12, heads=2).double()
    # The mean of x1 - x0 given (1 - t) x0 + t x1, both standard normal.
    expected = (2 * t - 1) / (t**2 + (1 - t) ** 2)
    torch.testing.assert_close(made(t, x, condition), expected[:, None] * x)
    one = made(torch.tensor(0.25, dtype=torch.float64), x, condition)
    torch.testing.assert_close(one, -0.8 * x)


def test_layers_of_different_sizes_have_maps_of_their_own():
    made = network(Patches(IRREGULAR), positions="learned")
    t, x, condition = drawn(18)
    assert made(t, x, condition).shape == (5, 18)
    assert made.enter.weight.shape == (3, 15, 12)
    # A voxel of the last layer, whose token has 14 empty places, moves all.
    other = x.clone()
    other[:, 17] += 1
    assert ((made(t, other, condition) - made(t, x, condition)).abs() > 1e-9).all()


def test_what_makes_no_sense_is_refused():
    patches = Patches(REGULAR)
    with pytest.raises(ValueError, match="width=10 is not divided by heads=4"):
        ShowerTransformer(patches, 3, width=10, heads=4)
    with pytest.raises(ValueError, match="positions='wave'"):
        ShowerTransformer(patches, 3, width=12, heads=4, positions="wave")
