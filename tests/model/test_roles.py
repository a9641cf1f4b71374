"""Who is a parameter and who is a latent, in the ways in which people write models."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.model.transform.optimization import freeze_dims_and_data, freeze_model

import pmlik
from pmlik.roles import Roles, read_roles

RNG = np.random.default_rng(20)
N, J = 24, 4
GROUP = np.tile(np.arange(J), N // J)
X = RNG.normal(size=N)
XX = RNG.normal(size=(N, 3))
Y = RNG.normal(size=N)
COUNTS = RNG.poisson(3, size=N)
YES = RNG.integers(0, 2, size=N)
TABLE = pmd.as_xtensor(Y.reshape(J, -1), dims=("g", "rep"))

Build = Callable[[], pm.Model]
LATENT: dict[str, tuple[Build, tuple[str, ...]]] = {}
PLAIN: dict[str, Build] = {}


def latent(*names: str) -> Callable[[Build], Build]:
    """Register a model whose latents are ``names``."""

    def register(build: Build) -> Build:
        LATENT[build.__name__] = (build, names)
        return build

    return register


def plain(build: Build) -> Build:
    """Register a model without latents."""
    PLAIN[build.__name__] = build
    return build


def roles_of(model: pm.Model) -> Roles:
    return read_roles(model)


# --- latents ------------------------------------------------------------------------------


@latent("u")
def centred_random_intercepts() -> pm.Model:
    with pm.Model() as model:
        mu, tau = pm.Normal("mu"), pm.HalfNormal("tau")
        u = pm.Normal("u", mu, tau, shape=J)
        pm.Normal("y", u[GROUP], pm.HalfNormal("sigma"), observed=Y)
    return model


@latent("u")
def centred_effects_with_a_free_mean_only() -> pm.Model:
    with pm.Model() as model:
        u = pm.Normal("u", pm.Normal("mu"), 1.0, shape=J)
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    return model


@latent("u")
def effects_whose_scale_comes_through_a_deterministic() -> pm.Model:
    with pm.Model() as model:
        tau = pm.Deterministic("tau", pt.exp(pm.Normal("log_tau")))
        u = pm.Normal("u", 0, tau, shape=J)
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    return model


@latent("scales")
def hierarchical_prior_on_scales() -> pm.Model:
    with pm.Model() as model:
        scales = pm.HalfNormal("scales", pm.HalfNormal("tau"), shape=J)
        pm.Normal("y", pm.Normal("mu"), scales[GROUP], observed=Y)
    return model


@latent("p")
def beta_rates_with_free_hyperparameters() -> pm.Model:
    with pm.Model() as model:
        p = pm.Beta("p", pm.HalfNormal("a", 5), pm.HalfNormal("b", 5), shape=J)
        pm.Bernoulli("y", p[GROUP], observed=YES)
    return model


@latent("schools", "pupils")
def two_levels_of_effects() -> pm.Model:
    with pm.Model() as model:
        schools = pm.Normal("schools", 0, pm.HalfNormal("tau_s"), shape=2)
        pupils = pm.Normal("pupils", schools[[0, 0, 1, 1]], pm.HalfNormal("tau_p"), shape=J)
        pm.Normal("y", pupils[GROUP], 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects() -> pm.Model:
    with pm.Model() as model:
        mu, tau = pm.Normal("mu"), pm.HalfNormal("tau")
        z = pm.Normal("z", 0, 1, shape=J)
        pm.Normal("y", (mu + tau * z)[GROUP], 1.0, observed=Y)
    return model


@latent("u_offset")
def whitened_effects_as_bambi_names_them() -> pm.Model:
    with pm.Model(coords={"g": range(J)}) as model:
        sigma = pm.HalfNormal("u_sigma", 2.5)
        offset = pm.Normal("u_offset", 0, 1, dims="g")
        u = pm.Deterministic("u", offset * sigma, dims="g")
        mu = pm.Normal("Intercept", 0, 2.5) + u[GROUP]
        pm.Normal("y", mu, pm.HalfStudentT("sigma", nu=4, sigma=1), observed=Y)
    return model


@latent("z")
def whitened_effects_indexed_before_they_are_scaled() -> pm.Model:
    with pm.Model() as model:
        tau = pm.HalfNormal("tau")
        z = pm.Normal("z", 0, 1, shape=J)
        pm.Normal("y", z[GROUP] * tau, 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_divided_by_the_root_of_a_precision() -> pm.Model:
    with pm.Model() as model:
        precision = pm.Gamma("precision", 1, 1)
        z = pm.Normal("z", 0, 1, shape=J)
        pm.Normal("y", z[GROUP] / pt.sqrt(precision), 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_times_a_dummy_matrix_then_a_scale() -> pm.Model:
    dummies = np.eye(J)[GROUP]
    with pm.Model() as model:
        z = pm.Normal("z", 0, 1, shape=J)
        pm.Normal("y", pt.dot(dummies, z) * pm.HalfNormal("tau"), 1.0, observed=Y)
    return model


@latent("z")
def whitened_slopes_times_a_covariate_then_a_scale() -> pm.Model:
    with pm.Model() as model:
        z = pm.Normal("z", 0, 1, shape=J)
        pm.Normal("y", z[GROUP] * X * pm.HalfNormal("tau"), 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_under_a_likelihood_with_a_link() -> pm.Model:
    with pm.Model() as model:
        z = pm.Normal("z", 0, 1, shape=J)
        eta = pm.Normal("a") + pm.HalfNormal("tau") * z[GROUP]
        pm.Poisson("y", pt.exp(eta), observed=COUNTS)
    return model


@latent("z")
def correlated_effects_by_cholesky_and_dot() -> pm.Model:
    with pm.Model() as model:
        chol, *_ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.HalfNormal.dist(1, shape=2))
        z = pm.Normal("z", 0, 1, shape=(2, J))
        u = pm.Deterministic("u", pt.dot(chol, z).T)
        pm.Normal("y", u[GROUP, 0] + u[GROUP, 1] * X, 1.0, observed=Y)
    return model


@latent("z")
def correlated_effects_by_cholesky_and_matmul() -> pm.Model:
    with pm.Model() as model:
        chol, *_ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.HalfNormal.dist(1, shape=2))
        z = pm.Normal("z", 0, 1, shape=(J, 2))
        u = z @ chol.T
        pm.Normal("y", u[GROUP, 0] + u[GROUP, 1] * X, 1.0, observed=Y)
    return model


@latent("u")
def correlated_effects_centred() -> pm.Model:
    with pm.Model() as model:
        chol, *_ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.HalfNormal.dist(1, shape=2))
        u = pm.MvNormal("u", mu=np.zeros(2), chol=chol, shape=(J, 2))
        pm.Normal("y", u[GROUP, 0] + u[GROUP, 1] * X, 1.0, observed=Y)
    return model


@latent("f_rotated_")
def latent_gaussian_process() -> pm.Model:
    with pm.Model() as model:
        cov = pm.HalfNormal("eta") ** 2 * pm.gp.cov.ExpQuad(1, pm.Gamma("ell", 2, 1))
        f = pm.gp.Latent(cov_func=cov).prior("f", X[:, None])
        pm.Normal("y", f, 1.0, observed=Y)
    return model


@latent("f")
def latent_gaussian_process_centred() -> pm.Model:
    with pm.Model() as model:
        cov = pm.HalfNormal("eta") ** 2 * pm.gp.cov.ExpQuad(1, pm.Gamma("ell", 2, 1))
        f = pm.gp.Latent(cov_func=cov).prior("f", X[:, None], reparameterize=False)
        pm.Normal("y", f, 1.0, observed=Y)
    return model


@latent("f_hsgp_coeffs")
def hilbert_space_gaussian_process() -> pm.Model:
    with pm.Model() as model:
        cov = pm.HalfNormal("eta") ** 2 * pm.gp.cov.ExpQuad(1, pm.Gamma("ell", 2, 1))
        f = pm.gp.HSGP(m=[6], c=2.0, cov_func=cov).prior("f", X[:, None])
        pm.Normal("y", f, 1.0, observed=Y)
    return model


@latent("walk")
def random_walk_with_a_free_step() -> pm.Model:
    with pm.Model() as model:
        walk = pm.GaussianRandomWalk(
            "walk", sigma=pm.HalfNormal("step"), init_dist=pm.Normal.dist(0, 10), steps=N - 1
        )
        pm.Normal("y", walk, 1.0, observed=Y)
    return model


@latent("steps")
def random_walk_as_a_cumulative_sum_of_whitened_steps() -> pm.Model:
    with pm.Model() as model:
        steps = pm.Normal("steps", 0, 1, shape=N)
        walk = pm.Deterministic("walk", pt.cumsum(steps * pm.HalfNormal("sigma_step")))
        pm.Normal("y", walk, 1.0, observed=Y)
    return model


@latent("steps")
def random_walk_scaled_after_the_cumulative_sum() -> pm.Model:
    with pm.Model() as model:
        steps = pm.Normal("steps", 0, 1, shape=N)
        pm.Normal("y", pt.cumsum(steps) * pm.HalfNormal("sigma_step"), 1.0, observed=Y)
    return model


@latent("state")
def latent_autoregression() -> pm.Model:
    with pm.Model() as model:
        state = pm.AR(
            "state",
            rho=pm.Uniform("rho", -1, 1),
            sigma=pm.HalfNormal("s"),
            init_dist=pm.Normal.dist(0, 1),
            steps=N - 1,
        )
        pm.Normal("y", state, 1.0, observed=Y)
    return model


@latent("local", "beta")
def horseshoe_centred() -> pm.Model:
    with pm.Model() as model:
        local = pm.HalfCauchy("local", pm.HalfCauchy("tau", 1), shape=3)
        beta = pm.Normal("beta", 0, local, shape=3)
        pm.Normal("y", pt.dot(XX, beta), 1.0, observed=Y)
    return model


@latent("z")
def horseshoe_whitened() -> pm.Model:
    with pm.Model() as model:
        local, tau = pm.HalfCauchy("local", 1, shape=3), pm.HalfCauchy("tau", 1)
        z = pm.Normal("z", 0, 1, shape=3)
        beta = pm.Deterministic("beta", z * local * tau)
        pm.Normal("y", pt.dot(XX, beta), 1.0, observed=Y)
    return model


@latent("x_unobserved")
def covariate_with_gaps() -> pm.Model:
    with_gaps = X.copy()
    with_gaps[[2, 5]] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = pm.Normal("x", pm.Normal("mu_x"), 1.0, observed=with_gaps)
        pm.Normal("y", pm.Normal("a") + pm.Normal("b") * x, 1.0, observed=Y)
    return model


@latent("x_unobserved")
def covariate_with_gaps_and_a_fixed_distribution() -> pm.Model:
    with_gaps = np.ma.masked_array(X, mask=np.arange(N) == 3)
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = pm.Normal("x", 0.0, 1.0, observed=with_gaps)
        pm.Normal("y", pm.Normal("b") * x, 1.0, observed=Y)
    return model


@latent("y_unobserved")
def multivariate_rows_with_single_gaps() -> pm.Model:
    with_gaps = RNG.normal(size=(6, 2))
    with_gaps[2, 1] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mu = pm.Normal("mu", 0, 5, shape=2)
        pm.MvNormal("y", mu=mu, cov=np.eye(2) + 0.5, observed=with_gaps)
    return model


@latent("u")
def effects_in_a_named_sub_model() -> pm.Model:
    with pm.Model() as model:
        tau = pm.HalfNormal("tau")
        u = pm.Normal("u", 0, tau, shape=J)
        with pm.Model(name="data"):
            pm.Normal("y", u[GROUP], 1.0, observed=Y)
    return model


@latent("level::z")
def whitened_effects_with_a_name_prefix() -> pm.Model:
    with pm.Model() as model:
        with pm.Model(name="level"):
            z = pm.Normal("z", 0, 1, shape=J)
            u = pm.HalfNormal("tau") * z
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_with_data_and_dims() -> pm.Model:
    with pm.Model(coords={"g": list("abcd"), "obs": range(N)}) as model:
        group = pm.Data("group", GROUP, dims="obs")
        z = pm.Normal("z", 0, 1, dims="g")
        u = pm.Deterministic("u", pm.HalfNormal("tau") * z, dims="g")
        pm.Normal("y", u[group], 1.0, observed=pm.Data("Y", Y, dims="obs"), dims="obs")
    return model


@latent("z")
def whitened_effects_in_named_dimensions() -> pm.Model:
    with pm.Model(coords={"g": range(J), "rep": range(N // J)}) as model:
        z = pmd.Normal("z", 0, 1, dims=("g",))
        mu = pmd.Normal("mu") + pmd.HalfNormal("tau") * z
        pmd.Normal("y", mu, 1.0, observed=TABLE)
    return model


@latent("u")
def centred_effects_in_named_dimensions() -> pm.Model:
    with pm.Model(coords={"g": range(J), "rep": range(N // J)}) as model:
        u = pmd.Normal("u", pmd.Normal("mu"), pmd.HalfNormal("tau"), dims=("g",))
        pmd.Normal("y", u, 1.0, observed=TABLE)
    return model


@latent("z")
def whitened_effects_of_a_student_t() -> pm.Model:
    with pm.Model() as model:
        z = pm.StudentT("z", nu=4, mu=0, sigma=1, shape=J)
        pm.Normal("y", (pm.HalfNormal("tau") * z)[GROUP], 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_given_by_a_precision_of_one() -> pm.Model:
    with pm.Model() as model:
        z = pm.Normal("z", 0, tau=1, shape=J)
        pm.Normal("y", (pm.HalfNormal("tau") * z)[GROUP], 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_whose_parameters_are_symbolic_zeros_and_ones() -> pm.Model:
    with pm.Model() as model:
        z = pm.Normal("z", pt.zeros(J), pt.ones(J))
        pm.Normal("y", (pm.HalfNormal("tau") * z)[GROUP], 1.0, observed=Y)
    return model


@latent("phi")
def spatial_effects_by_icar_times_a_free_scale() -> pm.Model:
    ring = np.roll(np.eye(J), 1, axis=0)
    with pm.Model() as model:
        phi = pm.ICAR("phi", W=ring + ring.T)
        eta = pm.Normal("a") + (pm.HalfNormal("sigma") * phi)[GROUP]
        pm.Poisson("y", pt.exp(eta), observed=COUNTS)
    return model


@latent("u")
def effects_by_a_custom_distribution() -> pm.Model:
    with pm.Model() as model:
        u = pm.CustomDist(
            "u",
            pm.HalfNormal("tau"),
            dist=lambda tau, size: pm.Normal.dist(0, tau, size=size),
            shape=J,
        )
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    return model


@latent("z", "w")
def two_whitened_effects_and_a_regression() -> pm.Model:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        z, w = pm.Normal("z", 0, 1, shape=J), pm.Normal("w", 0, 1, shape=J)
        tau = pm.HalfNormal("tau", 1, shape=2)
        mu = XX @ b + tau[0] * z[GROUP] + tau[1] * w[GROUP] * X
        pm.Normal("y", mu, pm.HalfNormal("sigma"), observed=Y)
    return model


@latent("z")
def whitened_effects_scaled_by_the_residual_scale_too() -> pm.Model:
    with pm.Model() as model:
        sigma, ratio = pm.HalfNormal("sigma"), pm.HalfNormal("ratio")
        z = pm.Normal("z", 0, 1, shape=J)
        pm.Normal("y", (sigma * ratio * z)[GROUP], sigma, observed=Y)
    return model


@latent("z")
def whitened_effects_frozen() -> pm.Model:
    return freeze_dims_and_data(whitened_effects_with_data_and_dims())


@latent("u")
def zero_sum_effects_with_a_free_scale() -> pm.Model:
    with pm.Model() as model:
        u = pm.ZeroSumNormal("u", pm.HalfNormal("tau"), shape=J)
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    return model


@latent("u")
def whitened_zero_sum_effects() -> pm.Model:
    with pm.Model() as model:
        u = pm.ZeroSumNormal("u", 1.0, shape=J)
        pm.Normal("y", u[GROUP] * pm.HalfNormal("tau"), 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_under_a_potential() -> pm.Model:
    with pm.Model() as model:
        z = pm.Normal("z", 0, 1, shape=J)
        mu = pm.HalfNormal("tau") * z[GROUP]
        pm.Potential("loglike", pm.logp(pm.Normal.dist(mu, 1.0), Y).sum())
    return model


@latent("z")
def whitened_effects_with_a_deterministic_of_their_own() -> pm.Model:
    with pm.Model() as model:
        z = pm.Normal("z", 0, 1, shape=J)
        pm.Deterministic("largest", z.max())
        pm.Normal("y", (pm.HalfNormal("tau") * z)[GROUP], 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_by_a_mvnormal_with_unit_covariance() -> pm.Model:
    with pm.Model() as model:
        z = pm.MvNormal("z", np.zeros(J), np.eye(J))
        pm.Normal("y", (pm.HalfNormal("tau") * z)[GROUP], 1.0, observed=Y)
    return model


@latent("z")
def whitened_effects_whose_parameters_are_arrays() -> pm.Model:
    with pm.Model() as model:
        z = pm.Normal("z", np.zeros(J), np.ones(J))
        pm.Normal("y", (pm.HalfNormal("tau") * z)[GROUP], 1.0, observed=Y)
    return model


@latent("z")
def whitened_states_in_a_scan() -> pm.Model:
    with pm.Model() as model:
        tau, rho = pm.HalfNormal("tau"), pm.Uniform("rho", -1, 1)
        z = pm.Normal("z", 0, 1, shape=N)
        states = pytensor.scan(
            lambda e, s, rho, tau: rho * s + tau * e,
            sequences=[z],
            outputs_info=[pt.zeros(())],
            non_sequences=[rho, tau],
            return_updates=False,
        )
        pm.Normal("y", states, 1.0, observed=Y)
    return model


# --- no latents ---------------------------------------------------------------------------


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


def two_parameter_item_response() -> pm.Model:
    with pm.Model() as model:
        ability = pm.Normal("ability", 0, 1, shape=J)
        difficulty = pm.Normal("difficulty", 0, 2, shape=3)
        slope = pm.LogNormal("slope", 0, 1, shape=3)
        item = np.arange(N) % 3
        eta = slope[item] * (ability[GROUP] - difficulty[item])
        pm.Bernoulli("y", logit_p=eta, observed=YES)
    return model


LATENT["two_parameter_item_response"] = (two_parameter_item_response, ("ability",))


# --- tests --------------------------------------------------------------------------------


class SamplerReachedError(Exception):
    """Stands for sampling itself, which these tests don't need."""


