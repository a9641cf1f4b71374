"""What has been estimated is not lost, and nothing of the host's own reaches the user."""

from __future__ import annotations

import logging
import sys
import warnings

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pmlik
from pmlik import FlagCode, Severity

Y = np.array([0.3, -1.2, 0.8, 1.9, -0.4, 0.6])
FEW = {"draws": 10, "tune": 10, "chains": 2, "cores": 1}


def mean_model() -> pm.Model:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 10)
        pm.Deterministic("twice", 2 * a)
        pm.Normal("y", a, 1.0, observed=Y)
    return model


@pytest.fixture(scope="module")
def model() -> pm.Model:
    return mean_model()


def sampler_that_raises(monkeypatch, error: BaseException) -> None:
    def sample(**kwargs):
        raise error

    monkeypatch.setattr("pmlik.inference.sample.pm.sample", sample)


FAILURES = {
    "an error": (RuntimeError("bad energy\nwith a second line"), "RuntimeError: bad energy"),
    "an error without words": (ZeroDivisionError(), "ZeroDivisionError"),
    "a sampling error": (pm.exceptions.SamplingError("no start"), "SamplingError: no start"),
    "an interruption": (KeyboardInterrupt(), "It was interrupted."),
    "no memory": (MemoryError("too big"), "MemoryError: too big"),
    "an import": (ImportError("No module named jax"), "ImportError: No module named jax"),
}


class TestFailedSampling:
    @pytest.mark.parametrize("case", FAILURES)
    def test_the_mle_and_the_map_stay_and_a_flag_says_why(self, case, model, monkeypatch):
        error, words = FAILURES[case]
        sampler_that_raises(monkeypatch, error)
        comparison = pmlik.compare(model, random_seed=1, progressbar=False, extras=False)
        assert float(comparison.mle.values["a"]) == pytest.approx(Y.mean())
        assert float(comparison.mle.std_error["a"]) == pytest.approx(len(Y) ** -0.5)
        assert float(comparison.map.values["a"]) == pytest.approx(Y.sum() / (len(Y) + 0.01))
        assert comparison.posterior is None
        (flag,) = [f for f in comparison.flags if f.code is FlagCode.NO_POSTERIOR]
        assert flag.severity is Severity.ERROR
        assert words in str(flag)
        assert "second line" not in str(flag)
        assert not comparison.trusted

    def test_the_table_has_nan_for_the_posterior(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("no"))
        table = pmlik.compare(model, progressbar=False, extras=False).table
        assert list(table.index) == ["a", "twice"]
        assert table[["MLE", "SE", "MAP"]].notna().all(axis=None)
        posterior = ["posterior mean", "sd", "interval lower", "interval upper", "shift in sd"]
        assert table[posterior].isna().all(axis=None)

    def test_it_prints_and_says_that_there_is_no_posterior(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("<b>bad</b> energy"))
        comparison = pmlik.compare(model, progressbar=False, extras=False)
        text = " ".join(str(comparison).split())
        assert "error: Sampling did not finish, so there is no posterior." in text
        assert "RuntimeError: <b>bad</b> energy" in text
        html = comparison._repr_html_()
        assert "<b>bad" not in html
        assert "&lt;b&gt;bad" in html

    def test_strict_raises_and_says_why(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("bad energy"))
        with pytest.raises(pmlik.EstimationError, match=r"no posterior.*bad energy"):
            pmlik.compare(model, progressbar=False, extras=False, strict=True)

    @pytest.mark.parametrize("error", [SystemExit(2), GeneratorExit()])
    def test_what_ends_the_program_still_does(self, error, model, monkeypatch):
        sampler_that_raises(monkeypatch, error)
        with pytest.raises(type(error)):
            pmlik.compare(model, progressbar=False, extras=False)

    def test_a_reference_of_another_variable_is_refused_before_sampling(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, SystemExit())
        with pytest.raises(pmlik.ValuesError, match="'nothing' is not in the comparison"):
            pmlik.compare(model, progressbar=False, extras=False, reference={"nothing": 1.0})

    def test_the_seconds_of_a_failed_sampler_are_still_counted(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("no"))
        timings = pmlik.compare(model, progressbar=False).timings
        estimates = {"building", "MLE", "MAP", "sampling", "intervals", "attribution"}
        assert set(timings) == {*estimates, "curves", "data and prior"}
        assert all(seconds >= 0 for seconds in timings.values())

    def test_draws_that_are_not_numbers_lose_nothing(self, model, monkeypatch):
        draws = xr.Dataset(
            {name: (("chain", "draw"), np.full((4, 50), np.nan)) for name in ("a", "twice")}
        )
        tree = xr.DataTree.from_dict({"posterior": draws})
        monkeypatch.setattr("pmlik.inference.sample.pm.sample", lambda **kwargs: tree)
        comparison = pmlik.compare(model, progressbar=False, extras=False)
        assert comparison.mle.trusted
        assert not comparison.trusted
        assert "a " in str(comparison)

    def test_a_posterior_without_one_of_the_variables_is_still_shown(self, model, monkeypatch):
        rng = np.random.default_rng(1)
        draws = xr.Dataset({"a": (("chain", "draw"), rng.normal(size=(4, 500)))})
        tree = xr.DataTree.from_dict({"posterior": draws})
        monkeypatch.setattr("pmlik.inference.sample.pm.sample", lambda **kwargs: tree)
        comparison = pmlik.compare(model, progressbar=False, extras=False)
        assert comparison.posterior is not None
        assert np.isfinite(comparison.table.loc["a", "posterior mean"])
        assert np.isnan(comparison.table.loc["twice", "posterior mean"])
        assert "twice" in str(comparison)

    def test_sample_posterior_alone_lets_the_samplers_error_through(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("bad energy"))
        with pytest.raises(RuntimeError, match="bad energy"):
            pmlik.sample_posterior(model, progressbar=False)


