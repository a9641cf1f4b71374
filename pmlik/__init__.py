"""One PyMC model: what the likelihood says, what the prior adds, what the posterior says."""

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
from pmlik.plots.comparison import plot_attribution, plot_compare, plot_forest
from pmlik.plots.profile import plot_waterfall
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.information import InformationShares
from pmlik.results.point import Certificate, PointEstimate, Status
from pmlik.results.posterior import PosteriorEstimate
from pmlik.stats.bootstrap import Bootstrap, bootstrap
from pmlik.stats.criteria import ModelComparison, compare_models, sensitivity
from pmlik.stats.figures import plot_likelihood, plot_profile
from pmlik.stats.information import share_information
from pmlik.stats.intervals import interval_bootstrap, interval_profile, interval_wald
from pmlik.stats.likelihood_ratio import LikelihoodRatioTest, likelihood_ratio_test
from pmlik.stats.profile import Profile, profile

load = Comparison.load

__all__ = [
    "Bootstrap",
    "Certificate",
    "Comparison",
    "EstimationError",
    "FileError",
    "Flag",
    "FlagCode",
    "InformationShares",
    "Likelihood",
    "ModelComparison",
    "LikelihoodRatioTest",
    "ModelError",
    "NestingError",
    "PmlikError",
    "PointEstimate",
    "PosteriorEstimate",
    "Profile",
    "Severity",
    "StartError",
    "Status",
    "UnderflowWarning",
    "ValuesError",
    "bootstrap",
    "compare",
    "compare_models",
    "find_MAP",
    "find_MLE",
    "interval_profile",
    "interval_wald",
    "likelihood_model",
    "load",
    "plot_attribution",
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
