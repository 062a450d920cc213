"""Weights and data configurations of other programs, against these programs."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import hepgen
from hepgen import checkpoint, cli
from hepgen.checkpoint import CheckpointError
from hepgen.data import Features
from hepgen.foreign import from_lorentz_net, from_weaver, read_weights
from hepgen.io.errors import InputError, MissingName, SchemaError
from hepgen.loading import load
from hepgen.taggers import LorentzNet, ParticleNet, ParticleTransformer
from tests.taggers.jets import make, one

CONFIGS = "weaver_configs/particle_transformer"
JETS = "root/sophon_JetClassII_example.root"
TEN = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]


def padded_by_weaver(config: Path, file: Path, folder: Path) -> dict[str, Tensor]:
    """The inputs of all jets of a file after weaver's own loader, (B, F, P)."""
    from weaver.utils.dataset import SimpleIterDataset

    logging.disable(logging.INFO)
    options = yaml.safe_load(config.read_text())
    labels = {"type": "simple", "value": ["jet_pt>0", "jet_pt<=0"]}
    options |= {"observers": None, "selection": None, "labels": labels}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    files = {"a": [str(file)]}
    loader = SimpleIterDataset(files, str(path), for_training=False, fetch_step=1, async_load=False)
    items = [item[0] for item in loader]
    return {name: torch.from_numpy(np.stack([i[name] for i in items])) for name in items[0]}


