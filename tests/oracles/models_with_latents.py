"""Models with latents, in the ways in which people write them; `LATENT` names their latents."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor
import pytensor.tensor as pt
from pymc.model.transform.optimization import freeze_dims_and_data

from oracles.role_data import COUNTS, GROUP, RNG, TABLE, XX, YES, Build, J, N, X, Y

LATENT: dict[str, tuple[Build, tuple[str, ...]]] = {}


def latent(*names: str) -> Callable[[Build], Build]:
    """Register a model whose latents are ``names``."""

    def register(build: Build) -> Build:
        LATENT[build.__name__] = (build, names)
        return build

    return register


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


@latent("ability")
def two_parameter_item_response() -> pm.Model:
    with pm.Model() as model:
        ability = pm.Normal("ability", 0, 1, shape=J)
        difficulty = pm.Normal("difficulty", 0, 2, shape=3)
        slope = pm.LogNormal("slope", 0, 1, shape=3)
        item = np.arange(N) % 3
        eta = slope[item] * (ability[GROUP] - difficulty[item])
        pm.Bernoulli("y", logit_p=eta, observed=YES)
    return model