def test_these_models_are_enough_to_judge_by():
    assert len(LATENT) > 30
    assert len(PLAIN) > 40


@pytest.mark.parametrize("name", LATENT)
def test_latents_are_recognised_and_nothing_else_is(name):
    build, expected = LATENT[name]
    assert set(roles_of(build()).latents) == set(expected)


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_without_latents_has_none(name):
    model = PLAIN[name]()
    roles = roles_of(model)
    assert roles.latents == ()
    assert {*roles.parameters, *roles.missing} == {rv.name for rv in model.free_RVs}


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_without_latents_gives_a_likelihood_model(name):
    model = PLAIN[name]()
    likelihood = pmlik.likelihood_model(model)
    assert [rv.name for rv in likelihood.free_RVs] == [rv.name for rv in model.free_RVs]


@pytest.mark.parametrize(
    "name", ["centred_random_intercepts", "whitened_effects", "covariate_with_gaps"]
)
def test_the_likelihood_model_refuses_latents_and_says_what_takes_them(name):
    build, (expected,) = LATENT[name]
    with pytest.raises(pmlik.ModelError, match=f"^{expected}: latent .*marginal_model"):
        pmlik.likelihood_model(build())


def test_several_latents_are_all_named_and_no_parameter_is():
    with pytest.raises(pmlik.ModelError, match=r"^schools, pupils: latent"):
        pmlik.likelihood_model(two_levels_of_effects())


