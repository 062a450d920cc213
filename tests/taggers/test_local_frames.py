from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from lloca.equivectors import MLPVectors
from lloca.framesnet.equi_frames import LearnedPDFrames
from torch import Tensor, nn

from hepgen.data import Batch, all_pairs, make_batch
from hepgen.kinematics import mass_squared
from hepgen.taggers.local_frames import EquivariantVectors, Framed, LocalFrames
from hepgen.taggers.lorentz_frames import apply_frame, invert_frame, make_frame, rest_frame
from hepgen.taggers.segments import segment_sum
from hepgen.taggers.spurions import spurion_vectors
from tests.taggers.jets import make, shuffled
from tests.taggers.lorentz import massive, matrix, moved, random_lorentz
from tests.taggers.test_lorentz_frames import is_lorentz

COUNTS = [1, 2, 3, 4, 15, 0, 40, 100]


def double(counts: list[int], seed: int = 0) -> Batch:
    return massive(make(counts, seed=seed, dtype=torch.float64))


def at_rest(batch: Batch) -> Batch:
    """Jets in their rest frames, as `LocalFrames` has them, and the authors' program for top jets.

    As they lie boosts reach 40, and both programs lose digits with the square of that.
    """
    jet = segment_sum(batch.p4, batch.ptr)[batch.batch]
    p4 = apply_frame(rest_frame(jet, 1e-2), batch.p4)
    return make_batch(batch.x, batch.ptr, p4=p4, pos=batch.pos, y=batch.y, weight=batch.weight)


def reference(scalars: int) -> LearnedPDFrames:
    """The frames of the package, with its defaults for momenta and its paper's sizes."""
    torch.manual_seed(0)
    made = partial(MLPVectors, num_scalars=scalars, hidden_channels=128, num_layers_mlp=2)
    return LearnedPDFrames(made)


def like(theirs: LearnedPDFrames, scalars: int) -> EquivariantVectors:
    mine = EquivariantVectors(scalars)
    layers = [m for m in theirs.equivectors.block.mlp.mlp if isinstance(m, nn.Linear)]
    own = [m for m in mine.modules() if isinstance(m, nn.Linear)]
    for layer, other in zip(own, layers, strict=True):
        state = {name: other.state_dict()[name] for name in layer.state_dict()}
        layer.load_state_dict(state)
    return mine


def scalars_of(batch: Batch, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch.x.shape[0], count, generator=generator, dtype=batch.x.dtype)


@pytest.mark.parametrize("counts", [[200], [4, 7, 30, 100, 200]])
def test_vectors_and_frames_are_those_of_lloca_in_float64(counts: list[int]) -> None:
    batch = at_rest(double(counts))
    theirs = reference(3).double()
    mine = like(theirs, 3).double()
    s = scalars_of(batch)
    theirs.equivectors.init_standardization(batch.p4, ptr=batch.ptr)
    expected = theirs.equivectors(batch.p4, scalars=s, ptr=batch.ptr)
    got = mine(batch.p4, s, all_pairs(batch.ptr), len(s))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mine.mean, theirs.equivectors.block.edge_mean)
    torch.testing.assert_close(mine.deviation, theirs.equivectors.block.edge_std)
    frames = theirs(batch.p4, s, ptr=batch.ptr).matrices
    torch.testing.assert_close(make_frame(got, batch.p4), frames, rtol=1e-9, atol=1e-9)


def test_vectors_are_those_of_lloca_in_float32() -> None:
    batch = at_rest(double([4, 7, 30, 100, 200]))
    theirs = reference(3)
    mine = like(theirs, 3)
    s = scalars_of(batch).float()
    theirs.equivectors.init_standardization(batch.p4, ptr=batch.ptr)
    expected = theirs.equivectors(batch.p4, scalars=s, ptr=batch.ptr)
    got = mine(batch.p4, s, all_pairs(batch.ptr), len(s))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_vectors_are_what_loops_over_pairs_give() -> None:
    batch = double([3, 5])
    torch.manual_seed(0)
    net = EquivariantVectors(2, vectors=3, hidden=8, layers=1).double()
    s = scalars_of(batch, 2)
    got = net.eval()(batch.p4, s, all_pairs(batch.ptr), len(s))
    for start, stop in ((0, 3), (3, 8)):
        for i in range(start, stop):
            others = [j for j in range(start, stop) if j != i]
            sums = torch.stack([batch.p4[i] + batch.p4[j] for j in others])
            square = mass_squared(sums)
            edges = torch.stack([torch.cat([s[i], s[j]]) for j in others])
            hidden = net.first(torch.cat([edges, square.log()[:, None]], dim=1))
            weights = net.rest(hidden).softmax(dim=0)  # (others, V)
            u = torch.einsum("jv,jd->vd", weights, sums / square.sqrt()[:, None])
            expected = u / mass_squared(u).sum().sqrt()
            torch.testing.assert_close(got[i], expected, rtol=1e-12, atol=1e-12)


def framed(net: LocalFrames, batch: Batch) -> Framed:
    with torch.no_grad():
        result: Framed = net(batch.p4, batch.x[:, :0], batch.ptr)
    return result


def trained(**arguments: object) -> LocalFrames:
    torch.manual_seed(1)
    net = LocalFrames(0, **arguments).double()
    framed(net, double([30, 50], seed=3))
    return net.eval()