STEPS = {
    "audit": "audit",
    "intervals": "trace_profiles",
    "attribution": "explain",
    "curves": "keep_curves",
    "data and prior": "keep_extras",
}


class TestFailedSteps:
    @pytest.mark.parametrize("step", STEPS)
    def test_a_step_that_ends_early_loses_only_itself(self, step, model, monkeypatch):
        interrupted = step in ("audit", "attribution", "curves")
        error = KeyboardInterrupt() if interrupted else RuntimeError("it broke\nand more")
        rng = np.random.default_rng(1)
        draws = {"a": (("chain", "draw"), rng.normal(0.33, 0.4, size=(4, 500)))}
        draws["twice"] = (("chain", "draw"), 2 * draws["a"][1])
        tree = xr.DataTree.from_dict({"posterior": xr.Dataset(draws)})
        monkeypatch.setattr("pmlik.inference.sample.pm.sample", lambda **kwargs: tree)

        def fail(*args, **kwargs):
            raise error

        room = "pmlik.stats.intervals" if step == "intervals" else "pmlik.compare"
        monkeypatch.setattr(sys.modules[room], STEPS[step], fail)
        comparison = pmlik.compare(model, progressbar=False, random_seed=1)
        row = comparison.table.loc["a"]
        assert row["MLE"] == pytest.approx(Y.mean())
        assert row["posterior mean"] == pytest.approx(draws["a"][1].mean())
        (flag,) = [f for f in comparison.flags if f.code is FlagCode.STEP_LEFT_OUT]
        assert f"{step}: " in flag.detail
        assert "more" not in flag.detail
        assert "wald" in comparison.intervals
        assert "a " in str(comparison)


class TestSamplerCall:
    def test_the_sampler_is_called_with_pmliks_defaults(self, model, monkeypatch):
        calls = []

        def sample(**kwargs):
            calls.append(kwargs)
            raise RuntimeError("enough")

        monkeypatch.setattr("pmlik.inference.sample.pm.sample", sample)
        pmlik.compare(model, random_seed=3, progressbar=False, extras=False)
        (call,) = calls
        assert call["model"] is model
        assert call["random_seed"] == 3
        assert call["chains"] == 4
        assert call["progressbar"] is False
        assert "backend" not in call

    def test_what_the_user_says_wins(self, model, monkeypatch):
        calls = []

        def sample(**kwargs):
            calls.append(kwargs)
            raise RuntimeError("enough")

        monkeypatch.setattr("pmlik.inference.sample.pm.sample", sample)
        given = {"chains": 2, "draws": 7, "target_accept": 0.99}
        pmlik.compare(model, progressbar=False, extras=False, sample_kwargs=given)
        assert given.items() <= calls[0].items()
        assert given == {"chains": 2, "draws": 7, "target_accept": 0.99}

    def test_without_sampling_nothing_is_sampled_and_nothing_is_wrong(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, AssertionError("it sampled"))
        comparison = pmlik.compare(
            model, sample=False, progressbar=False, extras=False, strict=True
        )
        assert comparison.posterior is None
        assert comparison.flags == ()
        assert "sampling" not in comparison.timings
        assert "chains" in str(comparison)


