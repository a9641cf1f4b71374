"""The status of each scalar, where the answer is known."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

import pmlik
from pmlik import Status


def mle_of(model: pm.Model) -> pmlik.PointEstimate:
    return pmlik.find_MLE(model, random_seed=1, progressbar=False)


def test_an_optimum_inside_is_interior_and_labelled_as_the_values() -> None:
    with pm.Model(coords={"group": ["a", "b"]}) as model:
        mu = pm.Normal("mu", 0, 10, dims="group")
        pm.Deterministic("gap", mu[1] - mu[0])
        pm.Normal("y", mu, 1, observed=[1.0, 2.0])
    mle = mle_of(model)
    assert set(mle.statuses.values()) == {Status.INTERIOR}
    assert list(mle.statuses) == ["mu[a]", "mu[b]", "gap"]
    assert mle.status["mu"].dims == ("group",)
    assert mle.status["mu"].sel(group="b").item() == Status.INTERIOR


@pytest.mark.parametrize(
    ("y", "status"), [(0, Status.LOWER_BOUNDARY), (7, Status.UPPER_BOUNDARY)], ids=["none", "all"]
)
def test_all_trials_alike_put_a_probability_at_its_boundary(y: int, status: Status) -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        pm.Deterministic("odds", p / (1 - p))
        pm.Binomial("y", n=7, p=p, observed=y)
    mle = mle_of(model)
    assert mle.statuses["p"] == status
    assert mle.at_boundary == ["p"]
    assert mle.statuses["odds"] == Status.UNKNOWN
    found = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    assert found.statuses["p"] == Status.INTERIOR


def test_a_category_never_seen_is_at_the_lower_boundary() -> None:
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.full(3, 2.0))
        pm.Multinomial("y", n=9, p=p, observed=[0, 4, 5])
    mle = mle_of(model)
    assert mle.statuses == {
        "p[0]": Status.LOWER_BOUNDARY,
        "p[1]": Status.INTERIOR,
        "p[2]": Status.INTERIOR,
    }


def test_an_end_of_the_support_set_by_the_data_is_a_boundary() -> None:
    with pm.Model() as model:
        top = pm.Exponential("top", 0.1)
        pm.Uniform("y", 0, top, observed=[1.0, 4.0, 2.5])
    assert mle_of(model).statuses["top"] == Status.LOWER_BOUNDARY


@pytest.mark.parametrize("sign", [1, -1])
def test_separation_is_at_infinity_with_its_sign(sign: int) -> None:
    x = np.array([-2.0, -1.0, 1.0, 2.0])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 5)
        pm.Deterministic("twice", -2 * slope)
        pm.Deterministic("at_two", pm.math.invlogit(2 * slope))
        pm.Bernoulli("y", logit_p=sign * slope * x, observed=[0, 0, 1, 1])
    mle = mle_of(model)
    ends = [Status.MINUS_INFINITY, Status.PLUS_INFINITY]
    assert mle.statuses["slope"] == ends[sign > 0]
    assert mle.statuses["twice"] == ends[sign < 0]
    assert mle.statuses["at_two"] == Status.UNKNOWN
    assert mle.at_infinity == ["slope", "twice"]


def test_a_sum_is_identified_and_its_parts_are_not() -> None:
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Deterministic("sum", a + b)
        pm.Normal("y", a + b, 1, observed=[1.0, 2.0])
    mle = mle_of(model)
    assert mle.statuses == {
        "a": Status.NOT_IDENTIFIED,
        "b": Status.NOT_IDENTIFIED,
        "sum": Status.INTERIOR,
    }
    found = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    assert set(found.statuses.values()) == {Status.INTERIOR}


def test_what_the_likelihood_does_not_depend_on_is_not_in_the_objective() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("idle", 0, 1)
        pm.Normal("y", mu, 1, observed=[1.0, 2.0])
    assert mle_of(model).statuses == {"mu": Status.INTERIOR, "idle": Status.NOT_IN_OBJECTIVE}
    found = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    assert found.statuses["idle"] == Status.INTERIOR


def test_a_density_that_grows_without_bound_is_said_to() -> None:
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu", 0, 10), pm.HalfNormal("sigma", 5)
        pm.Normal("y", mu, sigma, observed=[1.5])
    mle = mle_of(model)
    assert mle.labels_at(Status.UNBOUNDED) == ["sigma"]
    assert mle.statuses["mu"] == Status.UNKNOWN


def test_a_variance_of_zero_between_batches_is_at_the_lower_boundary() -> None:
    """Dyestuff2 (lme4): the batches differ less than the rows within them."""
    y = np.array([[1.0, 3.0, 2.0, 4.0], [2.5, 1.5, 3.5, 2.4], [2.0, 3.1, 1.2, 3.8]])
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0, 10), pm.HalfNormal("tau", 5)
        u = pm.Normal("u", mu, tau, shape=3)
        pm.Normal("y", u[:, None], 1.0, observed=y)
    mle = mle_of(model)
    assert mle.statuses == {"mu": Status.INTERIOR, "tau": Status.LOWER_BOUNDARY}