def test_frames_turn_with_the_jet_and_local_momenta_stay() -> None:
    net, batch = trained(), double(COUNTS)
    before = framed(net, batch)
    assert is_lorentz(before.frame)
    whole = before.frame @ before.boost
    local = apply_frame(whole, batch.p4)
    torch.testing.assert_close(local, apply_frame(before.frame, before.p4), rtol=1e-9, atol=1e-9)
    rng = np.random.default_rng(0)
    # Rotations are open for jets of one and two, as for them nothing marks a second direction.
    fixed = batch.ptr.diff()[batch.batch] > 2
    for _ in range(5):
        by = random_lorentz(rng)
        after = framed(net, moved(batch, by))
        turned = (after.frame @ after.boost)[fixed]
        scale = float(whole.abs().max())
        assert (turned - (whole @ invert_frame(by))[fixed]).abs().max() < 1e-10 * scale
        got = apply_frame(after.frame, after.p4)
        assert (got - local).abs().max() < 1e-10 * float(local.abs().max())
        jet = apply_frame(before.frame, before.jet)
        assert (apply_frame(after.frame, after.jet) - jet).abs().max() < 1e-10 * float(jet.max())


REMAINING = {
    ("beams",): lambda p: p.rotateZ(0.7),
    ("massive_beams",): lambda p: p.rotateZ(-2.0),
    ("time",): lambda p: p.rotateX(0.5).rotateY(1.1),
    ("beams", "time"): lambda p: p.rotateZ(1.3),
}
BROKEN = {
    ("beams",): lambda p: p.boostZ(beta=0.5),
    ("massive_beams",): lambda p: p.rotateX(0.5),
    ("time",): lambda p: p.boostX(beta=0.5),
    ("beams", "time"): lambda p: p.boostZ(beta=0.5),
}


@pytest.mark.parametrize("spurions", REMAINING, ids=" ".join)
def test_frames_with_spurions_turn_with_what_leaves_the_spurions_as_they_are(spurions) -> None:
    net, batch = trained(spurions=spurions), double(COUNTS)
    before = framed(net, batch)
    local = apply_frame(before.frame, before.p4)
    same, other = (framed(net, moved(batch, matrix(t[spurions]))) for t in (REMAINING, BROKEN))
    assert (apply_frame(same.frame, same.p4) - local).abs().max() < 1e-10 * float(local.max())
    assert (apply_frame(other.frame, other.p4) - local).abs().max() > 1e-2


def test_spurions_are_nodes_of_lloca() -> None:
    batch = double([20])
    net = trained(spurions=("beams", "time"))
    whole = framed(net, batch)
    marks = spurion_vectors(net.spurions, batch.p4)
    moved_marks = marks @ whole.boost[0].T
    nodes = torch.cat([moved_marks, whole.p4])
    theirs = reference(net.vectors.scalars).double()
    mine = [m for m in net.modules() if isinstance(m, nn.Linear)]
    layers = [m for m in theirs.equivectors.block.mlp.mlp if isinstance(m, nn.Linear)]
    for layer, other in zip(mine, layers, strict=True):
        other.load_state_dict(layer.state_dict(), strict=False)
    block = theirs.equivectors.block
    block.edge_mean, block.edge_std = net.vectors.mean, net.vectors.deviation
    block.edge_inited.fill_(True)

    def logarithm(first: Tensor, second: Tensor) -> Tensor:
        product = first[:, None, 0] * second[:, 0] - first[:, None, 1:].mul(second[:, 1:]).sum(-1)
        return 0.5 * product.log()

    own = torch.cat([logarithm(whole.p4, whole.jet[:1]), logarithm(batch.p4, marks)], dim=1)
    scalars = torch.zeros(23, 7, dtype=torch.float64)
    scalars[3:, :4], scalars[:3, 4:] = own, torch.eye(3, dtype=torch.float64)
    expected = theirs(nodes, scalars, ptr=torch.tensor([0, 23])).matrices[3:]
    torch.testing.assert_close(whole.frame, expected, rtol=1e-9, atol=1e-9)


def test_frames_do_not_depend_on_order_or_on_other_jets() -> None:
    net, batch = trained(), double(COUNTS)
    whole = framed(net, batch)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(batch.x.shape[0], generator=generator)
    order = order[batch.batch[order].argsort(stable=True)]
    other = framed(net, shuffled(batch))
    assert (other.frame - whole.frame[order]).abs().max() < 1e-10 * float(whole.frame.max())
    alone = framed(net, double([3]))
    assert alone.frame.shape == (3, 4, 4)


def test_the_standard_is_that_of_the_first_batch_in_training() -> None:
    net = EquivariantVectors(0)
    assert not net.seen
    batch, more = double([20, 30]), double([10], seed=1)

    def run(some: Batch) -> None:
        nothing = some.x[:, :0].float()
        assert net(some.p4, nothing, all_pairs(some.ptr), len(nothing)).isfinite().all()

    net.eval()
    run(batch)
    assert (float(net.mean), float(net.deviation), bool(net.seen)) == (0, 1, False)
    net.train()
    run(double([2]))  # two pairs of one mass, which have no spread
    run(double([1]))
    assert net.seen  # by the pairs
    net = EquivariantVectors(0)
    run(double([0, 1]))
    assert not net.seen
    run(batch)
    first, second = all_pairs(batch.ptr)
    edges = mass_squared(batch.p4[first] + batch.p4[second]).log()
    assert float(net.mean) == pytest.approx(float(edges.mean()), rel=1e-5)
    assert float(net.deviation) == pytest.approx(float(edges.std()), rel=1e-5)
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    run(more)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, kept[name], rtol=0, atol=0)


def test_memory_of_pairs_is_that_of_real_pairs() -> None:
    sizes: list[int] = []
    net = LocalFrames(0, hidden=16)
    net.vectors.rest.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    batch = double([100, *[2] * 50])
    framed(net.double(), batch)
    assert sizes == [100 * 99 + 50 * 2]


def test_settings_that_make_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="layers=0"):
        EquivariantVectors(1, layers=0)
    with pytest.raises(ValueError, match="no spurion 'beam'; nearest: beams"):
        LocalFrames(0, spurions=["beam"])
