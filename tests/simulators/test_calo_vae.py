"""CaloVAE: the bound that it learns, what its voxels are drawn from, and its stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions

import hepgen
from hepgen.calorimeter import Geometry, Layer, Showers
from hepgen.simulators import CaloVAE
from hepgen.simulators.calo_vae import normal_divergence
from hepgen.simulators.calo_vae_flow import ScaledFlow
from hepgen.simulators.calo_vae_hits import LayerHits
from hepgen.simulators.calo_vae_layers import (
    Decoder,
    Encoder,
    FromVoxels,
    LayerBlock,
    LayerLinear,
    ToVoxels,
)
from hepgen.simulators.calo_vae_voxels import VoxelMixture
from hepgen.simulators.preprocessing import Preprocessing
from tests.simulators.samples import IRREGULAR, REGULAR, made
from tests.simulators.sizes import SIZES

PRIORS = ("normal", "flow", "latent_flow")
SMALL = SIZES["CaloVAE"]
# The photons of the CaloChallenge's dataset 1: 368 voxels, layers of 8, 160, 190, 5 and 5.
DS1 = Geometry(
    (
        Layer((0, 5, 10, 30, 50, 100, 200, 400, 600), 1, 0),
        Layer((0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200), 10, 1),
        Layer((0, 2, *range(5, 31, 5), 40, 50, 60, 80, 100, 130, 160, *range(200, 401, 50)), 10, 2),
        Layer((0, 50, 100, 200, 400, 600), 1, 3),
        Layer((0, 100, 200, 400, 1000, 2000), 1, 12),
    ),
    "ds1 photons",
    threshold=1e-5,
)


def vae(showers: Showers, seed: int = 0, **arguments: object) -> CaloVAE:
    """Prepared, with weights that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        simulator = CaloVAE.of(showers, **{**SMALL, **arguments})
        simulator.prepare(showers)
        for parameter in simulator.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return simulator.eval()


def one_batch(simulator: CaloVAE, showers: Showers):
    return next(iter(simulator.batches(showers, batch_size=len(showers)).epoch(0)))


def fitted(showers: Showers, seed: int = 0, **arguments: object) -> CaloVAE:
    options = {k: arguments.pop(k) for k in ("epochs", "lr", "stages") if k in arguments}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        simulator = CaloVAE.of(showers, **{**SMALL, **arguments})
    simulator.fit(showers, batch_size=100, progress=False, **options)
    return simulator


def mixture_of_torch(voxels: VoxelMixture, parameters, layers, shower: int, voxel: int):
    """The probability of a hit and the density of the logarithm of a share, by torch."""
    split = voxels._split(parameters, layers)
    rate, log_weight, location, scale = (p.detach().double() for p in split)
    none = distributions.Poisson(rate[shower, voxel]).log_prob(torch.tensor(0.0)).exp()
    logistic = distributions.TransformedDistribution(
        distributions.Uniform(torch.zeros(2).double(), torch.ones(2).double()),
        [
            distributions.SigmoidTransform().inv,
            distributions.AffineTransform(location[:, shower, voxel], scale[:, shower, voxel]),
        ],
    )
    which = distributions.Categorical(logits=log_weight[:, shower, voxel])
    return 1 - float(none), which, logistic


def test_the_divergence_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(1)
    mean, log_variance = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    wanted = distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(normal_divergence(mean, log_variance), wanted)


def test_the_density_of_a_voxel_is_that_of_torch_distributions():
    showers = made(12)
    simulator = vae(showers)
    voxels = simulator.autoencoder.voxels
    batch = one_batch(simulator, showers)
    parameters = torch.randn(voxels.num_parameters, 12, REGULAR.num_voxels)
    shares, layers = voxels.shares(batch.voxels), voxels.preprocessing.sums(batch.voxels)
    found = voxels.log_prob(parameters, shares, layers)
    hits = voxels.preprocessing.spread(voxels.preprocessing.sums((shares > 0).float()))
    kinds = set()
    for shower, voxel in np.ndindex(12, REGULAR.num_voxels):
        layer = float(layers[shower, REGULAR.layer_of[voxel]])
        probability, which, each = mixture_of_torch(voxels, parameters, layers, shower, voxel)
        if layer == 0:
            wanted, kind = 0.0, "no energy"
        elif shares[shower, voxel] == 0:
            y = torch.tensor(math.log(REGULAR.threshold / layer)).double()
            below = float((which.probs * each.cdf(y)).sum())
            wanted, kind = math.log(1 - probability + probability * below), "empty"
        elif hits[shower, voxel] == 1:
            wanted, kind = math.log(probability), "alone"
        else:
            y = shares[shower, voxel].double().log()
            density = torch.logsumexp(which.logits + each.log_prob(y), 0)
            wanted, kind = math.log(probability) + float(density), "hit"
        kinds.add(kind)
        assert float(found[shower, voxel]) == pytest.approx(wanted, rel=1e-4, abs=1e-4), kind
    assert {"empty", "hit"} <= kinds


