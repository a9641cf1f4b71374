"""One PyMC model: what the likelihood says, what the prior adds, what the posterior says."""

from pmlik.comparison import Comparison
from pmlik.errors import (
    EstimationError,
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
from pmlik.likelihood import Likelihood
from pmlik.marginalization import marginal_model
from pmlik.plots import plot_likelihood, plot_waterfall
from pmlik.submodels import likelihood_model

__all__ = [
    "Certificate",
    "Comparison",
    "EstimationError",
    "Flag",
    "FlagCode",
    "Likelihood",
    "ModelError",
    "PmlikError",
    "PointEstimate",
    "PosteriorEstimate",
    "Severity",
    "StartError",
    "UnderflowWarning",
    "ValuesError",
    "compare",
    "find_MAP",
    "find_MLE",
    "likelihood_model",
    "marginal_model",
    "plot_likelihood",
    "plot_waterfall",
    "sample_posterior",
]
