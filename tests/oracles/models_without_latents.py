"""Models without latents, in the ways in which people write them."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor.tensor as pt
from pymc.model.transform.optimization import freeze_dims_and_data, freeze_model

from oracles.role_data import COUNTS, GROUP, RNG, TABLE, XX, YES, Build, J, N, X, Y

PLAIN: dict[str, Build] = {}


def plain(build: Build) -> Build:
    """Register a model without latents."""
    PLAIN[build.__name__] = build
    return build


@plain
def group_intercepts_under_independent_priors() -> pm.Model:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1, shape=J)
        pm.Normal("y", a[GROUP], pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def group_intercepts_and_slopes() -> pm.Model:
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1, shape=J), pm.Normal("b", 0, 1, shape=J)
        pm.Normal("y", a[GROUP] + b[GROUP] * X, pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def product_of_two_scalars() -> pm.Model:
    with pm.Model() as model:
        w, z = pm.Normal("w"), pm.Normal("z")
        pm.Normal("y", w * z, 1.0, observed=Y)
    return model


@plain
def scalar_mediation() -> pm.Model:
    with pm.Model() as model:
        a, b = pm.Normal("a"), pm.Normal("b")
        pm.Normal("y", a * b * X, pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def regression_by_a_dot_product() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Normal("y", pm.Normal("a") + pt.dot(XX, b), pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def regression_by_matmul_with_data() -> pm.Model:
    with pm.Model(coords={"obs": range(N), "k": list("abc")}) as model:
        b = pm.Normal("b", 0, 1, dims="k")
        mu = pm.Data("XX", XX, dims=("obs", "k")) @ b
        pm.Normal("y", mu, pm.HalfNormal("sigma"), observed=Y, dims="obs")
    return model


@plain
def nonlinear_regression_with_a_vector_of_coefficients() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=2)
        pm.Normal("y", b[0] * pt.exp(-b[1] * X), pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def polynomial_with_products_of_elements() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        mu = b[0] + b[1] * X + b[0] * b[1] * b[2] * X**2
        pm.Normal("y", mu, pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def logistic_regression() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Bernoulli("y", logit_p=pm.Normal("a") + XX @ b, observed=YES)
    return model


@plain
def poisson_regression() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Poisson("y", pt.exp(pm.Normal("a") + XX @ b), observed=COUNTS)
    return model


@plain
def negative_binomial_regression() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.NegativeBinomial("y", mu=pt.exp(XX @ b), alpha=pm.HalfNormal("phi"), observed=COUNTS)
    return model


@plain
def student_t_regression() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        nu, sigma = pm.Gamma("nu", 2, 0.1), pm.HalfNormal("sigma")
        pm.StudentT("y", nu=nu, mu=XX @ b, sigma=sigma, observed=Y)
    return model


@plain
def gamma_regression_in_shape_and_mean() -> pm.Model:
    with pm.Model() as model:
        b, shape = pm.Normal("b", 0, 1, shape=3), pm.HalfNormal("shape")
        mu = pt.exp(XX @ b)
        pm.Gamma("y", alpha=shape, beta=shape / mu, observed=np.exp(Y))
    return model


@plain
def weibull_survival_regression() -> pm.Model:
    with pm.Model() as model:
        b, k = pm.Normal("b", 0, 1, shape=3), pm.HalfNormal("k")
        pm.Weibull("y", alpha=k, beta=pt.exp(XX @ b / k), observed=np.exp(Y))
    return model


@plain
def heteroscedastic_regression() -> pm.Model:
    with pm.Model() as model:
        b, g = pm.Normal("b", 0, 1, shape=3), pm.Normal("g", 0, 1, shape=3)
        pm.Normal("y", XX @ b, pt.exp(XX @ g), observed=Y)
    return model


@plain
def standardised_residuals_written_by_hand() -> pm.Model:
    with pm.Model() as model:
        b, sigma = pm.Normal("b", 0, 1, shape=3), pm.HalfNormal("sigma")
        z = (Y - XX @ b) / sigma
        pm.Potential("loglike", (-0.5 * z**2 - pt.log(sigma)).sum())
    return model


@plain
def ordered_logit() -> pm.Model:
    with pm.Model() as model:
        cuts = pm.Normal(
            "cuts",
            0,
            1,
            shape=2,
            transform=pm.distributions.transforms.ordered,
            initval=np.array([-1.0, 1.0]),
        )
        eta = pm.Normal("b", 0, 1) * X
        pm.OrderedLogistic("y", cutpoints=cuts, eta=eta, observed=RNG.integers(0, 3, size=N))
    return model


@plain
def multinomial_logit() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=(3, 2))
        eta = pt.concatenate([pt.zeros((N, 1)), XX @ b], axis=1)
        pm.Categorical("y", logit_p=eta, observed=RNG.integers(0, 3, size=N))
    return model


@plain
def mixture_with_dirichlet_weights_and_vector_means() -> pm.Model:
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 1, shape=2, initval=np.array([-1.0, 1.0]))
        pm.NormalMixture("y", w=w, mu=mu, sigma=pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def mixture_of_components() -> pm.Model:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        parts = [pm.Normal.dist(mu[0], 1.0), pm.StudentT.dist(nu=3, mu=mu[1], sigma=1.0)]
        pm.Mixture("y", w=pm.Dirichlet("w", np.ones(2)), comp_dists=parts, observed=Y)
    return model


@plain
def weighted_mean_of_standard_normals() -> pm.Model:
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(3))
        pm.Normal("y", XX @ w * pm.HalfNormal("scale"), 1.0, observed=Y)
    return model


@plain
def multivariate_normal_with_lkj() -> pm.Model:
    with pm.Model() as model:
        chol, *_ = pm.LKJCholeskyCov("chol", n=3, eta=2, sd_dist=pm.HalfNormal.dist(1, shape=3))
        mu = pm.Normal("mu", 0, 1, shape=3)
        pm.MvNormal("y", mu=mu, chol=chol, observed=XX)
    return model


@plain
def likelihood_as_a_potential_only() -> pm.Model:
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu"), pm.HalfNormal("sigma")
        pm.Potential("loglike", pm.logp(pm.Normal.dist(mu, sigma), Y).sum())
    return model


@plain
def penalised_group_intercepts() -> pm.Model:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1, shape=J)
        pm.Normal("y", a[GROUP], pm.HalfNormal("sigma"), observed=Y)
        pm.Potential("sum_to_zero", -0.5 * a.sum() ** 2)
    return model


@plain
def two_observed_variables_with_shared_coefficients() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Normal("y", XX @ b, pm.HalfNormal("sigma"), observed=Y)
        pm.Bernoulli("d", logit_p=XX @ b, observed=YES)
    return model


@plain
def regression_in_a_named_sub_model() -> pm.Model:
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma")
        with pm.Model(name="inner"):
            b = pm.Normal("b", 0, 1, shape=3)
            pm.Normal("y", XX @ b, sigma, observed=Y)
    return model


@plain
def regression_in_named_dimensions() -> pm.Model:
    with pm.Model(coords={"g": range(J), "rep": range(N // J)}) as model:
        a, sigma = pmd.Normal("a", 0, 1, dims=("g",)), pmd.HalfNormal("sigma")
        pmd.Normal("y", a, sigma, observed=TABLE)
    return model


@plain
def zero_sum_effects_with_a_fixed_scale() -> pm.Model:
    with pm.Model() as model:
        u = pm.ZeroSumNormal("u", 1.0, shape=J)
        pm.Normal("y", pm.Normal("mu") + u[GROUP], pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def custom_distribution() -> pm.Model:
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu", 0, 1, shape=J), pm.HalfNormal("sigma")
        pm.CustomDist(
            "y",
            mu[GROUP],
            sigma,
            logp=lambda value, mu, sigma: -((value - mu) ** 2) / (2 * sigma**2) - pt.log(sigma),
            observed=Y,
        )
    return model


@plain
def censored_regression() -> pm.Model:
    with pm.Model() as model:
        b, sigma = pm.Normal("b", 0, 1, shape=3), pm.HalfNormal("sigma")
        latent = pm.Normal.dist(XX @ b, sigma)
        pm.Censored("y", latent, lower=None, upper=1.0, observed=np.minimum(Y, 1.0))
    return model


@plain
def truncated_regression() -> pm.Model:
    with pm.Model() as model:
        b, sigma = pm.Normal("b", 0, 1, shape=3), pm.HalfNormal("sigma")
        pm.Truncated("y", pm.Normal.dist(XX @ b, sigma), lower=-9.0, observed=Y)
    return model


@plain
def regression_frozen() -> pm.Model:
    return freeze_dims_and_data(regression_by_matmul_with_data())


@plain
def regression_frozen_whole() -> pm.Model:
    return freeze_model(regression_by_a_dot_product())


@plain
def group_intercepts_with_a_fixed_scale_held_as_data() -> pm.Model:
    with pm.Model() as model:
        a = pm.Normal("a", 0, pm.Data("scale", 2.0), shape=J)
        pm.Normal("y", a[GROUP], pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def regression_with_an_identity_link_for_a_rate() -> pm.Model:
    with pm.Model() as model:
        b, shape = pm.Normal("b", 0, 1, shape=3, initval=np.ones(3)), pm.HalfNormal("shape")
        pm.Gamma("y", alpha=shape, beta=shape / (np.abs(XX) @ b), observed=np.exp(Y))
    return model


@plain
def marginal_gaussian_process() -> pm.Model:
    with pm.Model() as model:
        cov = pm.HalfNormal("eta") ** 2 * pm.gp.cov.ExpQuad(1, pm.Gamma("ell", 2, 1))
        gp = pm.gp.Marginal(cov_func=cov)
        gp.marginal_likelihood("y", X=X[:, None], y=Y, sigma=pm.HalfNormal("sigma"))
    return model


@plain
def autoregression_of_the_data() -> pm.Model:
    with pm.Model() as model:
        rho = pm.Normal("rho", 0, 1, shape=2)
        pm.AR("y", rho, sigma=pm.HalfNormal("s"), init_dist=pm.Normal.dist(0, 9), observed=Y)
    return model


@plain
def random_walk_of_the_data() -> pm.Model:
    with pm.Model() as model:
        pm.GaussianRandomWalk(
            "y",
            mu=pm.Normal("drift"),
            sigma=pm.HalfNormal("s"),
            init_dist=pm.Normal.dist(0, 9),
            observed=Y,
        )
    return model


@plain
def several_priors_from_fixed_hyperparameters() -> pm.Model:
    hyper = np.array([0.5, 1.0, 2.0])
    with pm.Model() as model:
        b = pm.Normal("b", hyper, hyper, shape=3)
        pm.Normal("y", XX @ b, 1.0, observed=Y)
    return model


@plain
def response_with_gaps() -> pm.Model:
    with_gaps = Y.copy()
    with_gaps[[1, 4]] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Normal("y", XX @ b, pm.HalfNormal("sigma"), observed=with_gaps)
    return model


@plain
def multivariate_response_with_whole_rows_missing() -> pm.Model:
    rows = np.ma.masked_array(XX, mask=np.repeat(np.arange(N)[:, None] == 2, 3, axis=1))
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pm.MvNormal("y", mu=pm.Normal("mu", 0, 1, shape=3), cov=np.eye(3), observed=rows)
    return model


@plain
def counts_with_gaps() -> pm.Model:
    with_gaps = np.ma.masked_array(COUNTS, mask=np.arange(N) == 3)
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pm.Poisson("y", pm.HalfNormal("rate"), observed=with_gaps)
    return model


# Bilinear and multiplicative models, whose coefficients are ordinary parameters although their
# priors are standard normal and they are multiplied by other parameters.
@plain
def neural_network_with_one_hidden_layer() -> pm.Model:
    with pm.Model() as model:
        w = pm.Normal("w", 0, 1, shape=(3, 2))
        v = pm.Normal("v", 0, 1, shape=2)
        pm.Normal("y", pt.tanh(XX @ w) @ v, pm.HalfNormal("sigma"), observed=Y)
    return model


@plain
def attack_and_defence_ratings_with_fixed_scales() -> pm.Model:
    home, away = GROUP, (GROUP + 1) % J
    with pm.Model() as model:
        attack, defence = pm.Normal("attack", 0, 1, shape=J), pm.Normal("defence", 0, 1, shape=J)
        rate = pt.exp(pm.Normal("home") + attack[home] - defence[away])
        pm.Poisson("y", rate, observed=COUNTS)
    return model


@plain
def regression_times_an_exposure_that_is_estimated() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        rate = pt.exp(XX @ b) * pm.HalfNormal("exposure")
        pm.Poisson("y", rate, observed=COUNTS)
    return model