def factor_model() -> pm.Model:
    with pm.Model() as model:
        loadings = pm.Normal("loadings", 0, 1, shape=(2, 3))
        scores = pm.Normal("scores", 0, 1, shape=(8, 2))
        pm.Normal("y", scores @ loadings, pm.HalfNormal("sigma"), observed=Y.reshape(8, 3))
    return model


def test_a_factor_model_is_ambiguous_and_the_error_shows_how_to_choose():
    with pytest.raises(pmlik.ModelError, match=r"loadings, scores: latent or parameter\?.*Choose"):
        read_roles(factor_model())


def test_naming_one_side_of_a_factor_model_settles_it():
    assert read_roles(factor_model(), parameters=["loadings"]).latents == ("scores",)
    assert read_roles(factor_model(), parameters=["scores"]).latents == ("loadings",)
    assert read_roles(factor_model(), latent=["scores"]).parameters == ("loadings", "sigma")
    assert read_roles(factor_model(), parameters=["loadings", "scores"]).latents == ()


def test_overrides_go_before_the_reading():
    model = centred_random_intercepts()
    assert read_roles(model, parameters=["u"]).latents == ()
    roles = read_roles(PLAIN["group_intercepts_under_independent_priors"](), latent=["a"])
    assert roles.latents == ("a",)


