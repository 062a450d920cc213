"""Columns and densities of tables, against finite differences, quadrature and closed forms."""

from __future__ import annotations

import math
from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch
from nflows.transforms import IdentityTransform
from scipy import stats
from scipy.special import roots_legendre

import hepgen
from hepgen.flows.bases import StandardNormal
from hepgen.flows.columns import Column, as_array, as_column, column_names, read_columns
from hepgen.flows.continuous import ContinuousFlow
from hepgen.flows.fitting import fit
from hepgen.flows.flow import Flow
from hepgen.flows.masked_autoregressive_flow import MaskedAutoregressiveFlow
from hepgen.flows.tabular import TabularDensity

COLUMNS = [
    Column("pt", "positive", low=20.0),
    Column("eta", "bounded", low=-2.5, high=2.5),
    Column("jets", "discrete"),
    "mass",
]


def events(number: int = 2000, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pt = 20 + rng.exponential(50, number)
    return {
        "pt": pt,
        "eta": rng.uniform(-2.5, 2.5, number),
        "jets": rng.poisson(2 + pt / 100),
        "mass": rng.normal(91, 2.5, number),
        "charge": rng.choice([-1, 1], number),
    }


def identity(columns: Any, context: Any = ()) -> TabularDensity:
    """A density that is Gaussian in standardised numbers."""
    flow = Flow(IdentityTransform(), StandardNormal(len(columns)), len(context)).double()
    flow.factor = torch.nn.Parameter(torch.ones((), dtype=torch.float64))  # has a device and a type
    return TabularDensity(flow, columns, context)


def fitted(columns: Any = COLUMNS, table: Any = None) -> TabularDensity:
    density = identity(columns)
    density.standardise(density.read(events() if table is None else table))
    return density


class TestColumn:
    @pytest.mark.parametrize(
        "column",
        [
            Column("x", centre=1.0, scale=3.0),
            Column("x", "positive", low=-1.0, centre=0.5, scale=2.0),
            Column("x", "bounded", low=-1.0, high=4.0, centre=0.1, scale=0.7),
        ],
        ids=lambda column: column.kind,
    )
    def test_the_slope_is_that_of_finite_differences(self, column) -> None:
        x, step = np.linspace(-0.99, 3.99, 41), 1e-6
        z, log_slope = column.encode(x)
        difference = (column.encode(x + step)[0] - column.encode(x - step)[0]) / (2 * step)
        np.testing.assert_allclose(np.exp(log_slope), difference, rtol=1e-6)
        np.testing.assert_allclose(column.decode(z), x, rtol=0, atol=1e-12)

    def test_ends_are_resolved_from_both_sides(self) -> None:
        column = Column("x", "bounded", low=0.0, high=2.0, centre=0.0, scale=1.0)
        x = np.array([1e-300, 1e-20, 1.0, 2 - 2**-51])
        z, _ = column.encode(x)
        np.testing.assert_allclose(z, stats.norm.ppf(x / 2), rtol=1e-7)
        np.testing.assert_allclose(column.decode(z)[:3], x[:3], rtol=1e-10)
        far = column.decode(np.array([-50.0, 50.0]))
        assert 0 < far[0] < far[1] < 2

    def test_whole_numbers_come_back_whatever_the_noise(self) -> None:
        column = Column("n", "discrete").fit(np.array([3.0, 5.0, 9.0]))
        assert (column.low, column.high) == (3, 9)
        n = np.arange(3.0, 10)
        for noise in (1e-9, 0.3, 1 - 1e-9):
            again = column.decode(column.encode(n, noise)[0])
            assert again.dtype == np.int64
            np.testing.assert_array_equal(again, n)

    def test_centre_and_scale_are_weighted_moments_unless_given(self) -> None:
        x, w = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 1.0])
        column = Column("x").fit(x, w)
        assert column.fitted
        assert column.centre == 2.25
        assert column.scale == pytest.approx(np.sqrt(np.average((x - 2.25) ** 2, weights=w)))
        assert Column("x", centre=7.0, scale=2.0).fit(x) == Column("x", centre=7.0, scale=2.0)

    @pytest.mark.parametrize(
        ("column", "values", "told"),
        [
            (
                Column("x"),
                [1.0, math.nan, math.inf],
                r"'x': 2 of 3 values are not finite; .* row 1",
            ),
            (Column("x", "positive"), [1.0, 0.0], r"1 of 2 .* numbers above 0"),
            (Column("x", "bounded", low=0, high=1), [0.5, 1.0], "between 0 and 1, neither"),
            (Column("x", "discrete"), [1.0, 1.5], "no whole numbers; the first is 1.5 in row 1"),
            (Column("x", "discrete", low=0, high=1), [1.0, 2.0], "wanted 0 to 1"),
            (Column("x"), [3.0, 3.0], "nothing but 3.0, which has no density; leave it out"),
        ],
    )
    def test_values_that_are_none_are_told_with_their_row(self, column, values, told) -> None:
        with pytest.raises(ValueError, match=told):
            column.fit(np.array(values))

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"kind": "bound"}, "no kind 'bound'; nearest: bounded"),
            ({"kind": "bounded", "low": 1.0}, "needs low= and high="),
            ({"low": 1.0}, "has ends; wanted kind='positive' or 'bounded'"),
            ({"kind": "positive", "high": 1.0}, "wanted kind='bounded'"),
            ({"kind": "bounded", "low": 2.0, "high": 1.0}, "low=2.0 is not below high=1.0"),
            ({"kind": "bounded", "low": 2.0, "high": math.inf}, "wanted finite numbers"),
            ({"kind": "discrete", "low": 0.5}, "wanted whole numbers"),
            ({"scale": 0.0}, "scale=0.0; wanted a number above 0"),
        ],
    )
    def test_arguments_without_sense_are_refused(self, arguments, told) -> None:
        with pytest.raises(ValueError, match=told):
            Column("x", **arguments)

    def test_columns_can_be_written_in_three_ways(self) -> None:
        column = Column("n", "discrete", low=1.0)
        assert as_column(column) is column
        assert as_column("n") == Column("n")
        assert as_column(column.to_dict()) == column
        with pytest.raises(ValueError, match="a column has no 'lo'; nearest: low"):
            as_column({"name": "n", "lo": 1})
        with pytest.raises(TypeError, match="3 is no column"):
            as_column(3)  # type: ignore[arg-type]


