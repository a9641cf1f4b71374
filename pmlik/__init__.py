"""One PyMC model: what the likelihood says, what the prior adds, what the posterior says.

Everything at once, and the pieces:

- `compare`: MLE, MAP and posterior in one `Comparison`, with table, findings, page and files;
- of a comparison: ``derive``, ``hypothesis``, ``predict``, ``findings``, ``to_html``, ``save``,
  ``attach``;
- `find_MLE`, `find_MAP`, `sample_posterior`: one of them alone;
- `Likelihood`: p(y | theta) as a function of theta, to call, differentiate and draw;
- `profile`, `interval_profile`, `interval_wald`, `interval_bootstrap`: confidence intervals;
- `likelihood_ratio_test`, `compare_models`: nested models, and any models;
- `bootstrap`, `make_robust`: standard errors that do not lean on curvature or on the model;
- `calibrate`: which of the intervals cover the truth in data sets like these;
- `share_information`, `sensitivity`: what the data and the prior bring;
- `plot_compare`, `plot_forest`, `plot_attribution`, `plot_likelihood`, `plot_profile`,
  `plot_waterfall`, `plot_calibration`: figures;
- `likelihood_model`, `marginal_model`: a `pm.Model` without its prior, or without its latents;
- `load`: a comparison from a file.

Estimates are labelled as the model is and in its units. What can't be trusted is NaN, and a
`Flag` says why. ``Status`` says of each scalar where it sits.

Examples
--------
>>> import pymc as pm, pmlik
>>> with pm.Model() as model:
...     p = pm.Beta("p", 2, 2)
...     heads = pm.Binomial("heads", n=10, p=p, observed=7)
>>> comparison = pmlik.compare(model, sample=False, progressbar=False)
>>> comparison.table.loc["p", ["MLE", "SE", "MAP"]].round(3).to_dict()
{'MLE': 0.7, 'SE': 0.145, 'MAP': 0.667}
"""

from importlib.metadata import version

from pmlik.compare import compare
from pmlik.errors import (
    EstimationError,
    FileError,
    ModelError,
    NestingError,
    PmlikError,
    StartError,
    UnderflowWarning,
    ValuesError,
)
from pmlik.inference.find import find_MAP, find_MLE
from pmlik.inference.likelihood import Likelihood
from pmlik.inference.marginal_model import marginal_model
from pmlik.inference.robust import make_robust
from pmlik.inference.sample import sample_posterior
from pmlik.model.transform import likelihood_model
from pmlik.plots.calibration import plot_calibration
from pmlik.plots.comparison import plot_attribution, plot_compare, plot_forest
from pmlik.plots.profile import plot_waterfall
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.hypotheses import Hypotheses
from pmlik.results.information import InformationShares
from pmlik.results.point import Certificate, PointEstimate, Status
from pmlik.results.posterior import PosteriorEstimate
from pmlik.results.predictions import Predictions
from pmlik.stats.afterwards import load
from pmlik.stats.bootstrap import Bootstrap, bootstrap
from pmlik.stats.calibration import calibrate
from pmlik.stats.calibration_record import Calibration
from pmlik.stats.criteria import ModelComparison, compare_models, sensitivity
from pmlik.stats.figures import plot_likelihood, plot_profile
from pmlik.stats.information import share_information
from pmlik.stats.intervals import interval_bootstrap, interval_profile, interval_wald
from pmlik.stats.likelihood_ratio import LikelihoodRatioTest, likelihood_ratio_test
from pmlik.stats.profile import Profile, profile

__version__ = version("pmlik")

__all__ = [
    "Bootstrap",
    "Calibration",
    "Certificate",
    "Comparison",
    "EstimationError",
    "FileError",
    "Flag",
    "FlagCode",
    "Hypotheses",
    "InformationShares",
    "Likelihood",
    "ModelComparison",
    "LikelihoodRatioTest",
    "ModelError",
    "NestingError",
    "PmlikError",
    "PointEstimate",
    "PosteriorEstimate",
    "Predictions",
    "Profile",
    "Severity",
    "StartError",
    "Status",
    "UnderflowWarning",
    "ValuesError",
    "bootstrap",
    "calibrate",
    "compare",
    "compare_models",
    "find_MAP",
    "find_MLE",
    "interval_profile",
    "interval_wald",
    "likelihood_model",
    "load",
    "plot_attribution",
    "plot_calibration",
    "plot_compare",
    "plot_forest",
    "marginal_model",
    "likelihood_ratio_test",
    "interval_bootstrap",
    "make_robust",
    "plot_likelihood",
    "plot_profile",
    "plot_waterfall",
    "profile",
    "sample_posterior",
    "sensitivity",
    "share_information",
]


def __dir__() -> list[str]:
    """Return the public names alone."""
    return sorted([*__all__, "__version__"])