def test_a_shrinkage_prior_read_as_latent_is_a_parameter_with_its_scales_when_asked():
    roles = read_roles(horseshoe_centred(), parameters=["beta"])
    assert set(roles.parameters) == {"tau", "local", "beta"}
    assert roles.latents == ()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"latent": ["nobody"]}, r"latent: 'nobody' not among .* mu, tau, u"),
        ({"latent": "u"}, r"latent: got 'u', need 'auto' or a list"),
        ({"parameters": "u"}, r"parameters: got 'u', need a list"),
        ({"latent": ["u"], "parameters": ["u"]}, r"u: named as latent and as a parameter"),
        ({"latent": ["mu", "tau", "u", "sigma"]}, r"all free variables are latents"),
    ],
)
def test_wrong_choices_get_one_clear_error(choice, message):
    with pytest.raises(pmlik.ModelError, match=message):
        read_roles(centred_random_intercepts(), **choice)


def test_a_latent_that_no_data_depend_on_integrates_to_one():
    with pm.Model() as model:
        tau = pm.HalfNormal("tau")
        u = pm.Normal("u", 0, tau, shape=J)
        pm.Normal("u_new", 0, tau)
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    roles = read_roles(model)
    assert roles.latents == ("u",)
    assert roles.missing == ("u_new",)


