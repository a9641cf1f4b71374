"""Hypotheses as text: against R's car::linearHypothesis and likelihood ratios, and by counting."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmlik
from oracles import regressions_of_r

WARPBREAKS = regressions_of_r.warpbreaks


@pytest.fixture(scope="module")
def breaks() -> pmlik.Comparison:
    """The regression with normal draws around the MLE in place of sampled ones."""
    found = pmlik.compare(
        WARPBREAKS(), sample=False, extras=False, profile=False, progressbar=False, random_seed=1
    )
    return found


def test_wald_and_likelihood_ratio_are_those_of_r(breaks) -> None:
    row = breaks.hypothesis("effect[M] = effect[H]", method="lr").table.iloc[0]
    # linearHypothesis(w, "tensionM = tensionH", test="Chisq")
    assert row["z"] ** 2 == pytest.approx(8.3255945529813928, rel=1e-8)
    assert row["p-value"] == pytest.approx(0.0039090341868245, rel=1e-7)
    # w0 <- glm(breaks ~ wool + I(tension != "L"), ...); 2 * (logLik(w) - logLik(w0))
    assert row["LR"] == pytest.approx(8.3660957259431, rel=1e-6)
    assert row["p-value LR"] == pytest.approx(stats.chi2.sf(8.3660957259431, 1), rel=1e-6)
    logit = pmlik.compare(
        regressions_of_r.mtcars(), sample=False, extras=False, profile=False, progressbar=False
    )
    row = logit.hypothesis(" hp =0.05", method="lr").table.loc["hp =0.05"]
    # linearHypothesis(m, "hp = 0.05", test="Chisq"), and a fit with offset(0.05 * hp)
    assert row["z"] ** 2 == pytest.approx(0.60066300633811, rel=1e-7)
    assert row["p-value"] == pytest.approx(0.43832517088967, rel=1e-7)
    assert row["LR"] == pytest.approx(0.4467802649199, rel=1e-6)


def test_an_inequality_is_one_sided(breaks) -> None:
    found = breaks.hypothesis(["woolB < 0", "woolB > 0"], method="lr").table
    z = breaks.table.at["woolB", "MLE"] / breaks.table.at["woolB", "SE"]
    assert found.at["woolB < 0", "p-value"] == pytest.approx(stats.norm.cdf(z))
    assert found["p-value"].sum() == pytest.approx(1)
    assert found["p-value LR"].sum() == pytest.approx(1)
    assert found.at["woolB < 0", "p-value LR"] < 1e-4


def test_equations_are_a_null(breaks) -> None:
    def statistic(null) -> float:
        return pmlik.likelihood_ratio_test(breaks, null=null, progressbar=False).statistic

    assert statistic("effect[M] - effect[H] = 0") == pytest.approx(8.3660957259431, rel=1e-6)
    assert statistic("effect = 0") == pytest.approx(statistic({"effect": 0}))
    both = ["effect[ M ] = 0", "effect[H] == 0.0"]
    assert statistic(both) == pytest.approx(statistic({"effect": 0}))
    test = pmlik.likelihood_ratio_test(breaks, null="exp(woolB) = 0.8", progressbar=False)
    assert test.null == "exp(woolB) = 0.8"
    assert test.statistic == pytest.approx(statistic({"woolB": np.log(0.8)}), rel=1e-6)


def test_a_variance_of_zero_is_tested_at_its_border() -> None:
    y = np.array([0.1, -0.2, 0.3, 0.0, 0.2, -0.1])
    with pm.Model() as model:
        s = pm.HalfNormal("s", 1)
        pm.Normal("y", 0, pm.math.sqrt(1 + s**2), observed=5 * y)
    found = pmlik.compare(model, sample=False, extras=False, profile=False, progressbar=False)
    row = found.hypothesis("s = 0", method="lr")
    assert row.table["p-value LR"].iloc[0] == pytest.approx(
        pmlik.likelihood_ratio_test(found, null={"s": 0}, progressbar=False).p_value
    )


def test_labels_of_all_kinds_are_read() -> None:
    coords = {"what": ["log age", "a, b", "x=1"], "n": [1, 2]}
    with pm.Model(coords=coords) as model:
        mu = pm.Normal("mu", 0, 10, dims=("what", "n"))
        pm.Normal("y", mu, 1, observed=np.arange(6.0).reshape(3, 2))
    found = pmlik.compare(model, sample=False, extras=False, profile=False, progressbar=False)
    texts = ["mu[log age,2] = 0", "mu[a, b, 1] - mu[x=1, 2] > -1", "2 * mu[x=1,1]^2 < exp(1) + 1e1"]
    estimates = found.hypothesis(texts).table["estimate"]
    np.testing.assert_allclose(estimates, [1, -2, 32 - np.exp(1) - 10], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wolB = 0", "Did you mean woolB"),
        ("effect[L] = 0", r"there is no effect\[L\]"),
        ("effect = 0", "not a scalar"),
        ("woolB", "one =, < or >"),
        ("0 < woolB < 1", "one =, < or >"),
        ("woolB != 0", "one =, < or >"),
        ("woolB = ", "can't be read"),
        ("woolB = (1", "can't be read"),
        ("1 = 1", "no quantity"),
        ("__import__('os').system('x') = 0", "can't be read"),
        ("woolB.__class__ = 0", "can't be read"),
        ("open(woolB) = 0", r"open\(\) is not known"),
        ("[woolB for x in 1] = 0", "can't be read"),
        ("-" * 100 + "woolB = 0", "can't be read|nested"),
        (3, "need text"),
    ],
)
def test_what_is_no_hypothesis_is_refused(breaks, text, words) -> None:
    with pytest.raises(pmlik.ValuesError, match=words):
        breaks.hypothesis(text if isinstance(text, str) else [text])
