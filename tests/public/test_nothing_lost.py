"""What has been estimated is not lost, and nothing of the host's own reaches the user."""

from __future__ import annotations

import dataclasses
import logging
import warnings

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pmlik
from pmlik import Flag, FlagCode, Severity
from pmlik._typing import EigenvalueSigns
from pmlik.results.comparison import Comparison, merge_estimates
from pmlik.results.flags import raise_if_strict
from pmlik.results.point import Certificate, Counts, PointEstimate
from pmlik.results.posterior import PosteriorEstimate

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
        comparison = pmlik.compare(model, random_seed=1, progressbar=False)
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
        table = pmlik.compare(model, progressbar=False).table
        assert list(table.index) == ["a", "twice"]
        assert table[["MLE", "SE", "MAP"]].notna().all(axis=None)
        posterior = ["posterior mean", "sd", "interval lower", "interval upper", "shift in sd"]
        assert table[posterior].isna().all(axis=None)

    def test_it_prints_and_says_that_there_is_no_posterior(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("<b>bad</b> energy"))
        comparison = pmlik.compare(model, progressbar=False)
        text = " ".join(str(comparison).split())
        assert "error: Sampling did not finish, so there is no posterior." in text
        assert "RuntimeError: <b>bad</b> energy" in text
        html = comparison._repr_html_()
        assert "<b>bad" not in html
        assert "&lt;b&gt;bad" in html

    def test_strict_raises_and_says_why(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("bad energy"))
        with pytest.raises(pmlik.EstimationError, match=r"no posterior.*bad energy"):
            pmlik.compare(model, progressbar=False, strict=True)

    @pytest.mark.parametrize("error", [SystemExit(2), GeneratorExit()])
    def test_what_ends_the_program_still_does(self, error, model, monkeypatch):
        sampler_that_raises(monkeypatch, error)
        with pytest.raises(type(error)):
            pmlik.compare(model, progressbar=False)

    def test_a_reference_of_another_variable_is_refused_before_sampling(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, SystemExit())
        with pytest.raises(pmlik.ValuesError, match="'nothing' is not in the comparison"):
            pmlik.compare(model, progressbar=False, reference={"nothing": 1.0})

    def test_the_seconds_of_a_failed_sampler_are_still_counted(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("no"))
        timings = pmlik.compare(model, progressbar=False).timings
        assert set(timings) == {"building", "MLE", "MAP", "sampling", "intervals", "attribution"}
        assert all(seconds >= 0 for seconds in timings.values())

    def test_draws_that_are_not_numbers_lose_nothing(self, model, monkeypatch):
        draws = xr.Dataset(
            {name: (("chain", "draw"), np.full((4, 50), np.nan)) for name in ("a", "twice")}
        )
        tree = xr.DataTree.from_dict({"posterior": draws})
        monkeypatch.setattr("pmlik.inference.sample.pm.sample", lambda **kwargs: tree)
        comparison = pmlik.compare(model, progressbar=False)
        assert comparison.mle.trusted
        assert not comparison.trusted
        assert "a " in str(comparison)

    def test_a_posterior_without_one_of_the_variables_is_still_shown(self, model, monkeypatch):
        rng = np.random.default_rng(1)
        draws = xr.Dataset({"a": (("chain", "draw"), rng.normal(size=(4, 500)))})
        tree = xr.DataTree.from_dict({"posterior": draws})
        monkeypatch.setattr("pmlik.inference.sample.pm.sample", lambda **kwargs: tree)
        comparison = pmlik.compare(model, progressbar=False)
        assert comparison.posterior is not None
        assert np.isfinite(comparison.table.loc["a", "posterior mean"])
        assert np.isnan(comparison.table.loc["twice", "posterior mean"])
        assert "twice" in str(comparison)

    def test_sample_posterior_alone_lets_the_samplers_error_through(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, RuntimeError("bad energy"))
        with pytest.raises(RuntimeError, match="bad energy"):
            pmlik.sample_posterior(model, progressbar=False)