@pytest.mark.parametrize("name", LATENT)
def test_sampling_accepts_a_model_with_latents(name, monkeypatch):
    def reached(**kwargs):
        raise SamplerReachedError

    monkeypatch.setattr("pmlik.sampler.pm.sample", reached)
    with pytest.raises(SamplerReachedError):
        pmlik.sample_posterior(LATENT[name][0](), progressbar=False)


def test_latents_are_part_of_a_sampled_posterior():
    posterior = pmlik.sample_posterior(
        centred_random_intercepts(),
        random_seed=1,
        progressbar=False,
        sample_kwargs={"draws": 20, "tune": 20, "chains": 2, "cores": 1},
    )
    assert posterior.values["u"].shape == (J,)
    assert np.isfinite(posterior.std_error["u"]).all()


def test_each_role_is_in_the_order_of_the_model():
    with pm.Model() as model:
        z, a = pm.Normal("z"), pm.Normal("a")
        m = pm.Deterministic("m", a + z)
        pm.Deterministic("d", a - z)
        pm.Normal("y", m, 1.0, observed=Y)
        pm.Normal("b", z, 1.0, observed=Y)
        pm.Potential("p", -(a**2))
    roles = read_roles(model)
    assert roles.parameters == ("z", "a")
    assert roles.observed == ("y", "b")
    assert roles.derived == ("m", "d")
    assert roles.potentials == ("p",)
    assert roles.missing == roles.latents == ()


