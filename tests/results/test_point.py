"""Records: frozen, complete, and printed without losing a digit or a name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import pmlik
from oracles.records import statuses_like
from pmlik import Flag, FlagCode, Severity
from pmlik._typing import EigenvalueSigns
from pmlik.results.comparison import Comparison
from pmlik.results.flags import raise_if_strict
from pmlik.results.merge import merge_estimates
from pmlik.results.point import Certificate, FitStatistics, PointEstimate
from pmlik.results.posterior import PosteriorEstimate


def certificate(converged: bool = True) -> Certificate:
    return Certificate(
        converged=converged,
        newton_decrement=1e-9 if converged else np.inf,
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
        statistics=FitStatistics(-123456.789, np.nan, 17, 204),
        certificate=certificate(converged=not flags),
        flags=flags,
        status=statuses_like(values, {}),
        unconstrained=np.zeros(0),
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
        exact = dataclasses.replace(certificate(), newton_decrement=-0.0)
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