class TestQuiet:
    def several_models(self) -> list[pm.Model]:
        with pm.Model() as with_potential:
            a, s = pm.Normal("a"), pm.HalfNormal("s")
            pm.Normal("y", a, s, observed=Y)
            pm.Potential("p", -((a - s) ** 2))
        with pm.Model() as without_optimum:
            top = pm.HalfNormal("top", 10, initval=5.0)
            pm.Uniform("y", 0, top, observed=[0.5, 2.0])
        with pm.Model() as unused:
            pm.Normal("unused")
            pm.Normal("y", pm.Normal("a"), 1.0, observed=Y)
        with pm.Model() as replaced_start:
            top = pm.Uniform("top", 0, 10)
            pm.Truncated("y", pm.Normal.dist(0, 1), upper=top, observed=[0.5, 2.0, 5.5])
        return [mean_model(), with_potential, without_optimum, unused, replaced_start]

    @pytest.mark.parametrize("verb", [pmlik.find_MLE, pmlik.find_MAP])
    def test_no_warning_and_no_log_line_reaches_the_user(self, verb, caplog, capfd):
        models = self.several_models()
        with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
            warnings.simplefilter("always")
            for each in models:
                verb(each, progressbar=False)
        assert [str(w.message) for w in caught] == []
        assert [r.getMessage() for r in caplog.records if r.name.startswith("pymc")] == []
        out, err = capfd.readouterr()
        assert out == err == ""

    @pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.WARNING, 37])
    def test_the_users_logging_level_is_restored(self, level, model):
        logger = logging.getLogger("pymc")
        before = logger.level
        logger.setLevel(level)
        try:
            pmlik.find_MLE(model, progressbar=False)
            assert logger.level == level
        finally:
            logger.setLevel(before)

    def test_the_users_logging_level_is_restored_when_the_host_fails(self, monkeypatch):
        def find_map(**kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr("pmlik.inference.starts.pm.find_MAP", find_map)
        logger = logging.getLogger("pymc")
        before = logger.level
        with pytest.raises(KeyboardInterrupt):
            pmlik.find_MLE(mean_model(), progressbar=False)
        assert logger.level == before

    def test_the_users_warning_filters_and_error_state_are_restored(self, model):
        with warnings.catch_warnings(), np.errstate(divide="raise", over="print"):
            warnings.simplefilter("error", RuntimeWarning)
            before, state = list(warnings.filters), np.geterr()
            pmlik.find_MLE(model, progressbar=False)
            assert list(warnings.filters) == before
            assert np.geterr() == state

    def test_warnings_as_errors_change_nothing(self, model):
        with warnings.catch_warnings(), np.errstate(all="raise"):
            warnings.simplefilter("error")
            mle = pmlik.find_MLE(model, progressbar=False)
        assert mle.trusted
        assert mle.certificate.start == "pm.find_MAP"

    def test_a_failing_host_costs_only_its_starting_point(self, monkeypatch):
        def find_map(*args, **kwargs):
            raise ValueError("it broke")

        monkeypatch.setattr("pmlik.inference.starts.pm.find_MAP", find_map)
        mle = pmlik.find_MLE(mean_model(), progressbar=False)
        assert float(mle.values["a"]) == pytest.approx(Y.mean())
        assert mle.trusted
        assert [flag.code for flag in mle.flags] == [FlagCode.OTHER_START]
        assert "initial point" in str(mle.flags[0])

    def test_a_whole_comparison_is_quiet(self, model, caplog, capfd):
        with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.INFO):
            warnings.simplefilter("always")
            comparison = pmlik.compare(
                model, random_seed=1, progressbar=False, sample_kwargs={**FEW, "draws": 200}
            )
        assert comparison.posterior is not None
        assert [str(w.message) for w in caught if "pm" in str(w.filename)] == []
        assert [r.getMessage() for r in caplog.records if r.name.startswith("pymc")] == []
        assert capfd.readouterr() == ("", "")