@pytest.mark.filterwarnings("ignore")
class TestWeaver:
    def test_the_public_particle_net_scores_files_as_weaver_does(
        self, real_data: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("weaver", reason="needs weaver-core: pip install 'hepgen[bench]'")
        from tests.taggers.weaver_net import WeaverParticleNet

        config = real_data / CONFIGS / "JetClass/JetClass_kin.yaml"
        weights = real_data / "weights/ParticleNet_kin.pt"
        tagger = hepgen.load(weights, like="weaver", config=config)
        assert isinstance(tagger, ParticleNet)
        assert tagger.classes == tuple(TEN)
        theirs = WeaverParticleNet(7, 10)
        theirs.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        inputs = padded_by_weaver(config, real_data / JETS, tmp_path)
        with torch.no_grad():
            logits = theirs.mod.eval()(
                inputs["pf_points"], inputs["pf_features"], inputs["pf_mask"].bool()
            )
        got = tagger.predict(hepgen.read(real_data / JETS))
        np.testing.assert_allclose(got, logits.softmax(1).numpy(), rtol=0, atol=1e-5)
        # And back from hepgen's own file.
        tagger.save(tmp_path / "model.safetensors")
        again = hepgen.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(again.predict(hepgen.read(real_data / JETS)), got)

    @pytest.mark.parametrize("prefix", ["", "mod.", "module.mod."])
    def test_a_particle_transformer_scores_files_as_weaver_does(
        self, real_data: Path, tmp_path: Path, prefix: str
    ) -> None:
        pytest.importorskip("weaver", reason="needs weaver-core: pip install 'hepgen[bench]'")
        from weaver.nn.model.ParticleTransformer import ParticleTransformer as Theirs

        from tests.taggers.weaver_net import randomise

        torch.manual_seed(0)
        theirs = Theirs(
            input_dim=17,
            num_classes=10,
            num_layers=2,
            embed_dims=(24, 48, 32),
            pair_embed_dims=(16, 12),
            pair_input_dim=4,
            use_pre_activation_pair=False,
            trim=False,
        ).eval()
        state = {f"{prefix}{n}": t for n, t in randomise(theirs).items()}
        torch.save(state, tmp_path / "part.pt")
        config = real_data / CONFIGS / "JetClass/JetClass_full.yaml"
        tagger = hepgen.load(
            tmp_path / "part.pt", like="weaver", config=config, head_transpose=False
        )
        assert isinstance(tagger, ParticleTransformer)
        assert tagger.embed_channels == (24, 48, 32)
        inputs = padded_by_weaver(config, real_data / JETS, tmp_path)
        with torch.no_grad():
            logits = theirs(
                inputs["pf_features"], v=inputs["pf_vectors"], mask=inputs["pf_mask"].bool()
            )
        got = tagger.predict(hepgen.read(real_data / JETS))
        np.testing.assert_allclose(got, logits.softmax(1).numpy(), rtol=0, atol=1e-5)

    def test_what_the_weights_do_not_tell_is_warned_of(
        self, real_data: Path, tmp_path: Path
    ) -> None:
        old = ParticleTransformer(Features("kinematics"), TEN, (16, 16), (8,), 4, 1, 1)
        torch.save(old.state_dict(), tmp_path / "part.pt")
        config = real_data / CONFIGS / "JetClass/JetClass_kin.yaml"
        state = {n: t[..., None] if _kernel(n, t) else t for n, t in old.state_dict().items()}
        torch.save(state, tmp_path / "part.pt")
        with pytest.warns(UserWarning, match=r"head_transpose=True is taken.*up to 0\.4\.17"):
            tagger = from_weaver(tmp_path / "part.pt", config)
        assert tagger.head_transpose is True
        assert tagger.heads == 4

    def test_weights_and_configuration_that_do_not_fit_are_told(
        self, real_data: Path, tmp_path: Path
    ) -> None:
        weights = real_data / "weights/ParticleNet_kin.pt"
        folder = real_data / CONFIGS
        with pytest.raises(SchemaError, match=r"trained on 7 features; .*kinpid\.yaml has 13"):
            load(weights, like="weaver", config=folder / "JetClass/JetClass_kinpid.yaml")
        with pytest.raises(SchemaError, match=r"has 10 outputs; .*qg_kin\.yaml names 2 classes"):
            load(weights, like="weaver", config=folder / "QuarkGluon/qg_kin.yaml")
        with pytest.raises(InputError, match="need config=, the YAML"):
            load(weights, like="weaver")
        with pytest.raises(MissingName, match="nearest: weaver"):
            load(weights, like="weever")
        with pytest.raises(InputError, match=r"config goes with weights of other programs"):
            load("model.safetensors", config="x.yaml")

    def test_the_command_line_converts(
        self, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["convert", str(real_data / "weights/ParticleNet_kin.pt"), "--like", "weaver"]
        words += ["--config", str(real_data / CONFIGS / "JetClass/JetClass_kin.yaml")]
        assert cli.main([*words, "-o", str(tmp_path / "model.safetensors")]) == 0
        assert checkpoint.load(tmp_path / "model.safetensors").classes == tuple(TEN)
        assert str(tmp_path / "model.safetensors") in capsys.readouterr().out
        words += ["-o", str(tmp_path / "light.safetensors"), "--arguments", '{"k": 7}']
        assert cli.main(words) == 0
        assert checkpoint.load(tmp_path / "light.safetensors").k == 7
        capsys.readouterr()
        for arguments, told in (
            ('{"kk": 7}', "no argument 'kk' in ParticleNet; nearest: k"),
            ('{"k": "seven"}', "WrongType: ParticleNet cannot have"),
        ):
            assert cli.main([*words, "--arguments", arguments]) == 1
            assert told in capsys.readouterr().err
        assert cli.main([*words, "-o", str(tmp_path / "none" / "a.safetensors")]) == 1
        assert "FileNotFoundError" in capsys.readouterr().err

    def test_the_command_line_takes_names_of_branches(
        self, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = (real_data / CONFIGS / "JetClass/JetClass_kin.yaml").read_text()
        (tmp_path / "own.yaml").write_text(text.replace("part_energy", "cand_e"))
        words = ["convert", str(real_data / "weights/ParticleNet_kin.pt"), "--like", "weaver"]
        words += ["--config", str(tmp_path / "own.yaml"), "-o", str(tmp_path / "a.safetensors")]
        assert cli.main(words) == 1
        assert "give names={branch: field}" in capsys.readouterr().err
        assert cli.main([*words, "--names", '{"cand_e": "energy"}']) == 0
        assert "log_energy" in checkpoint.load(tmp_path / "a.safetensors").features.names

    def test_weights_without_a_last_layer_and_a_forgotten_like_are_told(
        self, real_data: Path, tmp_path: Path
    ) -> None:
        weights = real_data / "weights/ParticleNet_kin.pt"
        config = real_data / CONFIGS / "JetClass/JetClass_kin.yaml"
        state = {n: t for n, t in read_weights(weights).items() if not n.startswith("fc.")}
        torch.save(state, tmp_path / "body.pt")
        with pytest.raises(CheckpointError, match=r"body\.pt has no last layer"):
            load(tmp_path / "body.pt", like="weaver", config=config)
        with pytest.raises(CheckpointError, match=r"no safetensors file; .* say like= \(weaver"):
            load(weights)


def _kernel(name: str, tensor: Tensor) -> bool:
    return name.startswith("pair_embed") and tensor.ndim == 2


class Release(nn.Module):
    """The arithmetic of the LorentzNet release for one jet, with its names of weights."""

    def __init__(self, scalars: int, classes: int = 2, hidden: int = 12, blocks: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Linear(scalars, hidden)
        self.LGEBs = nn.ModuleList()
        for i in range(blocks):
            block = nn.Module()
            first = nn.Linear(2 * hidden + 2, hidden, bias=False)
            norm, relu = nn.BatchNorm1d(hidden), nn.ReLU()
            block.phi_e = nn.Sequential(first, norm, relu, nn.Linear(hidden, hidden), nn.ReLU())
            inner = nn.Linear(2 * hidden + scalars, hidden)
            second = nn.BatchNorm1d(hidden)
            block.phi_h = nn.Sequential(inner, second, nn.ReLU(), nn.Linear(hidden, hidden))
            block.phi_m = nn.Sequential(nn.Linear(hidden, 1), nn.Sigmoid())
            if i < blocks - 1:
                last = nn.Linear(hidden, 1, bias=False)
                block.phi_x = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), last)
            self.LGEBs.append(block)
        last = nn.Linear(hidden, classes)
        self.graph_dec = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.2), last)

    def forward(self, s: Tensor, x: Tensor, weight: float) -> Tensor:
        h, n = self.embedding(s), len(x)
        metric = x.new_tensor([1.0, -1.0, -1.0, -1.0])
        i, j = (index.flatten() for index in torch.meshgrid(*[torch.arange(n)] * 2, indexing="ij"))
        i, j = i[i != j], j[i != j]
        for block in self.LGEBs:
            apart = x[i] - x[j]
            pair = torch.stack([(apart**2 * metric).sum(1), (x[i] * x[j] * metric).sum(1)], 1)
            pair = pair.sign() * (pair.abs() + 1).log()
            m = block.phi_e(torch.cat([h[i], h[j], pair], 1))
            m = m * block.phi_m(m)
            if hasattr(block, "phi_x"):
                moved = torch.zeros_like(x).index_add(0, i, apart * block.phi_x(m))
                x = x + weight * moved / max(n - 1, 1)
            summed = torch.zeros_like(h).index_add(0, i, m)
            h = h + block.phi_h(torch.cat([h, summed, s], 1))
        return self.graph_dec(h.mean(0, keepdim=True))


