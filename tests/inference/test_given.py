"""Draws and estimates from elsewhere in a comparison."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pmlik
from pmlik._runtime import Timer
from pmlik.inference.given import GivenOptions, adopt_draws
from pmlik.inference.options import FitOptions
from pmlik.inference.prepare import prepare

N = 40
X = np.linspace(-1, 1, N)
Y = 1.0 + 2.0 * X + 0.5 * stats.norm.ppf((np.argsort(np.argsort(np.sin(37 * X))) + 0.5) / N)
LABELS = ["a", "b"]
QUIET: dict[str, Any] = {"progressbar": False, "extras": False, "random_seed": 1}


def build(y: np.ndarray = Y, labels: list[str] = LABELS) -> pm.Model:
    with pm.Model(coords={"k": labels, "obs": np.arange(len(y))}) as model:
        x = pm.Data("x", X[: len(y)], dims="obs")
        b, s = pm.Normal("b", 0, 10, dims="k"), pm.HalfNormal("s", 5)
        pm.Deterministic("slope to noise", b[1] / s)
        pm.Normal("y", b[0] + b[1] * x, s, observed=y, dims="obs")
    return model


@pytest.fixture(scope="module")
def model() -> pm.Model:
    return build()


@pytest.fixture(scope="module")
def sampled(model) -> pmlik.Comparison:
    kwargs = {"draws": 200, "tune": 200, "chains": 2, "nuts_sampler": "pymc", "cores": 1}
    return pmlik.compare(model, sample_kwargs=kwargs, **QUIET)


@pytest.fixture(scope="module")
def draws() -> xr.Dataset:
    """The posterior under a flat prior of b and 1/s**2 of s**2, drawn in NumPy."""
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(N), X])
    centre, rss, *_ = np.linalg.lstsq(design, Y)
    s = np.sqrt(rss[0] / rng.chisquare(N - 2, size=(2, 500)))
    root = np.linalg.cholesky(np.linalg.inv(design.T @ design))
    b = centre + s[..., None] * (rng.normal(size=(2, 500, 2)) @ root.T)
    return xr.Dataset({"b": (("chain", "draw", "b_dim_0"), b), "s": (("chain", "draw"), s)})


@pytest.fixture(scope="module")
def compared(model, draws) -> pmlik.Comparison:
    return pmlik.compare(model, posterior=draws, **QUIET)


@pytest.fixture(scope="module")
def prepared(model):
    return prepare(FitOptions(model=model))


def read(prepared, given: Any) -> xr.DataTree:
    tree = adopt_draws(prepared, GivenOptions(posterior=given), Timer())
    assert tree is not None
    return tree


def as_inference_data(tree: xr.DataTree) -> SimpleNamespace:
    return SimpleNamespace(**{name: child.to_dataset() for name, child in tree.children.items()})


class TestWhatIsTaken:
    def test_a_trace_gives_the_table_of_the_comparison_with_the_same_draws(self, model, sampled):
        again = pmlik.compare(model, posterior=sampled.posterior.tree, **QUIET)
        assert list(again.table.index) == list(sampled.table.index)
        assert list(again.table["flags"]) == list(sampled.table["flags"])
        numbers = sampled.table.columns.drop("flags")
        np.testing.assert_allclose(again.table[numbers], sampled.table[numbers], rtol=1e-12)
        assert again.posterior.diagnostics == sampled.posterior.diagnostics
        assert again.verdict == sampled.verdict
        assert again.attribution is not None

    @pytest.mark.parametrize("form", ["group", "dataset", "inference data", "nc", "zarr", "pmlik"])
    def test_forms(self, prepared, sampled, form, tmp_path):
        tree = sampled.posterior.tree
        if form == "group":
            given = tree["posterior"]
        elif form == "dataset":
            given = tree["posterior"].to_dataset()
        elif form == "inference data":
            given = as_inference_data(tree)
        else:
            given = tmp_path / ("p.zarr" if form == "zarr" else "p.nc")
            if form == "pmlik":
                sampled.save(given)
            elif form == "zarr":
                tree.to_zarr(given)
            else:
                tree.to_netcdf(given, engine="h5netcdf")
        again = read(prepared, given)["posterior"].to_dataset()
        xr.testing.assert_identical(again.drop_attrs(), tree["posterior"].to_dataset().drop_attrs())

    def test_draws_of_another_sampler_have_the_posterior_they_are_of(self, compared, draws):
        table = compared.table
        assert list(table.index) == ["b[a]", "b[b]", "s", "slope to noise"]
        assert table.loc["b[b]", "posterior mean"] == pytest.approx(float(draws.b[..., 1].mean()))
        ratio = (draws.b[..., 1] / draws.s).to_numpy()
        assert table.loc["slope to noise", "posterior mean"] == pytest.approx(ratio.mean())
        assert table.loc["slope to noise", "sd"] == pytest.approx(ratio.std(ddof=1))
        assert not np.isfinite(compared.posterior.diagnostics["bfmi"])
        assert "posterior=posterior" in compared.background.call

    def test_what_is_given_is_not_changed(self, model, draws, compared):
        assert list(draws) == ["b", "s"]
        assert "k" not in draws.dims

    def test_labels_in_another_order_are_put_in_the_models(self, prepared, draws):
        named = draws.rename(b_dim_0="k").assign_coords(k=LABELS).isel(k=[1, 0])
        again = read(prepared, named.transpose("k", "draw", "chain"))["posterior"]
        np.testing.assert_array_equal(again["b"], draws["b"])

    def test_somebodys_own_variables_stay(self, prepared, draws):
        again = read(prepared, draws.assign(odd=draws["s"] ** 2))["posterior"]
        np.testing.assert_array_equal(again["odd"], draws["s"] ** 2)

    def test_with_estimates_alone(self, model, compared):
        mle, mode = pmlik.find_MLE(model, progressbar=False), compared.map
        again = pmlik.compare(model, sample=False, mle=mle, map=mode, **QUIET)
        assert again.mle.values.identical(mle.values)
        assert "mle=mle, map=map_estimate" in again.background.call


def wrong(tree: xr.DataTree, what: str) -> Any:
    group = tree["posterior"].to_dataset()
    if what == "variable":
        return group.drop_vars("s")
    if what == "shape":
        return group.isel(k=[0])
    if what == "labels":
        return group.assign_coords(k=["a", "c"])
    if what == "support":
        return group.assign(s=np.log(group["s"]))
    if what == "deterministic":
        return group.assign({"slope to noise": group["slope to noise"] * 2})
    if what == "no draws":
        return group.isel(chain=0, drop=True)
    if what == "observed":
        other = tree["observed_data"].to_dataset() + 1
        return xr.DataTree.from_dict({"posterior": group, "observed_data": other})
    if what == "fewer observed":
        other = tree["observed_data"].to_dataset().isel(obs=slice(3))
        return xr.DataTree.from_dict({"posterior": group, "observed_data": other})
    if what == "covariate":
        other = tree["constant_data"].to_dataset() * 2
        return xr.DataTree.from_dict({"posterior": group, "constant_data": other})
    return {"a list": [1, 2], "no file": "nowhere.nc"}[what]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("variable", "it lacks s of the model; it has b, slope to noise"),
        ("shape", r"b has shape \(1,\) per draw, the model's \(2,\)"),
        ("labels", "b: its labels along k are a, c, the model's a, b"),
        ("support", r"draws lie outside the support of b, s"),
        ("deterministic", "its slope to noise is not what the model computes"),
        ("no draws", "it has no chains"),
        ("observed", "of other data: observed data y: 40 of 40 values differ"),
        ("fewer observed", r"observed data y: their shape is \(3,\), the model's \(40,\)"),
        ("covariate", "of other data: data x: 40 of 40 values differ"),
        ("a list", "got list"),
        ("no file", "there is no such file"),
    ],
)
def test_a_mismatch_is_refused(prepared, sampled, what, sentence):
    given = wrong(sampled.posterior.tree, what)
    with pytest.raises(pmlik.ValuesError, match=sentence):
        read(prepared, given)


def test_an_estimate_of_other_data_or_of_another_model_is_refused(compared):
    with pytest.raises(pmlik.ValuesError, match="mle: it is not of this model and its data"):
        pmlik.compare(build(Y + 0.1), sample=False, mle=compared.mle, **QUIET)
    with pytest.raises(pmlik.ValuesError, match=r"map: it is not of this model: b\[b\], b\[c\]"):
        pmlik.compare(build(labels=["a", "c"]), sample=False, map=compared.map, **QUIET)
    with pytest.raises(pmlik.ValuesError, match="mle: got the MAP"):
        pmlik.compare(build(), sample=False, mle=compared.map, **QUIET)


def test_a_way_to_sample_beside_draws_is_refused(model, draws):
    with pytest.raises(pmlik.ModelError, match="nothing is sampled"):
        pmlik.compare(model, posterior=draws, sample_kwargs={"draws": 5}, **QUIET)
