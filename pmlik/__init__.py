"""One PyMC model: what the likelihood says, what the prior adds, what the posterior says."""

from pmlik.comparison import Comparison
from pmlik.criteria import ModelComparison, compare_models, sensitivity
from pmlik.errors import (
    EstimationError,
    FileError,
    Flag,
    FlagCode,
    ModelError,
    PmlikError,
    Severity,
    StartError,
    UnderflowWarning,
    ValuesError,
)
from pmlik.estimates import Certificate, PointEstimate, PosteriorEstimate
from pmlik.estimation import compare, find_MAP, find_MLE, sample_posterior
from pmlik.information import InformationShares, share_information
from pmlik.likelihood import Likelihood
from pmlik.panels import plot_attribution, plot_compare, plot_forest
from pmlik.plots import plot_likelihood, plot_waterfall
from pmlik.storage import load
from pmlik.submodels import likelihood_model

__all__ = [
    "Certificate",
    "Comparison",
    "EstimationError",
    "FileError",
    "Flag",
    "FlagCode",
    "InformationShares",
    "Likelihood",
    "ModelComparison",
    "ModelError",
    "PmlikError",
    "PointEstimate",
    "PosteriorEstimate",
    "Severity",
    "StartError",
    "UnderflowWarning",
    "ValuesError",
    "compare",
    "compare_models",
    "find_MAP",
    "find_MLE",
    "likelihood_model",
    "load",
    "plot_attribution",
    "plot_compare",
    "plot_forest",
    "plot_likelihood",
    "plot_waterfall",
    "sample_posterior",
    "sensitivity",
    "share_information",
]
