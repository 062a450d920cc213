"""Averages, frozen and faster parts, flat minima, and optimisers from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hepgen.training import fit
from hepgen.training.average import Average
from hepgen.training.optimizers import make_optimizer
from hepgen.training.parameters import find_frozen, freezing, rate_factors, stop_statistics
from hepgen.training.sharpness import back_and_step, uphill
from tests import small_training as small


def make_net(seed: int = 0) -> small.Net:
    torch.manual_seed(seed)
    return small.Net().double()


def batches(number: int = 6) -> list[dict[str, Tensor]]:
    jets = small.jets(number * 32, seed=1)
    cut = [{k: v[i * 32 : (i + 1) * 32] for k, v in jets.items()} for i in range(number)]
    return [{k: v.double() if v.is_floating_point() else v for k, v in b.items()} for b in cut]


def without_dropout(net: small.Net) -> small.Net:
    net.layers[3].p = 0.0
    return net


def plain(net: nn.Module, data: Any, **options: Any) -> None:
    fit(net, InOrder(data), schedule="constant", weight_decay=0.0, progress=False, **options)


class InOrder:
    """A source that does not shuffle, and may be interrupted once."""

    def __init__(self, batches: list[Any], stop: tuple[int, int] | None = None) -> None:
        self.batches, self.stop = batches, stop

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        for i in range(start, len(self.batches)):
            if self.stop == (epoch, i):
                raise KeyboardInterrupt
            yield self.batches[i]


class TestRanger:
    @pytest.mark.filterwarnings("ignore")
    def test_its_steps_are_those_of_weaver(self) -> None:
        weaver = pytest.importorskip("weaver.utils.nn.optimizer.ranger")
        ours, theirs = (without_dropout(make_net()) for _ in range(2))
        peer = weaver.Ranger(theirs.parameters(), lr=1e-2, weight_decay=0.01)
        mine = make_optimizer("ranger", ours, lr=1e-2, weight_decay=0.01)
        for batch in batches(40):
            for net, optimizer in ((ours, mine), (theirs, peer)):
                optimizer.zero_grad()
                net.loss(batch).backward()
                optimizer.step()
        # weaver keeps a constant of its step in single precision.
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-6)


class TestLion:
    def test_its_steps_are_those_of_the_paper(self) -> None:
        net, data = without_dropout(make_net()), batches(5)
        expected = {n: p.detach().clone() for n, p in net.named_parameters()}
        momentum = {n: torch.zeros_like(p) for n, p in net.named_parameters()}
        optimizer = make_optimizer("lion", net, lr=1e-2, weight_decay=0.1)
        for batch in data:
            optimizer.zero_grad()
            net.loss(batch).backward()
            for name, p in net.named_parameters():
                m, gradient = momentum[name], p.grad
                direction = (0.9 * m + 0.1 * gradient).sign()
                expected[name] -= 1e-2 * (direction + 0.1 * expected[name])
                momentum[name] = 0.99 * m + 0.01 * gradient
            optimizer.step()
        torch.testing.assert_close(dict(net.named_parameters()), expected, rtol=1e-9, atol=1e-12)


class TestSharpness:
    def test_a_step_goes_along_the_gradient_uphill(self) -> None:
        ours, slow, data = (*(without_dropout(make_net()) for _ in range(2)), batches(5))
        plain(ours, data, epochs=1, lr=0.05, optimizer="sgd", sharpness=0.1)
        peer = torch.optim.SGD(slow.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        for batch in data:
            before = {n: t.clone() for n, t in slow.state_dict().items()}
            peer.zero_grad()
            slow.loss(batch).backward()
            gradients = {n: p.grad.clone() for n, p in slow.named_parameters()}
            statistics = {n: t.clone() for n, t in slow.named_buffers()}
            length = torch.cat([g.flatten() for g in gradients.values()]).norm()
            with torch.no_grad():
                for n, p in slow.named_parameters():
                    p += 0.1 * gradients[n] / length
            peer.zero_grad()
            slow.loss(batch).backward()
            slow.load_state_dict({**before, **statistics})
            peer.step()
        # The package takes the length of the gradient in single precision.
        torch.testing.assert_close(ours.state_dict(), slow.state_dict(), rtol=1e-5, atol=1e-7)

    def test_gradients_of_several_batches_are_averaged_in_both_passes(self) -> None:
        one, two = (without_dropout(make_net()) for _ in range(2))
        for net in (one, two):
            net.layers[1] = nn.Identity()  # a batch norm sees batches, not their union
        data = batches(4)
        joined = [{k: torch.cat([data[i][k], data[i + 1][k]]) for k in data[0]} for i in (0, 2)]
        options = {"epochs": 1, "lr": 0.05, "optimizer": "sgd", "sharpness": 0.1}
        plain(one, data, accumulate=2, **options)
        plain(two, joined, **options)
        torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=1e-6, atol=1e-9)

    def test_running_means_see_each_batch_once(self) -> None:
        net, batch = make_net(), batches(1)[0]
        optimizer = make_optimizer("sgd", net, lr=0.1, weight_decay=0.0, sharpness=0.1)
        net.loss(batch).backward()
        seen = {n: t.clone() for n, t in net.named_buffers()}
        weights = {n: t.detach().clone() for n, t in net.named_parameters()}
        with uphill(optimizer, net):
            assert not torch.equal(net.layers[0].weight, weights["layers.0.weight"])
            net.loss(batch).backward()
        torch.testing.assert_close(dict(net.named_buffers()), seen, rtol=0, atol=0)
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        back_and_step(optimizer)
        torch.testing.assert_close(dict(net.named_parameters()), weights, rtol=0, atol=0)
        assert net.layers[1].momentum == 0.1

    @pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
    def test_it_needs_an_optimizer_by_name_and_no_scaler(self) -> None:
        net, own = make_net(), lambda m: torch.optim.SGD(m.parameters())
        with pytest.raises(ValueError, match="sharpness goes with an optimizer by name"):
            plain(net, batches(), optimizer=own, sharpness=0.05)
        with pytest.raises(ValueError, match="sharpness does not go with 16-mixed"):
            plain(net, batches(), sharpness=0.05, precision="16-mixed")
        with pytest.raises(ValueError, match="sharpness=-1: wanted a number above 0"):
            plain(net, batches(), sharpness=-1)


class TestAverage:
    def test_it_is_the_average_over_the_steps_of_a_bare_loop(self) -> None:
        net, data = without_dropout(make_net()), batches()
        averaged = without_dropout(make_net())

        def mix(average: Tensor, new: Tensor, step: int) -> Tensor:
            decay = min(0.9, (1 + step) / (10 + step))
            return decay * average + (1 - decay) * new

        mean = {n: p.detach().clone() for n, p in averaged.named_parameters()}
        optimizer = torch.optim.SGD(averaged.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        for step, batch in enumerate(data, start=1):
            optimizer.zero_grad()
            averaged.loss(batch).backward()
            optimizer.step()
            for name, p in averaged.named_parameters():
                mean[name] = mix(mean[name], p.detach(), step)
        plain(net, data, epochs=1, lr=0.05, optimizer="sgd", ema=0.9)
        torch.testing.assert_close(dict(net.named_parameters()), mean, rtol=1e-9, atol=1e-12)

    def test_the_training_goes_on_beside_it(self) -> None:
        # Three epochs with validation, which looks at the average: the own weights must come back.
        data, once, twice = batches(), make_net(), make_net()
        plain(once, data, epochs=3, ema=0.9)
        plain(twice, data, epochs=3, ema=0.9, validation=InOrder(data))
        history = []
        for net in (once, twice):
            net.eval()
            history.append(float(sum(net.loss(batch).detach() for batch in data)))
        assert history[0] == pytest.approx(history[1], rel=1e-9)

    def test_the_validation_loss_is_that_of_the_average(self) -> None:
        net, data = make_net(), batches()
        history = fit(
            net, InOrder(data), validation=InOrder(data), epochs=2, ema=0.99, progress=False
        )
        mean = sum(float(net.loss(batch).detach()) for batch in data) / len(data)
        assert mean == pytest.approx(min(row["validation_loss"] for row in history), rel=1e-9)

    @pytest.mark.parametrize("stop", [(0, 3), (1, 0), (2, 5)])
    @pytest.mark.parametrize("options", [{"ema": 0.9}, {"optimizer": "ranger"}, {"sharpness": 0.1}])
    def test_a_run_that_was_stopped_ends_with_the_same_bits(
        self, tmp_path: Path, stop: tuple[int, int], options: dict[str, Any]
    ) -> None:
        data, whole, parts = batches(), make_net(), make_net()
        common = {"epochs": 3, "validation": InOrder(data), "progress": False, **options}
        fit(whole, InOrder(data), **common)
        common |= {"output": tmp_path / "run", "checkpoint_steps": 1}
        with pytest.raises(KeyboardInterrupt):
            fit(parts, InOrder(data, stop), **common)
        again = make_net()
        fit(again, InOrder(data), **common)
        torch.testing.assert_close(again.state_dict(), whole.state_dict(), rtol=0, atol=0)

    def test_whole_numbers_are_copied_and_own_weights_put_aside(self) -> None:
        net = make_net()
        average = Average(net, 0.5)
        net.loss(batches(1)[0])
        with torch.no_grad():
            net.layers[0].weight += 1
        own = {n: t.clone() for n, t in net.state_dict().items()}
        average.update(net, 100)
        assert average.weights["layers.1.num_batches_tracked"] == 1
        expected = own["layers.0.weight"] - 0.5
        torch.testing.assert_close(average.weights["layers.0.weight"], expected)
        with average.inside(net):
            torch.testing.assert_close(net.state_dict(), average.weights, rtol=0, atol=0)
            torch.testing.assert_close(average.aside, own, rtol=0, atol=0)
        torch.testing.assert_close(net.state_dict(), own, rtol=0, atol=0)
        other = Average(net, 0.5)
        other.load(average.weights)
        torch.testing.assert_close(other.weights, average.weights, rtol=0, atol=0)

    def test_its_decay_is_between_0_and_1(self) -> None:
        with pytest.raises(ValueError, match=r"ema=1\.5: wanted a number between 0 and 1"):
            plain(make_net(), batches(), ema=1.5)


class TestFreezing:
    def test_what_is_frozen_keeps_its_weights_and_running_means(self) -> None:
        net, data = make_net(), batches()
        before = {n: t.clone() for n, t in net.state_dict().items()}
        plain(net, data, epochs=2, lr=0.01, freeze=["layers.0", "layers.1.*"])
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, before[name]) == (not name.startswith("layers.4")), name
        assert all(p.requires_grad for p in net.parameters())

    def test_a_norm_of_which_a_part_is_trained_sees_the_batches(self) -> None:
        net = make_net().train()
        stop_statistics(net, find_frozen(net, ["layers.1.weight"]))
        assert net.layers[1].training
        stop_statistics(net, find_frozen(net, ["layers.1.*"]))
        assert not net.layers[1].training

    def test_gradients_come_back_even_after_an_error(self) -> None:
        net = make_net()
        with freezing(net, find_frozen(net, ["*"])):
            assert not any(p.requires_grad for p in net.parameters())
        assert all(p.requires_grad for p in net.parameters())
        with pytest.raises(KeyboardInterrupt):
            fit(net, InOrder(batches(), (0, 2)), freeze=["layers.0"], progress=False)
        assert all(p.requires_grad for p in net.parameters())

    def test_a_pattern_that_fits_nothing_is_named_with_the_nearest(self) -> None:
        with pytest.raises(ValueError, match=r"freeze: no parameter fits 'layer\.4'; nearest: lay"):
            plain(make_net(), batches(), freeze=["layer.4"])
        with pytest.raises(ValueError, match=r"such as \['layers'\]"):
            plain(make_net(), batches(), freeze="layers")
        with pytest.raises(ValueError, match="requires a gradient; is all frozen"):
            plain(make_net(), batches(), freeze=["*"])


class TestRates:
    def test_a_new_head_learns_faster(self) -> None:
        net = make_net()
        factors = {"layers.4.weight": 10, "layers.4": 50.0, "layers.1.*": 0.5}
        optimizer = make_optimizer("adamw", net, lr=0.1, weight_decay=0.0, lr_factors=factors)
        rates = {id(p): g["initial_lr"] for g in optimizer.param_groups for p in g["params"]}
        got = {n: rates[id(p)] for n, p in net.named_parameters()}
        assert got == pytest.approx(
            {
                "layers.0.weight": 0.1,
                "layers.0.bias": 0.1,
                "layers.1.weight": 0.05,
                "layers.1.bias": 0.05,
                "layers.4.weight": 1.0,
                "layers.4.bias": 5.0,
            }
        )

    def test_the_fit_moves_it_by_its_own_rate(self) -> None:
        net, data = make_net(), batches(1)
        before = {n: p.detach().clone() for n, p in net.named_parameters()}
        plain(net, data, epochs=1, lr=1e-3, optimizer="lion", lr_factors={"layers.4": 7.0})
        moved = {n: float((p.detach() - before[n]).abs().max()) for n, p in net.named_parameters()}
        assert moved["layers.0.weight"] == pytest.approx(1e-3)
        assert moved["layers.4.weight"] == pytest.approx(7e-3)

    def test_bad_factors_are_named(self) -> None:
        assert rate_factors(["a", "b"], {"b": 2.0}) == {1.0: ["a"], 2.0: ["b"]}
        with pytest.raises(ValueError, match=r"lr_factors: no parameter fits 'head\*'; nearest:"):
            plain(make_net(), batches(), lr_factors={"head*": 2.0})
        with pytest.raises(ValueError, match=r"'layers\.4' has 0; wanted a number above 0"):
            plain(make_net(), batches(), lr_factors={"layers.4": 0})
        options = {"optimizer": lambda m: torch.optim.SGD(m.parameters()), "lr_factors": {"*": 2}}
        with pytest.raises(ValueError, match="lr_factors goes with an optimizer by name"):
            plain(make_net(), batches(), **options)