def test_voxels_are_drawn_from_their_density():
    # 20 000 draws of one voxel; Kolmogorov and Smirnov's test and 4 sigma of a binomial: a false
    # alarm in about 1e-4 of seeds.
    n = 20_000
    voxels = VoxelMixture(Preprocessing(REGULAR, logit=False))
    generator = torch.Generator().manual_seed(4)
    one = torch.randn(voxels.num_parameters, 1, REGULAR.num_voxels, generator=generator)
    # Shares far below 1, where they would end.
    one[3:5] -= 6
    one[5:] = 0.3 * one[5:] - 1
    parameters = one.expand(-1, n, -1)
    layers = torch.ones(n, REGULAR.num_layers)
    shares = voxels.draw(parameters, torch.rand(n, REGULAR.num_voxels, generator=generator), layers)
    first = range(int(REGULAR.starts[1]))
    of_torch = [mixture_of_torch(voxels, one, layers[:1], 0, voxel) for voxel in first]
    # Where no voxel of a layer is hit the nearest counts, which is rare.
    rare = math.prod(1 - p for p, _, _ in of_torch)
    assert rare < 1e-3
    for voxel, (p, which, each) in zip(first, of_torch, strict=True):
        hit = shares[:, voxel] > 0
        assert abs(hit.float().mean() - p) < 4 * math.sqrt(p * (1 - p) / n) + rare
        y = np.sort(shares[hit, voxel].double().log().numpy())
        cdf = each.cdf(torch.from_numpy(y)[:, None]) @ which.probs
        difference = np.abs(cdf.numpy() - np.arange(len(y)) / len(y)).max()
        assert stats.kstwo.sf(difference, len(y)) > 1e-5


def test_some_voxel_of_each_layer_is_drawn_however_improbable():
    voxels = VoxelMixture(Preprocessing(IRREGULAR, logit=False))
    parameters = torch.zeros(voxels.num_parameters, 200, IRREGULAR.num_voxels)
    parameters[0] = -9
    uniform = torch.rand(200, IRREGULAR.num_voxels, generator=torch.Generator().manual_seed(0))
    shares = voxels.draw(parameters, uniform, torch.ones(200, 3))
    assert (voxels.preprocessing.sums((shares > 0).float()) >= 1).all()
    # Voxels as likely as each other are that one as often: 15 of layer 1, 5 sigma of a binomial.
    often = (shares[:, 2:17] > 0).float().mean(0)
    assert (often - 1 / 15).abs().max() < 5 * math.sqrt(1 / 15 / 200)


def test_layers_with_energy_have_probabilities_and_are_drawn_with_them():
    torch.manual_seed(2)
    hits = LayerHits(4, 1, hidden=8)
    for parameter in hits.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    patterns = torch.tensor([[float(i >> k & 1) for k in range(4)] for i in range(16)])
    context = torch.full((16, 1), 0.3)
    with torch.no_grad():
        probability = hits.log_prob(patterns, context).exp()
        assert float(probability.sum()) == pytest.approx(1, abs=1e-5)
        assert not torch.allclose(probability, hits.log_prob(patterns, -context).exp())
        drawn = hits.draw(torch.rand(20_000, 4), torch.full((20_000, 1), 0.3))
    counts = torch.bincount((drawn @ torch.tensor([1.0, 2.0, 4.0, 8.0])).long(), minlength=16)
    # A false alarm in 1e-4 of seeds.
    expected = probability.double() / probability.double().sum() * 20_000
    assert stats.chisquare(counts.double().numpy(), expected.numpy()).pvalue > 1e-4
    hits.fit(patterns[:12] > 0)
    torch.testing.assert_close(torch.sigmoid(hits.usual[3]), torch.tensor(4.5 / 13))