def test_missing_responses_are_neither_parameters_nor_latents():
    roles = read_roles(response_with_gaps())
    assert roles.missing == ("y_unobserved",)
    assert roles.parameters == ("b", "sigma")
    assert roles.observed == ("y_observed",)


def test_a_missing_response_that_only_a_deterministic_uses_is_no_latent():
    with_gaps = Y.copy()
    with_gaps[0] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = pm.Normal("y", pm.Normal("mu"), 1.0, observed=with_gaps)
        pm.Deterministic("total", y.sum())
    assert read_roles(model).latents == ()


def test_a_missing_response_that_a_potential_uses_is_a_latent():
    with_gaps = Y.copy()
    with_gaps[0] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = pm.Normal("y", pm.Normal("mu"), 1.0, observed=with_gaps)
        pm.Potential("penalty", -(y.sum() ** 2))
    assert read_roles(model).latents == ("y_unobserved",)


def test_a_free_variable_that_is_only_named_like_a_missing_one_is_a_parameter():
    with pm.Model() as model:
        sea = pm.Normal("sea_unobserved")
        pm.Normal("y", sea, 1.0, observed=Y)
    assert read_roles(model).parameters == ("sea_unobserved",)


def test_reading_the_roles_leaves_the_model_as_it_was():
    model = whitened_effects()
    before = [var.name for var in model.basic_RVs], dict(model.rvs_to_values)
    read_roles(model)
    assert before == ([var.name for var in model.basic_RVs], dict(model.rvs_to_values))