class TestLorentzNet:
    def _release(self, scalars: int, path: Path) -> Release:
        from tests.taggers.weaver_net import randomise

        torch.manual_seed(0)
        theirs = Release(scalars)
        torch.save({f"module.{n}": t for n, t in randomise(theirs).items()}, path)
        return theirs.double().eval()

    def test_top_weights_give_the_logits_of_the_release(self, tmp_path: Path) -> None:
        theirs = self._release(2, tmp_path / "best.pt")
        tagger = load(tmp_path / "best.pt", like="lorentznet").double()
        assert isinstance(tagger, LorentzNet)
        assert tagger.classes == ("top", "QCD")
        batch = make([1, 5, 30], dtype=torch.float64)
        batch.p4[:, 0] = (0.3**2 + batch.p4[:, 1:].square().sum(1)).sqrt()
        beams = torch.tensor([[2**0.5, 0, 0, 1.0], [2**0.5, 0, 0, -1.0]], dtype=torch.float64)
        for jet in range(3):
            alone = one(batch, jet)
            x = torch.cat([beams, alone.p4])
            mass = (x[:, 0] ** 2 - (x[:, 1:] ** 2).sum(1)).abs().sqrt()
            is_beam = torch.arange(len(x)) < 2
            s = torch.stack([~is_beam * mass, is_beam * mass], 1).log1p()
            with torch.no_grad():
                torch.testing.assert_close(tagger(alone), theirs(s, x, 5e-3), rtol=1e-9, atol=1e-9)

    def test_quark_gluon_weights_give_the_logits_of_the_release(self, tmp_path: Path) -> None:
        theirs = self._release(8, tmp_path / "best.pt")
        tagger = from_lorentz_net(tmp_path / "best.pt").double().eval()
        assert tagger.classes == ("quark", "gluon")
        assert tagger.features.names[0] == "np.abs(pid) == 11"
        batch = make([1, 5, 30], dtype=torch.float64)
        kinds = torch.randint(8, (len(batch.p4),), generator=torch.Generator().manual_seed(1))
        batch.x = nn.functional.one_hot(kinds, 8).double()
        for jet in range(3):
            alone = one(batch, jet)
            with torch.no_grad():
                expected = theirs(alone.x, alone.p4, 1e-3)
                torch.testing.assert_close(tagger(alone), expected, rtol=1e-9, atol=1e-9)

    def test_other_weights_are_refused(self, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=r"holds no LorentzNet, but a"):
            load(tmp_path / "a.pt", like="lorentznet")
        self._release(5, tmp_path / "five.pt")
        with pytest.raises(CheckpointError, match="has 5 scalars a particle"):
            load(tmp_path / "five.pt", like="lorentznet")


class Evil:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("pwned").touch, ())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_hold_more_than_tensors_are_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "raw.pt"):
        with pytest.raises(CheckpointError, match="without running code"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "pwned").exists()
    torch.save({"state_dict": {"module.x": torch.ones(1)}, "epoch": 3}, tmp_path / "nested.pt")
    assert list(read_weights(tmp_path / "nested.pt")) == ["x"]
    torch.save({"x": torch.ones(1), "epoch": 3}, tmp_path / "mixed.pt")
    with pytest.raises(CheckpointError, match="epoch is no tensor"):
        read_weights(tmp_path / "mixed.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds list, wanted names and tensors"):
        read_weights(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError, match=r"wanted weights that torch\.save wrote"):
        read_weights(tmp_path / "none.pt")
