"""Bad values for the likelihood get one sentence: which variable, what was got, what is needed."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pmlik
from oracles import zoo

Y = np.array([2.3, 4.1, 3.3, 5.2, 2.9, 4.4])
X = np.column_stack([np.arange(6.0), np.array([1.0, -1.0, 0.0, 2.0, 0.5, 1.5])])
VERBS = ["__call__", "log", "pointwise", "nll", "gradient", "hessian", "relative"]


@pytest.fixture(scope="module")
def lik():
    """Two labelled slopes and a scale: ``beta`` (term: age, dose) and ``sigma``."""
    with pm.Model(coords={"term": ["age", "dose"], "id": range(6)}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term")
        sigma = pm.HalfNormal("sigma", 2)
        pm.Deterministic("total", beta.sum())
        pm.Normal("y", X @ beta, sigma, observed=Y, dims="id")
    return pmlik.Likelihood(model, progressbar=False)


def oracle(beta, sigma):
    return stats.norm.logpdf(Y, X @ np.asarray(beta), sigma).sum()


def refusal(call, *args, **kwargs):
    """The message of the ValuesError that a call raises; no warning comes before it."""
    with warnings.catch_warnings(action="error"), pytest.raises(pmlik.ValuesError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_name_is_named_with_the_right_ones(lik, verb):
    message = refusal(getattr(lik, verb), beta=[1.0, 2.0], sigma=1.0, tau=2.0)
    assert message.startswith("tau: not a parameter of the likelihood")
    assert "beta, sigma" in message
    assert message == refusal(getattr(lik, verb), {"beta": [1, 2], "sigma": 1, "tau": 2})


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_name_is_named(lik, verb):
    assert refusal(getattr(lik, verb), beta=[1.0, 2.0]).startswith("sigma: no value given")
    assert refusal(getattr(lik, verb), {"sigma": 1.0}).startswith("beta: no value given")
    assert refusal(getattr(lik, verb)).startswith("beta, sigma: no value given")
    assert refusal(getattr(lik, verb), {}).startswith("beta, sigma: no value given")


@pytest.mark.parametrize("name", ["total", "y", "sigma_log__"])
def test_a_name_of_the_model_that_is_no_parameter_is_refused_as_a_keyword(lik, name):
    message = refusal(lik.log, **{"beta": [1.0, 2.0], "sigma": 1.0, name: 2.0})
    assert message.startswith(f"{name}: not a parameter of the likelihood")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("wrong", [3.0, [1, 2], np.ones(3), "beta", {1, 2}], ids=type)
def test_values_that_are_no_mapping_are_refused(lik, verb, wrong):
    message = refusal(getattr(lik, verb), wrong)
    assert message.startswith(f"values: got {type(wrong).__name__}, need a mapping")


def test_a_dataset_with_a_variable_of_another_model_names_it(lik):
    values = xr.Dataset({"beta": ("term", [1.0, 2.0]), "sigma": 1.0, "rho": 0.5})
    assert refusal(lik.log, values).startswith("rho: not a parameter")
    # What the model does have may be there, and so may coordinates.
    values = values.rename(rho="total").assign_coords(quantile=0.5)
    assert float(lik.log(values)) == pytest.approx(oracle([1, 2], 1.0), rel=1e-12)


def test_a_whole_tree_is_refused_where_its_posterior_is_needed(lik):
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"sigma": 1.0})})
    assert "posterior" in refusal(lik.log, tree)


# --- Shapes and labels ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(), (3,), (1,), (2, 1), (2, 3)], ids=lambda shape: f"{len(shape)}d-{shape}"
)
def test_a_wrong_shape_is_named_with_the_right_one(lik, shape):
    message = refusal(lik.log, beta=np.ones(shape), sigma=1.0)
    assert message.startswith(f"beta: got shape {shape}, need (2,)")


def test_batches_that_do_not_broadcast_are_named(lik):
    message = refusal(lik.log, beta=np.ones((3, 2)), sigma=np.ones(4))
    assert "beta (3,)" in message
    assert "sigma (4,)" in message


def test_labels_that_are_not_the_models_are_refused(lik):
    beta = xr.DataArray([1.0, 2.0], dims="term", coords={"term": ["age", "weight"]})
    message = refusal(lik.log, beta=beta, sigma=1.0)
    assert message.startswith("beta: ")
    assert "'term'" in message
    # What was got, and what is needed.
    assert "weight" in message
    assert "dose" in message


@pytest.mark.parametrize(
    ("dims", "values"), [("foo", [1.0, 2.0]), ("term", [1.0]), ("term", [1.0, 2.0, 3.0])]
)
def test_a_labelled_array_of_another_form_is_refused(lik, dims, values):
    message = refusal(lik.log, beta=xr.DataArray(values, dims=dims), sigma=1.0)
    assert message.startswith("beta: got")
    assert "need" in message
    assert "term" in message


def test_labels_of_batches_must_agree(lik):
    a = xr.DataArray([1.0, 2.0], dims="draw", coords={"draw": [0, 1]})
    b = xr.DataArray([[1.0, 2.0]] * 2, dims=("draw", "term"), coords={"draw": [1, 2]})
    message = refusal(lik.log, beta=b, sigma=a)
    assert message.startswith("beta, sigma: ")
    assert "'draw'" in message


def test_a_batch_can_not_run_along_the_dim_of_another_parameter(lik):
    message = refusal(lik.log, beta=[1.0, 2.0], sigma=xr.DataArray([1.0, 2.0], dims="term"))
    assert message.startswith("sigma: got the dim 'term'")


@pytest.mark.parametrize("length", [2, 6])
def test_a_batch_can_not_run_along_a_dim_of_the_result(lik, length):
    # Pointwise results have the dim of the observed variable, a Hessian that of its rows.
    sigma = xr.DataArray(np.ones(length), dims="id")
    assert "'id'" in refusal(lik.pointwise, beta=[1.0, 2.0], sigma=sigma)
    sigma = xr.DataArray(np.ones(length), dims="parameter")
    assert "'parameter'" in refusal(lik.hessian, beta=[1.0, 2.0], sigma=sigma)


def test_plain_arrays_go_with_a_model_that_calls_a_dim_point():
    with pm.Model(coords={"point": ["north", "south"]}) as model:
        mu = pm.Normal("mu", 0, 5, dims="point")
        pm.Normal("y", mu, pm.HalfNormal("s"), observed=[1.0, 2.0], dims="point")
    found = pmlik.Likelihood(model, progressbar=False).log(
        mu=[[1.0, 1.0], [0.0, 3.0]], s=[1.0, 2.0]
    )
    expected = [
        stats.norm.logpdf([1, 2], [1, 1], 1.0).sum(),
        stats.norm.logpdf([1, 2], [0, 3], 2.0).sum(),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- What kind of value ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    ["high", "2.0", None, 1j, {"a": 1}, [[1], [1, 2]], print, np.datetime64("2024-01-01")],
    ids=repr,
)
def test_what_is_no_number_is_refused(lik, wrong):
    message = refusal(lik.log, beta=[1.0, 2.0], sigma=wrong)
    assert message.startswith("sigma: got")
    assert "need numbers" in message


def test_labelled_values_that_are_no_numbers_are_refused(lik):
    for wrong in (xr.DataArray("high"), xr.DataArray(np.array([1, None], object), dims="draw")):
        message = refusal(lik.log, beta=[1.0, 2.0], sigma=wrong)
        assert message.startswith("sigma: got")
        assert "need numbers" in message


@pytest.mark.parametrize("verb", ["log", "nll", "__call__", "pointwise"])
def test_not_a_number_is_not_said_to_be_impossible(lik, verb):
    """NaN in: an error that names it, or NaN out; never the -inf of an impossible value."""
    for values in (
        {"beta": [1.0, np.nan], "sigma": 1.0},
        {"beta": [1.0, 2.0], "sigma": [1.0, np.nan]},
    ):
        try:
            found = getattr(lik, verb)(values)
        except pmlik.ValuesError as error:
            assert re.search("nan", str(error), re.IGNORECASE)  # noqa: PT017 - either is right
            continue
        found = found["y"].isel(id=0) if verb == "pointwise" else found
        assert np.isnan(np.ravel(found)[-1])


def test_infinite_values_are_impossible_and_not_an_error(lik):
    # Their density is zero: SciPy's is, too, or a limit.
    assert float(lik.log(beta=[np.inf, 0.0], sigma=1.0)) == -np.inf
    assert float(lik.log(beta=[1.0, -np.inf], sigma=1.0)) == -np.inf
    assert float(lik.log(beta=[1.0, 2.0], sigma=np.inf)) == -np.inf


@pytest.mark.parametrize("verb", VERBS)
def test_no_values_give_no_results(lik, verb):
    """As NumPy and SciPy: an empty batch has an empty result."""
    found = getattr(lik, verb)(beta=np.empty((0, 2)), sigma=1.0)
    array = found["y"] if verb == "pointwise" else found["beta"] if verb == "gradient" else found
    assert array.shape[0] == 0


def test_whole_numbers_are_numbers(lik):
    expected = oracle([1, 2], 3)
    assert float(lik.log(beta=[1, 2], sigma=3)) == pytest.approx(expected, rel=1e-12)
    values = xr.Dataset({"beta": ("term", [1, 2]), "sigma": 3})
    assert float(lik.log(values)) == pytest.approx(expected, rel=1e-12)


def test_a_series_of_values_is_a_batch(lik):
    sigma = pd.Series([1.0, 2.0], index=["first", "second"])
    expected = [oracle([1, 2], 1.0), oracle([1, 2], 2.0)]
    np.testing.assert_allclose(lik.log(beta=[1, 2], sigma=sigma), expected, rtol=1e-12)


def test_a_series_with_the_labels_of_a_parameter_is_aligned_or_refused(lik):
    beta = pd.Series({"dose": 2.0, "age": 1.0})
    try:
        found = lik.log(beta=beta, sigma=1.0)
    except pmlik.ValuesError as error:
        assert "beta" in str(error)  # noqa: PT017 - either is right
    else:
        assert float(found) == pytest.approx(oracle([1.0, 2.0], 1.0), rel=1e-12)


def test_series_and_frames_in_place_of_a_mapping_are_refused(lik):
    frame = pd.DataFrame({"sigma": [1.0, 2.0]})
    assert "DataFrame" in refusal(lik.log, frame, beta=[1.0, 2.0])
    assert "Series" in refusal(lik.log, frame["sigma"], beta=[1.0, 2.0])


# --- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["average", None, "MEAN", 1])
def test_a_wrong_reduction_is_refused(lik, wrong):
    message = refusal(lik.nll, beta=[1.0, 2.0], sigma=1.0, reduction=wrong)
    assert message == f"reduction: got {wrong!r}, need 'sum', 'mean' or 'none'."


def test_a_wrong_reduction_is_seen_before_wrong_values_are_evaluated(lik):
    with pytest.raises(pmlik.ValuesError):
        lik.nll(reduction="none")


@pytest.mark.parametrize("wrong", ["prof", "MLE", None, "map"])
def test_misspelt_others_are_refused(lik, wrong):
    message = refusal(lik.surface, sigma=[1.0, 2.0], others=wrong)
    assert message == f"others: got {wrong!r}, need 'mle' or 'profile'."


@pytest.mark.parametrize("others", ["mle", "profile"])
def test_a_surface_needs_a_grid(lik, others):
    assert "surface: got no grid" in refusal(lik.surface, others=others)
    assert "surface: got no grid" in refusal(lik.surface, sigma=1.0, others=others)


@pytest.mark.parametrize("shape", [(2, 2), (0,), (1, 3)])
def test_a_grid_of_another_form_is_refused(lik, shape):
    message = refusal(lik.surface, sigma=np.ones(shape))
    assert message.startswith(f"sigma: got shape {shape}, need a 1-d grid or a scalar")


@pytest.mark.parametrize("label", ["beta", "beta[weight]", "tau", "beta[0]", "total", "y"])
def test_an_unknown_label_is_refused_with_the_known_ones(lik, label):
    message = refusal(lik.surface, {label: [1.0, 2.0]})
    assert message.startswith(f"{label}: ")
    assert "beta[age], beta[dose], sigma" in message


@pytest.mark.parametrize("wrong", ["abc", ["a", "b"], [1.0, "b"], {"a": 1}, None], ids=repr)
@pytest.mark.parametrize("others", ["mle", "profile"])
def test_a_grid_that_is_no_numbers_is_refused(lik, wrong, others):
    message = refusal(lik.surface, {"beta[age]": [1.0, 2.0], "sigma": wrong}, others=others)
    assert message.startswith("sigma: got")


def test_a_grid_with_nan_is_refused_or_has_no_value(lik):
    for others in ("mle", "profile"):
        try:
            found = lik.surface(sigma=[1.0, np.nan], others=others)
        except pmlik.ValuesError as error:
            assert "sigma" in str(error)  # noqa: PT017 - either is right
        else:
            assert np.isnan(found[1])


@pytest.mark.parametrize("wrong", [3.0, [1, 2], "beta"], ids=type)
def test_grids_that_are_no_mapping_are_refused(lik, wrong):
    assert f"got {type(wrong).__name__}, need a mapping" in refusal(lik.surface, wrong)


# --- Models ---------------------------------------------------------------------------------------


def test_models_without_a_likelihood_are_refused():
    with pytest.raises(pmlik.ModelError, match="No model"):
        pmlik.Likelihood(progressbar=False)
    with pytest.raises(pmlik.ModelError, match=r"got dict, need a pm\.Model"):
        pmlik.Likelihood({"mu": 1}, progressbar=False)
    with pm.Model() as model:
        pm.Normal("mu")
    with pytest.raises(pmlik.ModelError, match="no observed variable"):
        pmlik.Likelihood(model, progressbar=False)
    with model:
        pm.Normal("y", pm.Poisson("k", 3), 1.0, observed=Y)
    with pytest.raises(pmlik.ModelError, match="k: discrete"):
        pmlik.Likelihood(model, progressbar=False)


def test_a_likelihood_that_is_an_integral_has_the_latents_integrated_out():
    with pm.Model() as model:
        tau = pm.HalfNormal("tau")
        effect = pm.Normal("effect", 0, tau, shape=6)
        pm.Normal("y", effect, 1.0, observed=Y)
    found = pmlik.Likelihood(model, progressbar=False).log(tau=[0.5, 2.0])
    expected = [stats.norm.logpdf(Y, 0, np.sqrt(1 + t**2)).sum() for t in (0.5, 2.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_wrong_options_are_refused():
    case = zoo.binomial()
    for option, wrong in (("potentials", "both"), ("backend", "torch")):
        with pytest.raises(pmlik.ModelError, match=f"{option}: got '{wrong}'"):
            pmlik.Likelihood(case.model, progressbar=False, **{option: wrong})


def test_an_estimate_that_holds_no_problem_is_refused():
    message = refusal(pmlik.Likelihood.of, {"mu": 1.0})
    assert message.startswith("estimate: got dict")
    assert "find_MLE" in message