class TestSamplerCall:
    def test_the_sampler_is_called_with_pmliks_defaults(self, model, monkeypatch):
        calls = []

        def sample(**kwargs):
            calls.append(kwargs)
            raise RuntimeError("enough")

        monkeypatch.setattr("pmlik.inference.sample.pm.sample", sample)
        pmlik.compare(model, random_seed=3, progressbar=False)
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
        pmlik.compare(model, progressbar=False, sample_kwargs=given)
        assert given.items() <= calls[0].items()
        assert given == {"chains": 2, "draws": 7, "target_accept": 0.99}

    def test_without_sampling_nothing_is_sampled_and_nothing_is_wrong(self, model, monkeypatch):
        sampler_that_raises(monkeypatch, AssertionError("it sampled"))
        comparison = pmlik.compare(model, sample=False, progressbar=False, strict=True)
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

    def test_the_users_logging_level_is_restored_when_the_host_fails(self, model, monkeypatch):
        def find_map(**kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr("pmlik.inference.starts.pm.find_MAP", find_map)
        logger = logging.getLogger("pymc")
        before = logger.level
        with pytest.raises(KeyboardInterrupt):
            pmlik.find_MLE(model, progressbar=False)
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

    def test_a_failing_host_costs_only_its_starting_point(self, model, monkeypatch):
        def find_map(*args, **kwargs):
            raise ValueError("it broke")

        monkeypatch.setattr("pmlik.inference.starts.pm.find_MAP", find_map)
        mle = pmlik.find_MLE(model, progressbar=False)
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


# --- the records ----------------------------------------------------------------------------


def certificate(converged: bool = True) -> Certificate:
    return Certificate(
        converged=converged,
        estimated_distance=1e-9 if converged else np.inf,
        gradient_norm=1e-8,
        eigenvalue_signs=EigenvalueSigns(2, 0, 0),
        n_gradients=9,
        n_products=4,
        moved=True,
        start="pm.find_MAP",
    )


LONG = "a_parameter_whose_name_goes_on_for_much_longer_than_anybody_would_type_twice"


def datasets() -> tuple[xr.Dataset, xr.Dataset]:
    vector = np.linspace(-3, 3, 200)
    values = xr.Dataset(
        {
            LONG: 1.5,
            "scalar": np.nan,
            "few": ("kind", [1e-9, np.inf, -np.inf]),
            "vector": ("place", vector),
        },
        coords={"kind": ["plain", "<b>bold</b>", "x" * 70], "place": np.arange(200)},
    )
    errors = xr.Dataset(
        {
            LONG: 0.25,
            "scalar": np.nan,
            "few": ("kind", [1e-10, np.nan, 0.0]),
            "vector": ("place", np.where(np.arange(200) % 2, 3.0, np.nan)),
        },
        coords=values.coords,
    )
    return values, errors


FLAGS = (
    Flag(
        FlagCode.NOT_CONVERGED, Severity.ERROR, (), "Do something else. " * 6, "Stopped at x = 1."
    ),
    Flag(FlagCode.NOT_IN_LIKELIHOOD, Severity.WARNING, ("scalar",), "Its posterior is its prior."),
    Flag(FlagCode.POTENTIAL_IN_LIKELIHOOD, Severity.INFO, (LONG, "few[plain]")),
    Flag(
        FlagCode.NOT_IDENTIFIED,
        Severity.WARNING,
        tuple(f"vector[{i}]" for i in range(200)),
        "Only a combination of them is determined: drop or fix one.",
    ),
)


def point(kind: str = "mle", flags: tuple[Flag, ...] = FLAGS) -> PointEstimate:
    values, errors = datasets()
    return PointEstimate(
        kind=kind,
        values=values,
        std_error=errors,
        covariance=None,
        log_likelihood=-123456.789,
        log_prior=np.nan,
        counts=Counts(17, 204),
        certificate=certificate(converged=not flags),
        flags=flags,
    )


def posterior() -> PosteriorEstimate:
    values, errors = datasets()
    interval = xr.concat([values - 2, values + 2], dim="ci_bound").assign_coords(
        ci_bound=["lower", "upper"]
    )
    return PosteriorEstimate(
        tree=xr.DataTree(),
        values=values,
        std_error=errors,
        interval=interval.transpose(..., "ci_bound").assign_attrs(ci_kind="hdi", ci_prob=0.89),
        diagnostics={"r_hat": np.nan, "ess_bulk": 12.0, "ess_tail": 9.0, "divergences": 3.0},
        flags=(Flag(FlagCode.LOW_ESS, Severity.ERROR, (), "Draw more.", "Worst 9."),),
    )


def comparison_of(sampled: bool) -> Comparison:
    chains = posterior() if sampled else None
    dataset, flags = merge_estimates(point("mle"), point("map"), chains)
    return Comparison(
        mle=point("mle"),
        map=point("map"),
        posterior=chains,
        dataset=dataset,
        flags=flags,
        timings={"building": 0.1, "MLE": 2.34, "MAP": 100.0},
        random_seed=2**32,
        versions={"pmlik": "0"},
    )


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


class TestRecords:
    @pytest.mark.parametrize(
        "record", [FLAGS[0], certificate(), point(), posterior(), comparison_of(sampled=False)]
    )
    def test_records_are_frozen(self, record):
        name = dataclasses.fields(record)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)

    def test_a_flag_reads_as_sentences(self):
        flag = Flag(FlagCode.LOW_ESS, Severity.ERROR, ("a", "b[1]"), "Draw more.", "Worst 9.")
        assert str(flag) == f"a, b[1]: {FlagCode.LOW_ESS.value} Worst 9. Draw more."
        assert str(Flag(FlagCode.LOW_ESS, Severity.INFO)) == FlagCode.LOW_ESS.value

    @pytest.mark.parametrize("code", FlagCode)
    def test_every_code_is_a_sentence(self, code):
        assert code.value[0].isupper()
        assert code.value.endswith(".")

    def test_severities_are_in_order(self):
        assert [s.value for s in Severity] == ["info", "warning", "error"]

    def test_strict_raises_for_errors_only_and_one_line_each(self):
        raise_if_strict(FLAGS[1:], strict=True)
        raise_if_strict(FLAGS, strict=False)
        with pytest.raises(pmlik.EstimationError) as caught:
            raise_if_strict((FLAGS[0], FLAGS[1], FLAGS[0]), strict=True)
        assert len(str(caught.value).splitlines()) == 2

    def test_information_criteria_are_of_a_trusted_mle_only(self):
        trusted = point(flags=())
        assert trusted.aic == pytest.approx(2 * 204 + 2 * 123456.789)
        assert trusted.bic == pytest.approx(204 * np.log(17) + 2 * 123456.789)
        assert trusted.nll == pytest.approx(123456.789)
        assert np.isnan(point(flags=()).__class__.aic.fget(point("map", ())))
        assert np.isnan(point("map", ()).bic)
        assert np.isnan(point().aic)

    def test_a_certificate_reads_as_a_phrase(self):
        assert str(certificate()) == "certified, 1e-09 SE from the optimum"
        assert "not certified" in str(certificate(converged=False))
        exact = dataclasses.replace(certificate(), estimated_distance=-0.0)
        assert "-0" not in str(exact)


