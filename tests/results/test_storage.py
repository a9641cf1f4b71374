"""Saved and loaded, a comparison is the same; anything else is one clear error."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import pmlik
from oracles.equality import assert_equal, strip_ids
from oracles.records import RECORDS, plain
from pmlik.errors import FileError
from pmlik.results.codec import classes_of, decode, encode

matplotlib.use("Agg")

SUFFIXES = [".nc", ".zarr"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", RECORDS)
def test_what_is_loaded_is_what_was_saved(name: str, suffix: str, tmp_path: Path) -> None:
    comparison = RECORDS[name]()
    path = comparison.save(tmp_path / f"it{suffix}")
    assert_equal(comparison, pmlik.load(path))


@pytest.fixture(scope="module")
def fitted() -> pmlik.Comparison:
    with pm.Model(
        coords={"group": ["a", "b"], "when": pd.date_range("2020-01-01", periods=2)}
    ) as m:
        mu = pm.Normal("mu", 0, 10, dims="group")
        late = pm.Normal("late", 0, 1, dims="when")
        sigma = pm.HalfNormal("sigma", 5)
        pm.Deterministic("gap", mu[1] - mu[0])
        pm.Normal("y", mu[[0, 0, 0, 1, 1, 1]], sigma, observed=[1.2, 0.7, 1.9, 3.1, 2.2, 2.9])
        pm.Normal("z", late, 1, observed=[0.5, -0.5], dims="when")
    return pmlik.compare(
        m,
        random_seed=1,
        progressbar=False,
        sample_kwargs={"draws": 300, "tune": 300},
        reference={"mu": [1.2667, 2.7333], "sigma": 0.45},
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_fitted_comparison_comes_back_with_all_that_was_sampled(fitted, suffix, tmp_path) -> None:
    loaded = pmlik.load(fitted.save(tmp_path / f"it{suffix}"))
    assert_equal(fitted, loaded)
    assert "sample_stats" in loaded.posterior.tree.children
    again = pmlik.load(loaded.save(tmp_path / f"again{suffix}"))
    assert_equal(loaded, again)


def test_the_loaded_one_draws_and_reports_the_same(fitted, tmp_path) -> None:
    loaded = pmlik.load(fitted.save(tmp_path / "it.nc"))
    assert loaded.to_markdown() == fitted.to_markdown()
    assert loaded.to_latex() == fitted.to_latex()
    assert loaded.to_json() == fitted.to_json()
    pages = [strip_ids(c.to_html()) for c in (fitted, loaded)]
    assert pages[0] == pages[1]


def test_a_plot_that_needs_the_model_says_so(fitted, tmp_path) -> None:
    loaded = pmlik.load(fitted.save(tmp_path / "it.nc"))
    with pytest.raises(pmlik.ValuesError, match="without its compiled model"):
        pmlik.plot_likelihood(loaded)


def test_the_tree_has_the_groups_that_it_names(fitted) -> None:
    tree = fitted.to_datatree()
    for group in ("mle", "map", "posterior", "attribution", "comparison", "observed_data"):
        assert group in tree.children
    assert tree["mle"]["mu"].dims == ("group",)
    np.testing.assert_array_equal(tree["mle"]["mu"], fitted.mle.values["mu"])
    assert set(tree["posterior"].dataset["mu"].dims) == {"chain", "draw", "group"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_clear_error(share: float, tmp_path: Path) -> None:
    path = plain().save(tmp_path / "it.nc")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FileError, match=r"it\.nc: can't be read .* damaged"):
        pmlik.load(path)


def test_a_number_that_was_changed_is_seen(tmp_path: Path) -> None:
    path = plain().save(tmp_path / "it.nc")
    with h5py.File(path, "r+") as file:
        file["mle/first"][...] = 7.0
    with pytest.raises(FileError, match="damaged"):
        pmlik.load(path)


def test_a_lost_chunk_of_zarr_is_seen(tmp_path: Path) -> None:
    path = plain().save(tmp_path / "it.zarr")
    lost = next(p for p in (path / "posterior" / "first").rglob("c/*") if p.is_file() or p.is_dir())
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    with pytest.raises(FileError, match="damaged"):
        pmlik.load(path)


@pytest.mark.parametrize("content", ["text", "netcdf", "folder", "newer", "older"])
def test_a_foreign_file_is_one_clear_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.nc"
    if content == "text":
        path.write_text("a,b\n1,2\n")
    elif content == "folder":
        path.mkdir()
    else:
        tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"x": ("n", [1.0, 2.0])})})
        if content in ("newer", "older"):
            tree.attrs = {"pmlik": "{}", "pmlik_format": 99 if content == "newer" else 1}
        tree.to_netcdf(path, engine="h5netcdf")
    said = content if content in ("newer", "older") else ""
    with pytest.raises(FileError, match=rf"other\.nc: .*{said}"):
        pmlik.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.nc: there is no such file"):
        pmlik.load(tmp_path / "none.nc")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_save_leaves_the_old_file(suffix, tmp_path, monkeypatch) -> None:
    path = plain().save(tmp_path / f"it{suffix}")
    broken = RuntimeError("the disk is full")

    def fail(*_: object, **__: object) -> None:
        raise broken

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    monkeypatch.setattr(xr.DataTree, "to_zarr", fail)
    with pytest.raises(RuntimeError, match="disk"):
        RECORDS["many"]().save(path)
    assert_equal(plain(), pmlik.load(path))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_again_replaces(suffix: str, tmp_path: Path) -> None:
    path = RECORDS["many"]().save(tmp_path / f"it{suffix}")
    plain().save(path)
    assert_equal(plain(), pmlik.load(path))
    assert os.listdir(tmp_path) == [path.name]


def test_other_names_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"\.nc \(netCDF\) or \.zarr"):
        plain().save(tmp_path / "it.pickle")
    with pytest.raises(FileError, match="there is no folder"):
        plain().save(tmp_path / "no" / "it.nc")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_attribute_that_was_changed_is_seen(suffix: str, tmp_path: Path) -> None:
    path = plain().save(tmp_path / f"it{suffix}")
    options = {"engine": "h5netcdf"} if suffix == ".nc" else {"consolidated": False}
    whole = xr.open_datatree(path, **options).load()
    whole.close()
    assert "-10.125" in whole.attrs["pmlik"]  # the log-likelihood
    for name in ("pmlik", "pmlik_layout", "pmlik_left_out"):
        changed = whole.copy()
        changed.attrs[name] = whole.attrs[name].replace("-10.125", "-9.125") + " "
        if suffix == ".nc":
            changed.to_netcdf(path, mode="w")
        else:
            changed.to_zarr(path, mode="w", consolidated=False)
        with pytest.raises(FileError, match=rf"it\{suffix}: It is damaged or was changed"):
            pmlik.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_view_of_the_profiles_can_not_be_changed_either(suffix: str, tmp_path: Path) -> None:
    comparison = plain()
    label, curves = next(iter(comparison.background.curves.items()))
    seen = replace(curves, log_likelihood=-((curves.grid - 1.0) ** 2))
    background = replace(comparison.background, curves={label: seen})
    tree = replace(comparison, background=background).to_datatree()
    tree["profile"]["log_likelihood"][0, 0] -= 1.0
    path = tmp_path / f"it{suffix}"
    tree.to_netcdf(path) if suffix == ".nc" else tree.to_zarr(path, consolidated=False)
    with pytest.raises(FileError, match="damaged or was changed"):
        pmlik.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_names_labels_and_attributes_a_model_has(suffix: str, tmp_path: Path) -> None:
    comparison = plain()
    odd = ["", "%", "a\0b", "n" * 320, "\N{GREEK SMALL LETTER BETA}" * 200, ".", "..", "x/y"]
    labels = np.array(["p\0q", None, 3, 2.5, ("a", 1), float("inf")], dtype=object)
    values = xr.Dataset(
        {name: ("l\0", np.arange(6) + i) for i, name in enumerate(odd)},
        coords={"l\0": labels, "short": ("l\0", np.arange(6, dtype="i2"))},
        attrs={"pair": (1, "x"), "array": np.array([1.0, 2.0]), "none": None, "deep": {"a": [1]}},
    )
    values["flag"] = ("l\0", np.arange(6) > 2, {"unit": "\0"})
    values["when"] = ("t", np.array(["2020-01-01", "NaT"], dtype="M8[s]"))
    values["empty"] = ("e", np.zeros(0))
    odd_one = replace(comparison, mle=replace(comparison.mle, values=values))
    found = pmlik.load(odd_one.save(tmp_path / f"it{suffix}")).mle.values
    attrs = {**values.attrs, "array": [1.0, 2.0]}
    assert found.identical(values.assign_attrs(attrs))
    assert list(found.data_vars) == list(values.data_vars)
    assert {n: v.dtype for n, v in found.variables.items()} == {
        n: v.dtype for n, v in values.variables.items()
    }


def test_a_group_that_the_chains_have_too_is_kept_beside_it(tmp_path: Path) -> None:
    comparison = plain()
    mine, theirs = (xr.Dataset({"y": ("n", [1.0, x])}) for x in (2.0, 3.0))
    tree = comparison.posterior.tree.copy()
    tree["log_likelihood"] = xr.DataTree(theirs)
    tree.attrs = {"note": "by hand"}
    both = replace(
        comparison,
        posterior=replace(comparison.posterior, tree=tree),
        background=replace(comparison.background, extras={"log_likelihood": mine}),
    )
    found = pmlik.load(both.save(tmp_path / "it.nc"))
    assert found.posterior.tree.identical(tree)
    assert found.background.extras["log_likelihood"].identical(mine)


def test_nothing_is_read_that_is_not_a_record() -> None:
    known = classes_of(pmlik.Comparison)
    for sketch in ({"record": ["Popen", {"args": "ls"}]}, {"enum": ["Popen", "x"]}, {"call": "x"}):
        with pytest.raises(KeyError):
            decode(sketch, {}, known)
    with pytest.raises(TypeError, match="can't be saved"):
        encode(object(), {})


@pytest.mark.parametrize("path", ["", "a\0.nc", "a\0.zarr", 5, None])
def test_what_is_no_name_of_a_file_is_one_clear_error(path) -> None:
    comparison = plain()
    writers = [comparison.save, pmlik.load]
    if path is not None:
        writers += [comparison.to_html, comparison.to_json, comparison.to_markdown]
        writers += [comparison.to_latex]
    for write in writers:
        with pytest.raises(FileError, match="path: got"):
            write(path)


def test_json_is_strict_and_exact() -> None:
    comparison = RECORDS["broken"]()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    document = json.loads(comparison.to_json(), parse_constant=refuse)
    assert document["table"]["none"]["MLE"] is None
    assert document["table"]["far"]["MLE"] == "Infinity"
    assert document["table"]["far"]["posterior mean"] == "-Infinity"
    assert document["table"]["huge"]["MLE"] == 1.5e300
    assert document["groups"]["mle"]["data_vars"]["tiny"]["data"] == -2.5e-300
    draws = document["groups"]["posterior"]["data_vars"]["zero"]["data"]
    assert np.shape(draws) == (2, 20)
    assert "posterior" not in json.loads(comparison.to_json(draws=False))["groups"]


def test_every_record_of_a_comparison_can_be_saved() -> None:
    known = classes_of(pmlik.Comparison)
    assert {"PointEstimate", "Flag", "FlagCode", "SearchEnd", "InformationShares"} <= set(known)
    for cls in known.values():
        assert not hasattr(cls, "__dataclass_fields__") or len(fields(cls)) <= 11, cls


def test_the_latents_of_a_mixed_model_come_back(tmp_path: Path) -> None:
    with pm.Model(coords={"group": list("abcd")}) as model:
        mu, tau = pm.Normal("mu", 0, 10), pm.HalfNormal("tau", 5)
        u = pm.Normal("u", mu, tau, dims="group")
        pm.Normal("y", u[np.repeat(range(4), 3)], 1.0, observed=np.linspace(-3, 4, 12))
    comparison = pmlik.compare(model, sample=False, random_seed=1, progressbar=False)
    loaded = pmlik.load(comparison.save(tmp_path / "it.nc"))
    for kept, found in ((comparison.mle, loaded.mle), (comparison.map, loaded.map)):
        assert found.latents.values.identical(kept.latents.values)
        assert found.latents.std_error.identical(kept.latents.std_error)
        assert found.latents.exact
