"""Sections of the page: fit and prediction by method, shares of data and prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pmlik.labels import labelled, printable
from pmlik.results.background import Predictive
from pmlik.results.format import MINUS, count, format_fixed
from pmlik.results.information import InformationShares

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison
    from pmlik.results.point import PointEstimate


# Where the data determine this much of each parameter, none is named.
_NEARLY_ALL = 0.995
_MINUS_TWO = f"{MINUS}2 elpd, by PSIS-LOO"


def fit_section(comparison: Comparison) -> dict[str, Any]:
    """Return a table with one column per method, and sentences made from it."""
    mle, best = comparison.mle, comparison.map
    predictive, shares = map(comparison.background.extras.get, ("predictive", "shares"))
    counted = shares.effective_parameters if isinstance(shares, InformationShares) else np.nan
    by_data = format_fixed(counted, 2) if np.isfinite(counted) else ""
    loo = (
        format_fixed(predictive.effective_parameters, 2)
        if isinstance(predictive, Predictive)
        else ""
    )
    rows = [
        ("log-likelihood", format_fixed(mle.log_likelihood), format_fixed(best.log_likelihood), ""),
        ("log-prior (natural scale)", _prior(mle), _prior(best), ""),
        ("parameters that count", str(mle.n_parameters), by_data, loo),
        ("AIC", format_fixed(mle.aic), "", ""),
        ("AICc", format_fixed(mle.aicc), "", ""),
        ("BIC", format_fixed(mle.bic), "", ""),
    ]
    if isinstance(predictive, Predictive):
        shown = (
            f"{format_fixed(-2 * predictive.elpd)} ({format_fixed(2 * predictive.std_error, 2)})"
        )
        rows.append((_MINUS_TWO, "", "", shown))
    return {"rows": rows, "texts": _sentences(comparison, predictive)}


def _prior(estimate: PointEstimate) -> str:
    """Return a dash at a point that does not exist."""
    return format_fixed(estimate.log_prior if estimate.trusted else np.nan)


def _sentences(comparison: Comparison, predictive: Any) -> list[str]:
    if isinstance(predictive, str):
        return [f"No PSIS-LOO. {predictive}"]
    if not isinstance(predictive, Predictive):
        return []
    texts = []
    aic, deviance = comparison.mle.aic, -2 * predictive.elpd
    if np.isfinite(aic):
        gap, error = deviance - aic, 2 * predictive.std_error
        size = "less" if abs(gap) < error else "more"
        texts.append(
            f"AIC and {MINUS}2 elpd both estimate how badly new data would be predicted, the first "
            f"at the MLE and the second by the posterior: {format_fixed(aic, 2)} and "
            f"{format_fixed(deviance, 2)}, {format_fixed(abs(gap), 2)} apart, which is {size} than "
            f"the standard error ({format_fixed(error, 2)}). Smaller is better, and only "
            "differences between models of the same data mean something: "
            "pmlik.compare_models makes them."
        )
    if predictive.n_high:
        many = count(predictive.n_high, "observation has", "observations have")
        texts.append(
            f"PSIS-LOO is not reliable here: {many} a Pareto k above {predictive.threshold:.2g}, "
            f"the worst {predictive.worst_k:.2f}. Left out, each would move the posterior further "
            "than these draws can tell."
        )
    else:
        texts.append(
            f"PSIS-LOO is reliable here: no Pareto k is above {predictive.threshold:.2g}, the "
            f"worst is {predictive.worst_k:.2f}."
        )
    return texts


def information_section(comparison: Comparison, order: Sequence[str]) -> dict[str, Any] | None:
    """Return shares and sensitivities by scalar, and sentences made from them.

    ``order``: labels, the most important first.
    """
    shares, found = map(comparison.background.extras.get, ("shares", "sensitivity"))
    part = labelled(shares.shares) if isinstance(shares, InformationShares) else {}
    sensitive = _by_label(found) if isinstance(found, xr.Dataset) else {}
    known = [label for label in order if np.isfinite(part.get(label, np.nan)) or label in sensitive]
    left_out = [text for text in (shares, found) if isinstance(text, str)]
    if not known and not left_out:
        return None
    return {
        "rows": [_row(label, part.get(label, np.nan), sensitive) for label in known],
        "shared": bool(np.isfinite(list(part.values())).any()),
        "sensitive": bool(sensitive),
        "texts": _weights(comparison, shares, {k: v for k, v in part.items() if k in order}),
        "left_out": left_out,
    }


def _row(label: str, share: float, sensitive: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "label": printable(label),
        "share": _percent(share),
        "width": float(np.clip(share, 0, 1)) if np.isfinite(share) else None,
        "sensitivity": sensitive.get(label, ("", "", "")),
    }


def _percent(share: float) -> str:
    return f"{format_fixed(100 * share, 0)}%" if np.isfinite(share) else ""


def _by_label(found: xr.Dataset) -> dict[str, tuple[str, str, str]]:
    columns = (found[name].to_numpy() for name in ("prior", "likelihood", "diagnosis"))
    rows = zip(found["parameter"].to_numpy(), *columns, strict=True)
    return {
        str(label): (
            format_fixed(float(p)),
            format_fixed(float(q)),
            str(d).removeprefix("\N{CHECK MARK}"),
        )
        for label, p, q, d in rows
    }


def _weights(comparison: Comparison, shares: Any, part: dict[str, float]) -> list[str]:
    if not isinstance(shares, InformationShares):
        return []
    texts = [str(flag) for flag in shares.flags]
    total = shares.effective_parameters
    if np.isfinite(total):
        counted = count(comparison.map.n_parameters, "parameter", "parameters")
        text = f"Of {counted} the data determine {format_fixed(total, 2)}, the prior the rest."
        least = min(part, key=lambda label: part[label], default="")
        if least and part[least] < _NEARLY_ALL:
            share = f"{_percent(part[least])} of what is known of it"
            text += f" The data say least of {printable(least)}: {share}."
        texts.append(text)
    if shares.prior_only:
        names = "; ".join(map(printable, shares.prior_only))
        texts.append(f"The likelihood says nothing of: {names}.")
    return texts