def test_a_scaled_flow_has_the_density_of_its_points():
    torch.manual_seed(0)
    flow = ScaledFlow(3, 2, hidden=8, num_transforms=None).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    noise, context = torch.randn(1, 3).double(), torch.randn(1, 2).double()
    jacobian = torch.autograd.functional.jacobian(lambda n: flow(n, context)[0], noise)[:, 0]
    base = distributions.Normal(0.0, 1.0).log_prob(noise).sum()
    wanted = base - torch.linalg.slogdet(jacobian).logabsdet
    found = flow.log_prob(flow(noise, context), context)[0]
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_loss_is_the_bound(prior):
    showers = made(50)
    simulator = vae(showers, prior=prior, beta=0.7)
    batch = one_batch(simulator, showers)
    autoencoder, voxels = simulator.autoencoder, simulator.autoencoder.voxels
    torch.manual_seed(3)
    found = simulator.loss(batch)
    torch.manual_seed(3)
    if prior != "latent_flow":
        u, hit = autoencoder.ratios(batch)
    mean, log_variance, shares, layers, told = autoencoder.encode(batch)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    parameters = autoencoder.decoder(z, told, batch.context)
    likelihood = voxels.log_prob(parameters, shares, layers).sum(1)
    divergence = distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).sum(1)
    if prior == "flow":
        context = torch.cat([batch.context, u], dim=1)
        divergence = q.log_prob(z).sum(1) - simulator.latents.log_prob(z, context)
    wanted = 0.7 * divergence - likelihood
    energies = simulator.energies
    if prior == "latent_flow":
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        energies = simulator.joint.energies
        u, hit = autoencoder.ratios(batch)
        u = torch.cat([u, z], dim=1)
    context = torch.cat([batch.context, hit], dim=1)
    of_hits = energies.hits.log_prob(hit, batch.context)
    wanted = wanted - energies.flow.log_prob(u, context) - of_hits
    torch.testing.assert_close(found, wanted.mean(), rtol=1e-5, atol=1e-4)


def test_weights_of_showers_count():
    showers = made(40)
    simulator = vae(showers)
    losses = []
    for weight in (None, np.full(40, 2.0)):
        weighted = Showers(REGULAR, showers.incident_energy, showers.voxels, weight=weight)
        torch.manual_seed(0)
        losses.append(simulator.loss(one_batch(simulator, weighted)).item())
    assert losses[1] == pytest.approx(2 * losses[0], rel=1e-5)


def test_the_divergence_is_warmed_up_and_counts_whole_in_validation():
    showers = made(100)
    simulator = vae(showers, warmup=4, beta=2.0)
    batch = one_batch(simulator, showers)
    seen = []
    simulator.train()
    for _ in range(6):
        seen.append(float(simulator.autoencoder.beta))
        simulator.loss(batch)
    assert seen == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    assert int(simulator.autoencoder.step) == 6
    simulator.eval()
    simulator.autoencoder.step.zero_()
    assert float(simulator.autoencoder.beta) == 2.0
    simulator.loss(batch)
    assert int(simulator.autoencoder.step) == 0


@pytest.mark.parametrize("prior", ["normal", "latent_flow"])
def test_a_run_that_was_stopped_in_the_warmup_ends_with_the_same_bits(prior, tmp_path, monkeypatch):
    showers = made(200)
    options = {"epochs": 4, "batch_size": 50, "progress": False, "checkpoint_steps": 1}

    def new() -> CaloVAE:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return CaloVAE.of(showers, **{**SMALL, "prior": prior, "warmup": 12})

    whole = new()
    whole.fit(showers, **options)
    kind = type(whole.autoencoder)
    terms, calls = kind.terms, []

    def stopping(self, batch):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return terms(self, batch)

    monkeypatch.setattr(kind, "terms", stopping)
    with pytest.raises(KeyboardInterrupt):
        new().fit(showers, output=tmp_path / "run", **options)
    again = new()
    again.fit(showers, output=tmp_path / "run", **options)
    assert whole.autoencoder.step > 0
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