class Frame:
    """What a pandas DataFrame shows of itself."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.inside, self.columns = columns, np.array(list(columns))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.inside[name]


class TestTables:
    def test_tables_of_all_libraries_are_read_alike(self) -> None:
        columns = {"a": np.arange(3.0), "b": np.array([5, 6, 7]), "c": np.ones(3)}
        structured = np.array(list(zip(*columns.values(), strict=True)), "f8,i8,f4")
        structured.dtype.names = tuple(columns)
        tables: list[Any] = [columns, structured, ak.Array(columns), Frame(columns)]
        tables += [{name: torch.from_numpy(values) for name, values in columns.items()}]
        for table in tables:
            assert column_names(table) == ["a", "b", "c"]
            read = read_columns(table, ["b", "a"])
            assert list(read) == ["b", "a"]
            assert read["b"].dtype == np.float64
            assert read["b"].tolist() == [5, 6, 7]
        matrix = np.stack([columns["b"], columns["a"]], 1)
        for array in (matrix, torch.from_numpy(matrix)):
            assert column_names(array) is None
            assert read_columns(array, ["b", "a"])["a"].tolist() == [0, 1, 2]

    @pytest.mark.parametrize(
        ("table", "told"),
        [
            ({"a": [1.0], "bb": [2.0]}, "no column 'b' in the table; nearest: bb"),
            ({"a": [1.0], "b": [1.0, 2.0]}, "different lengths: {'a': 1, 'b': 2}"),
            ({"a": [1.0], "b": [[2.0]]}, r"column 'b' has shape \(1, 1\)"),
            ({"a": [1.0], "b": ["two"]}, "column 'b' does not hold one number a row"),
            ({"a": [1.0], "b": ak.Array([[1.0, 2.0], []])}, "column 'b' does not hold one number"),
            (np.ones((4, 3)), r"an array of shape \(4, 3\) is no table of the 2 columns a, b"),
        ],
    )
    def test_what_is_no_table_is_told(self, table, told) -> None:
        with pytest.raises(ValueError, match=told):
            read_columns(table, ["a", "b"])
        assert as_array([1, 2], "numbers").tolist() == [1, 2]


class TestTabularDensity:
    def test_a_gaussian_of_standardised_numbers_is_scipys_density(self) -> None:
        columns = [Column("m", centre=91.0, scale=2.0)]
        columns += [Column("pt", "positive", centre=3.0, scale=0.5)]
        columns += [Column("eta", "bounded", low=-2.0, high=2.0, centre=0.0, scale=1.0)]
        density = identity(columns)
        table = {"m": [90.0, 95.0], "pt": [3.0, 40.0], "eta": [-1.9, 0.3]}
        expected = (
            stats.norm.logpdf(table["m"], 91, 2)
            + stats.lognorm.logpdf(table["pt"], 0.5, scale=math.exp(3))
            + stats.uniform.logpdf(table["eta"], -2, 4)
        )
        np.testing.assert_allclose(density.log_prob(table), expected, rtol=1e-10)

    def test_probabilities_of_whole_numbers_add_up_to_one(self) -> None:
        table = {"n": [0, 0, 1, 1, 1, 2, 3, 1, 5], "k": [4, 4, 5, 5, 4, 5, 5, 4, 4]}
        n, k = (grid.ravel() for grid in np.meshgrid(np.arange(6), np.arange(4, 6)))
        one = fitted([Column("n", "discrete")], table)
        edges = one.columns[0].encode(np.arange(6.0), 0.0)[0]
        exact = np.diff(stats.norm.cdf([*edges, np.inf]), prepend=0)[1:]
        got = np.exp(one.log_prob({"n": np.arange(6)}, points=400))
        np.testing.assert_allclose(got, exact, atol=2e-4)
        both = fitted([Column("n", "discrete"), Column("k", "discrete")], table)
        assert np.exp(both.log_prob({"n": n, "k": k})).sum() == pytest.approx(1, abs=5e-3)

    def test_beyond_the_ends_there_is_nothing(self) -> None:
        row = {"pt": 30.0, "eta": 0.1, "jets": 2, "mass": 91.0}
        for name, beyond in (("pt", 20.0), ("eta", 2.5), ("jets", 99), ("jets", 1.5), ("mass", 1)):
            table = {k: np.array([v, v], float) for k, v in row.items()}
            table[name][1] = beyond
            inside, outside = fitted().log_prob(table)
            assert math.isfinite(inside)
            assert outside == -math.inf if name != "mass" else outside < inside
        with pytest.raises(ValueError, match="'mass': 1 of 1 values are not finite"):
            fitted().log_prob({k: [math.nan if k == "mass" else v] for k, v in row.items()})

    def test_draws_are_columns_that_follow_the_density(self) -> None:
        density = fitted()
        rows = density.sample(5000, seed=3, batch_size=700)
        assert list(rows) == ["pt", "eta", "jets", "mass"]
        assert rows["jets"].dtype == np.int64
        for name in ("pt", "mass", "eta"):
            column = next(c for c in density.columns if c.name == name)
            # Gaussian by construction; a fair sample has a smaller p-value in 1e-4 of all seeds.
            assert stats.kstest(column.encode(rows[name])[0], "norm").pvalue > 1e-4
        again = density.sample(5000, seed=3, batch_size=700)
        assert all(np.array_equal(rows[name], again[name]) for name in rows)
        assert density.sample(0)["pt"].shape == (0,)

    def test_a_model_file_holds_columns_and_flow(self, tmp_path) -> None:
        torch.manual_seed(1)
        flow = MaskedAutoregressiveFlow(4, 1, num_transforms=2, hidden=8)
        density = TabularDensity(flow, COLUMNS, ["charge"])
        fit(density, events(300), epochs=1, progress=False)
        density.save(tmp_path / "density.safetensors")
        loaded = hepgen.load(tmp_path / "density.safetensors")
        assert isinstance(loaded, TabularDensity)
        assert loaded.columns == density.columns
        assert loaded.context == density.context
        assert loaded.fitted
        few = {name: values[:20] for name, values in events(seed=2).items()}
        np.testing.assert_array_equal(loaded.log_prob(few), density.log_prob(few))
        ours, theirs = (one.sample(2, few, seed=1)["pt"] for one in (density, loaded))
        assert ours.shape == (40,)
        np.testing.assert_array_equal(ours, theirs)

    def test_fitting_finds_a_density_that_integrates_to_one(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.beta(2, 5, 3000)
        table = {"x": x, "y": rng.gamma(2 + 3 * x)}
        columns = [Column("x", "bounded", low=0, high=1), Column("y", "positive")]
        torch.manual_seed(0)
        flow = MaskedAutoregressiveFlow(2, num_transforms=2, hidden=16)
        density = TabularDensity(flow, columns)
        fit(density, table, epochs=8, lr=1e-2, progress=False)
        nodes, weights = roots_legendre(80)
        # 20 of a gamma of 2 to 5 leave 1e-6 outside; roots are dense near 0 in t^2.
        t, u = (nodes + 1) / 2, 20 * ((nodes + 1) / 2) ** 2
        grid = {"x": np.repeat(t, 80), "y": np.tile(u, 80)}
        measure = np.outer(weights / 2, weights / 2 * 40 * (nodes + 1) / 2).ravel()
        assert (np.exp(density.log_prob(grid)) * measure).sum() == pytest.approx(1, abs=5e-3)
        truth = stats.beta.logpdf(x, 2, 5) + stats.gamma.logpdf(table["y"], 2 + 3 * x)
        missing = truth - density.log_prob(table)
        # Divergence from the truth, of 0.3 nats for the best Gaussian of the raw columns.
        assert abs(missing.mean()) < 0.03 + 3 * missing.std() / math.sqrt(3000)

    def test_conditional_densities_follow_their_context(self) -> None:
        rng = np.random.default_rng(1)
        energy = rng.uniform(10, 100, 4000)
        table = {"energy": energy, "seen": rng.normal(energy, np.sqrt(energy))}
        torch.manual_seed(0)
        flow = MaskedAutoregressiveFlow(1, 1, num_transforms=2, hidden=32)
        density = TabularDensity(flow, ["seen"], [Column("energy", "bounded", low=9, high=101)])
        fit(density, table, epochs=30, batch_size=250, lr=1e-2, progress=False)
        for at in (20.0, 80.0):
            seen = density.sample(4000, {"energy": [at]}, seed=0)["seen"]
            assert seen.mean() == pytest.approx(at, abs=1)
            assert seen.std() == pytest.approx(math.sqrt(at), rel=0.15)

    def test_what_does_not_fit_together_is_told(self) -> None:
        flow = ContinuousFlow(2, hidden=4)
        with pytest.raises(ValueError, match="1 columns for a ContinuousFlow of 2"):
            TabularDensity(flow, ["a"])
        with pytest.raises(ValueError, match="1 columns of context for a ContinuousFlow of 0"):
            TabularDensity(flow, ["a", "b"], ["c"])
        with pytest.raises(ValueError, match="columns that stand twice: a"):
            TabularDensity(flow, ["a", "a"])
        with pytest.raises(TypeError, match="'ab' is one name"):
            TabularDensity(flow, "ab")
        density = TabularDensity(flow, ["a", "b"])
        for call in (lambda: density.sample(1), lambda: density.log_prob({"a": [1], "b": [2]})):
            with pytest.raises(ValueError, match="without centre and scale: a, b; call"):
                call()
        with pytest.raises(ValueError, match="the context of this density: none; got dict"):
            fitted().sample(1, {"a": [1]})
        with pytest.raises(ValueError, match="-1 samples"):
            fitted().sample(-1)
        with pytest.raises(ValueError, match="points=0"):
            fitted().log_prob(events(3), points=0)