def test_a_potential_counted_as_prior_is_still_listed():
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("y", mu, 1.0, observed=Y)
        pm.Potential("p", -(mu**2))
    assert read_roles(model, "prior").potentials == ("p",)


def test_a_model_with_the_verbs_called_inside_its_context_needs_no_argument():
    with group_intercepts_under_independent_priors():
        assert pmlik.likelihood_model().free_RVs[0].name == "a"
    with centred_random_intercepts():
        assert [rv.name for rv in pmlik.marginal_model().free_RVs] == ["mu", "tau", "sigma"]


def test_a_scale_that_multiplies_observed_data_is_no_reason_to_call_coefficients_latent():
    # y / scale has coefficients in units of the scale, as in R-side standardised regressions.
    with pm.Model() as model:
        b, scale = pm.Normal("b", 0, 1, shape=3), pm.HalfNormal("scale")
        z = Y / scale - XX @ b
        pm.Potential("loglike", (-0.5 * z**2 - pt.log(scale)).sum())
    assert read_roles(model).latents == ()


def test_a_model_in_named_dimensions_has_standard_errors_for_transformed_variables():
    with pm.Model(coords={"g": range(J), "rep": range(N // J)}) as model:
        a, sigma = pmd.Normal("a", 0, 1, dims=("g",)), pmd.HalfNormal("sigma")
        pmd.Deterministic("variance", sigma**2)
        pmd.Normal("y", a, sigma, observed=TABLE)
    mle = pmlik.find_MLE(model, progressbar=False)
    rows = Y.reshape(J, -1)
    sigma_hat = float(np.sqrt(((rows - rows.mean(axis=1, keepdims=True)) ** 2).mean()))
    assert float(mle.values["sigma"]) == pytest.approx(sigma_hat)
    assert float(mle.std_error["sigma"]) == pytest.approx(sigma_hat / np.sqrt(2 * N))
    assert float(mle.std_error["variance"]) == pytest.approx(sigma_hat**2 * np.sqrt(2 / N))
    assert mle.certificate.start == "pm.find_MAP"