@pytest.mark.usefixtures("narrow")
class TestPrinted:
    @pytest.mark.parametrize(
        "record",
        [point(), point("map", ()), posterior(), comparison_of(True), comparison_of(False)],
        ids=["MLE", "MAP", "posterior", "comparison", "comparison without posterior"],
    )
    def test_no_line_is_longer_than_the_terminal(self, record):
        assert max(map(len, str(record).splitlines())) <= 80

    @pytest.mark.parametrize("sampled", [True, False])
    def test_every_flag_is_under_the_table_in_words(self, sampled):
        comparison = comparison_of(sampled)
        text = " ".join(str(comparison).split())
        for flag in comparison.flags:
            assert f"{flag.severity}: " in text
            assert flag.code.value in text

    def test_no_column_is_cut_short_or_left_out(self):
        comparison = comparison_of(sampled=True)
        table = str(comparison).split("\nlikelihood")[0]
        assert "\N{HORIZONTAL ELLIPSIS}" not in table
        heading = next(line for line in table.splitlines() if "89% HDI" in line)
        assert heading.split()[-2:] == ["shift/sd", "flags"]
        flagged = [line for line in table.splitlines() if "(200)" in line][-1]
        assert flagged.split()[-1] == "1,2,4"  # two errors about everything, one flag of its own

    def test_no_column_is_left_out_where_numbers_are_long(self):
        comparison = comparison_of(sampled=True)
        dataset = comparison.dataset.copy()
        dataset["vector"] = dataset["vector"] * 345678.9
        text = str(dataclasses.replace(comparison, dataset=dataset))
        heading = next(line for line in text.splitlines() if "89% HDI" in line)
        assert heading.split()[-2:] == ["shift/sd", "flags"]

    def test_the_heading_of_the_first_column_is_whole(self):
        assert "\nparameter " in str(comparison_of(sampled=True))

    def test_a_log_likelihood_keeps_its_decimals_whatever_its_size(self):
        # Differences of log-likelihoods are what they are read for.
        text = str(comparison_of(sampled=False))
        assert "log L = \N{MINUS SIGN}123456.789" in text

    @pytest.mark.parametrize("sampled", [True, False])
    def test_a_long_name_is_whole_in_the_flags_too(self, sampled):
        notes = str(comparison_of(sampled)).split("\nlikelihood")[1]
        assert LONG in "".join(notes.split())

    def test_figures_that_are_not_known_are_not_printed_as_nan(self):
        assert "nan" not in str(posterior())

    def test_a_long_vector_is_summarised_in_a_comparison(self):
        table = str(comparison_of(sampled=False)).split("\nlikelihood")[0]
        for word in ("min", "median", "max"):
            assert f"\nvector (200) {word} " in table
        assert "\nvector[" not in table

    @pytest.mark.parametrize("record", [point(), posterior()], ids=["MLE", "posterior"])
    def test_a_long_vector_is_summarised_in_a_single_estimate(self, record):
        assert len(str(record).splitlines()) < 80

    def test_a_flag_about_very_many_variables_does_not_fill_the_screen(self):
        assert len(str(comparison_of(sampled=False)).splitlines()) < 60

    def test_long_names_are_whole_though_folded(self):
        text = str(comparison_of(sampled=True)).split("\nlikelihood")[0]
        first_column = "".join(line.split(" ")[0] for line in text.splitlines())
        assert LONG in first_column

    def test_an_estimate_not_to_be_trusted_says_so(self):
        assert str(comparison_of(sampled=True)).count("NOT TO BE TRUSTED") == 3

    @pytest.mark.parametrize("sampled", [True, False])
    def test_html_shows_coordinates_as_text(self, sampled):
        html = comparison_of(sampled)._repr_html_()
        assert "<b>" not in html
        assert "&lt;b&gt;bold" in html

    def test_the_table_keeps_every_scalar(self):
        table = comparison_of(sampled=True).table
        assert len(table) == 205
        assert table.loc["scalar", "flags"].endswith("NOT_IN_LIKELIHOOD")
        assert table.index[0] == LONG

    def test_a_flag_about_one_element_is_marked_in_its_row_only(self):
        table = comparison_of(sampled=False).table
        assert "POTENTIAL_IN_LIKELIHOOD" in table.loc["few[plain]", "flags"]
        assert "POTENTIAL_IN_LIKELIHOOD" not in table.loc["few[<b>bold</b>]", "flags"]