@pytest.mark.parametrize("prior", PRIORS)
def test_noise_decides_the_shower_and_generate_draws_it(prior):
    showers = made(60)
    simulator = vae(showers, prior=prior)
    energy = torch.linspace(2, 50, 9)
    context = torch.from_numpy(simulator.conditions.encode(energy.numpy()))
    noise = torch.randn(9, simulator.noise_width, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        first = simulator.from_noise(noise, energy, context)
        torch.rand(3)
        assert torch.equal(simulator.from_noise(noise, energy, context), first)
        drawn = simulator.generate(energy, context, torch.Generator().manual_seed(5))
        assert torch.equal(drawn, first)
        other = simulator.from_noise(noise.flip(0), energy, context)
        assert not torch.equal(other, first)
        layers = simulator.preprocessing.sums(first)
    assert simulator.noise_width == 2 * 4 + SMALL["latent"] + REGULAR.num_voxels
    assert (layers.sum(1) > 0).all()


def test_layers_get_the_energies_that_the_flow_drew():
    simulator = vae(made(60))
    energy = torch.linspace(2, 50, 64)
    context = torch.from_numpy(simulator.conditions.encode(energy.numpy()))
    noise = torch.randn(64, simulator.noise_width, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        uniform = distributions.Normal(0.0, 1.0).cdf(noise[:, :4])
        hit, u = simulator.energies(uniform, noise[:, 4:8], context)
        wanted = simulator.preprocessing.layers(u, energy) * hit
        voxels = simulator.from_noise(noise, energy, context)
    torch.testing.assert_close(simulator.preprocessing.sums(voxels), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_a_seed_gives_the_same_showers_after_saving(prior, tmp_path):
    showers = made(100)
    simulator = fitted(showers, prior=prior, epochs=1)
    simulator.save(tmp_path / "model.safetensors")
    again = hepgen.load(tmp_path / "model.safetensors")
    assert again.config() == simulator.config()
    assert int(again.autoencoder.step) == int(simulator.autoencoder.step) > 0
    for seed in (0, 1):
        here, there = simulator.sample(20, 10.0, seed=seed), again.sample(20, 10.0, seed=seed)
        np.testing.assert_array_equal(there.voxels, here.voxels)
    assert not np.array_equal(simulator.sample(20, 10.0, seed=2).voxels, here.voxels)


def test_stages_are_as_the_prior_wants():
    showers = made(20)
    assert list(CaloVAE.of(showers, **SMALL).stages()) == ["vae"]
    assert list(CaloVAE.of(showers, **SMALL, prior="flow").stages()) == ["vae"]
    stages = CaloVAE.of(showers, **SMALL, prior="latent_flow").stages()
    assert list(stages) == ["vae", "latent"]
    own = [id(p) for module in stages.values() for p in module.parameters()]
    assert len(set(own)) == len(own)


@pytest.mark.slow
def test_energy_angle_and_kind_change_the_response():
    showers = made(2000, conditions=True)
    simulator = fitted(showers, epochs=20, lr=5e-3)
    means = {}
    for pdg, theta in ((11, 0.05), (22, 0.05), (11, 0.45)):
        conditions = {"pdg": pdg, "theta": theta}
        means[pdg, theta] = simulator.sample(1000, 30.0, conditions=conditions).response.mean()
    # The sample has factors of 0.7, and (1 - 0.3 * 0.45) / (1 - 0.3 * 0.05) = 0.878; 0.9 (1 - ...)
    # itself. 1000 showers know the mean to 0.1 %; what was learnt is good to some per cent.
    assert means[11, 0.05] == pytest.approx(0.9 * 0.985, rel=0.04)
    assert means[22, 0.05] / means[11, 0.05] == pytest.approx(0.7, rel=0.06)
    assert means[11, 0.45] / means[11, 0.05] == pytest.approx(0.878, rel=0.06)
    conditions = {"pdg": 11, "theta": 0.25}
    depth = [
        (found.layer_energies @ np.arange(4) / found.total_energy).mean()
        for found in (simulator.sample(500, e, conditions=conditions) for e in (3.0, 60.0))
    ]
    assert depth[1] > depth[0] + 0.3


@pytest.mark.slow
def test_empty_voxels_are_as_many_as_in_the_sample():
    showers = made(2000, low=20.0, high=40.0)
    found = fitted(showers, epochs=25, lr=5e-3).sample(incident_energy=showers.incident_energy)
    here, there = (found.voxels > 0).mean(0), (showers.voxels > 0).mean(0)
    # 5 sigma of 2000 showers on each side are 0.07 for one of 48 voxels, 0.03 for a layer of 12.
    assert np.abs(here - there).max() < 0.08
    assert np.abs((here - there).reshape(4, 12).mean(1)).max() < 0.03
    assert found.response.mean() == pytest.approx(showers.response.mean(), rel=0.02)


@pytest.mark.parametrize("geometry", [REGULAR, DS1], ids=str)
def test_each_layer_has_a_map_of_its_own_voxels(geometry):
    torch.manual_seed(0)
    read, write = FromVoxels(geometry, 2, 6), ToVoxels(geometry, 6, 3)
    x = torch.randn(2, 5, geometry.num_voxels)
    hidden = read(x)
    assert hidden.shape == (geometry.num_layers, 5, 6)
    back = write(hidden)
    assert back.shape == (3, 5, geometry.num_voxels)
    for layer in range(geometry.num_layers):
        for group, members in enumerate(read.members):
            if layer not in members:
                continue
            at = members.index(layer)
            part = slice(geometry.starts[layer], geometry.starts[layer + 1])
            weight = read.maps[group].weight[at]
            wanted = torch.cat([x[0, :, part], x[1, :, part]], dim=1) @ weight
            torch.testing.assert_close(hidden[layer], wanted + read.maps[group].bias[at])
            out = hidden[layer] @ write.maps[group].weight[at] + write.maps[group].bias[at]
            wanted = out.view(5, 3, -1).transpose(0, 1)
            torch.testing.assert_close(back[:, :, part], wanted)


def test_a_layer_sees_itself_and_its_neighbours():
    torch.manual_seed(0)
    block = LayerBlock(7, 4, 2, neighbours=2)
    x = torch.randn(7, 3, 4, requires_grad=True)
    block(x, torch.randn(7, 3, 2))[3].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((1, 2)) > 0
    assert seen.tolist() == [False, True, True, True, True, True, False]
    assert LayerLinear(7, 4, 5)(x).shape == (7, 3, 5)


def test_layers_of_a_real_detector_are_learnt():
    showers = made(600, DS1)
    simulator = fitted(showers, epochs=12, lr=5e-3)
    found = simulator.sample(600)
    assert found.voxels.shape == (600, 368)
    here, there = found.layer_energies.mean(0), showers.layer_energies.mean(0)
    np.testing.assert_allclose(here, there, rtol=0.2)
    sizes = (1, 4, 8, 16, 1)
    encoder, decoder = Encoder(DS1, *sizes), Decoder(DS1, *sizes, 7)
    told, context = torch.zeros(5, 3, 2), torch.zeros(3, 1)
    mean, log_variance = encoder(torch.zeros(2, 3, 368), told, context)
    assert mean.shape == log_variance.shape == (3, 4)
    assert decoder(mean, told, context).shape == (7, 3, 368)


@pytest.mark.parametrize("prior", PRIORS)
def test_showers_without_energy_do_no_harm(prior):
    showers = made(64)
    voxels = showers.voxels.copy()
    voxels[:30] = 0
    voxels[30:40, 1:] = 0
    empty = Showers(REGULAR, showers.incident_energy, voxels)
    simulator = fitted(empty, prior=prior, epochs=1)
    loss = simulator.train().loss(one_batch(simulator, empty))
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in simulator.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    assert np.isfinite(simulator.sample(32).voxels).all()
    all_empty = Showers(REGULAR, showers.incident_energy, np.zeros_like(voxels))
    simulator = fitted(all_empty, prior=prior, epochs=1)
    assert simulator.sample(32).response.mean() < 0.01


@pytest.mark.slow
def test_a_flow_of_the_latent_numbers_is_nearer_to_them_than_their_prior():
    showers = made(4000)
    # With so small a weight of the divergence latent numbers are far from standard normal.
    simulator = fitted(
        showers[:3000], prior="latent_flow", beta=0.02, epochs=12, lr=3e-3, latent=6, warmup=10
    )
    rest = showers[3000:]
    batch = one_batch(simulator, rest)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        mean, log_variance, *_ = simulator.autoencoder.encode(batch)
        true = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(1000, 4 + 6, generator=generator)
        uniform = torch.rand(1000, 4, generator=generator)
        of_flow = simulator.joint.energies(uniform, noise, batch.context)[1][:, 4:]
    of_prior = torch.randn(1000, 6, generator=generator)
    axes = torch.nn.functional.normalize(torch.randn(6, 30, generator=generator), dim=0)
    distance = {
        name: np.mean(
            [
                stats.ks_2samp(*pair).statistic
                for pair in zip((true @ axes).T.numpy(), (z @ axes).T.numpy(), strict=True)
            ]
        )
        for name, z in {"flow": of_flow, "prior": of_prior}.items()
    }
    # Two samples of 1000 of one distribution are 0.039 apart.
    assert distance["flow"] < 0.06
    assert distance["flow"] < 0.5 * distance["prior"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"prior": "gaussian"}, "the priors are normal, flow and latent_flow"),
        ({"beta": -1.0}, "beta=-1.0"),
        ({"latent": 0}, "at least 1"),
        ({"components": 0}, "components=0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        CaloVAE.of(made(12), **{**SMALL, **arguments})
