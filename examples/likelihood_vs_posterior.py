"""The likelihood against the posterior, in seven steps and one figure.

The likelihood is a function of the parameters for fixed data. It is not a probability of the
parameters: that takes a prior, and the posterior is what comes of it.

Data: Darwin's 15 pairs of maize plants, height of the cross-fertilised plant minus that of the
self-fertilised one, in eighths of an inch (Darwin 1876, The Effects of Cross and Self
Fertilisation in the Vegetable Kingdom; the table and the t of 2.148 are in Fisher 1935, The
Design of Experiments, chapter 3). A normal distribution with unknown mean and standard deviation.

    python examples/likelihood_vs_posterior.py [figure.png]
"""

import math
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import xarray as xr
from scipy import special, stats

import pmlik

INCHES = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]) / 8

#: What is believed of the mean before the data: centre and standard deviation, in inches.
PRIORS = {"flat": None, "weak": (0.0, 5.0), "strong and wrong": (-3.0, 1.0)}
SIGMA_SCALE = 5.0  # of the half-normal prior of the standard deviation, unless flat

# Wide enough that next to nothing of any integral taken here is left outside.
MU = np.linspace(-13.0, 18.0, 156)
SIGMA = np.linspace(1.4, 25.0, 60)


def darwin(prior="weak", y=INCHES):
    """Heights as a normal sample, under one of the three priors."""
    with pm.Model() as model:
        if PRIORS[prior] is None:
            mu, sigma = pm.Flat("mu"), pm.HalfFlat("sigma")
        else:
            mu = pm.Normal("mu", *PRIORS[prior])
            sigma = pm.HalfNormal("sigma", SIGMA_SCALE)
        pm.Normal("y", mu, sigma, observed=y)
    return model


def log_prior(prior, mu, sigma):
    """The same prior by SciPy, for posteriors on a grid; a flat one counts as 1 everywhere."""
    if PRIORS[prior] is None:
        return np.zeros(np.broadcast_shapes(np.shape(mu), np.shape(sigma)))
    of_sigma = stats.halfnorm.logpdf(sigma, scale=SIGMA_SCALE)
    return stats.norm.logpdf(mu, *PRIORS[prior]) + of_sigma


def integrate(values, *grids):
    """The trapezoidal rule over all axes."""
    for grid in reversed(grids):
        values = np.trapezoid(values, grid)
    return values


# --- 1: the likelihood is a function of theta, and a product over the observations --------------


def likelihood_and_factors(lik, mu, sigma):
    """The likelihood at one theta, and the density of each observation there."""
    return float(lik(mu=mu, sigma=sigma)), np.exp(lik.pointwise(mu=mu, sigma=sigma)["y"].to_numpy())


# --- 2: the product underflows, the sum of logarithms does not -----------------------------------


@dataclass(frozen=True)
class Underflow:
    n: int  # the smallest number of observations whose product is 0 in double precision
    before: float  # the product of one observation less
    log: float  # sum of the logarithms of all n
    likelihood: float  # what lik() says of all n, and what it warns of
    warning: str


def find_underflow(lik, mu, sigma):
    """Multiply density after density, the sample over and over, until nothing is left."""
    densities = likelihood_and_factors(lik, mu, sigma)[1]
    n, before, product = 0, 1.0, 1.0
    while product > 0:
        before, product = product, product * densities[n % len(densities)]
        n += 1
    repeated = pmlik.Likelihood(darwin(y=np.resize(INCHES, n)), progressbar=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pmlik.UnderflowWarning)
        linear = float(repeated(mu=mu, sigma=sigma))
    said = str(caught[-1].message) if caught else ""
    return Underflow(n, before, float(repeated.log(mu=mu, sigma=sigma)), linear, said)


# --- 3: the closed form ---------------------------------------------------------------------------


def closed_form(mu, sigma, *, times=1):
    """-n log(sqrt(2 pi) sigma) - sum (x_i - mu)^2 / (2 sigma^2), its gradient and its Hessian.

    Of the sample ``times`` over. The sum of squares is n (sd^2 + (mean - mu)^2), where sd divides
    by n: the data enter by n, mean and sd only.
    """
    n, off = times * len(INCHES), INCHES.mean() - mu
    squares = n * (INCHES.var() + off**2)
    log = -n * np.log(math.sqrt(2 * math.pi) * sigma) - squares / (2 * sigma**2)
    gradient = np.array([n * off / sigma**2, -n / sigma + squares / sigma**3])
    cross = -2 * n * off / sigma**3
    hessian = np.array(
        [[-n / sigma**2 + 0 * off, cross], [cross, n / sigma**2 - 3 * squares / sigma**4]]
    )
    return log, gradient, hessian


def largest_difference(lik, points):
    """How far pmlik is from the closed form: relative, of log, gradient and Hessian."""
    worst = np.zeros(3)
    for mu, sigma in points:
        at = {"mu": mu, "sigma": sigma}
        found = lik.log(at), lik.gradient(at).to_array(), lik.hessian(at)
        for i, (ours, theirs) in enumerate(zip(found, closed_form(mu, sigma), strict=True)):
            worst[i] = max(worst[i], np.max(np.abs(ours.to_numpy() / theirs - 1)))
    return worst


# --- 4: the negative log-likelihood as a loss -----------------------------------------------------


def descend(lik, start=(-6.0, 9.0), rate=4.0, steps=150):
    """Plain gradient descent on the mean NLL: the path (mu, sigma) and the loss along it."""
    path = [np.array(start)]
    for _ in range(steps):
        gradient = lik.gradient(mu=path[-1][0], sigma=path[-1][1])
        of_loss = -gradient.to_array().to_numpy() / lik.n_observations
        path.append(path[-1] - rate * of_loss)
    path = np.array(path)
    return path, lik.nll(mu=path[:, 0], sigma=path[:, 1], reduction="mean").to_numpy()


# --- 5: the likelihood is not a density of theta --------------------------------------------------


@dataclass(frozen=True)
class Writing:
    likelihood_integral: float
    posterior_integral: float
    mle: tuple[float, float]  # mean and sd in inches, whatever the parameters were
    map: tuple[float, float]


def write_in_sd():
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", SIGMA_SCALE)
        pm.Normal("y", mu, sigma, observed=INCHES)
    prior = stats.norm(0, 5).pdf, stats.halfnorm(scale=SIGMA_SCALE).pdf
    return model, {"mu": MU[::3], "sigma": SIGMA}, prior, lambda mu, sigma: (mu, sigma)


def write_in_centimetres():
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu_cm", 0, 12.7), pm.HalfNormal("sigma", SIGMA_SCALE)
        pm.Normal("y", mu / 2.54, sigma, observed=INCHES)
    prior = stats.norm(0, 12.7).pdf, stats.halfnorm(scale=SIGMA_SCALE).pdf
    return (
        model,
        {"mu_cm": 2.54 * MU[::3], "sigma": SIGMA},
        prior,
        lambda mu, sigma: (mu / 2.54, sigma),
    )


def write_in_variance():
    # The square of a half-normal variable is gamma-distributed: the same belief, renamed.
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        variance = pm.Gamma("variance", 0.5, 1 / (2 * SIGMA_SCALE**2))
        pm.Normal("y", mu, pm.math.sqrt(variance), observed=INCHES)
    prior = stats.norm(0, 5).pdf, stats.gamma(0.5, scale=2 * SIGMA_SCALE**2).pdf
    grids = {"mu": MU[::3], "variance": np.linspace(1.0, 600.0, 160)}
    return model, grids, prior, lambda mu, variance: (mu, math.sqrt(variance))


def write_in_precision():
    # And one over a gamma variable is inverse-gamma-distributed.
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        precision = pm.InverseGamma("precision", 0.5, 1 / (2 * SIGMA_SCALE**2))
        pm.Normal("y", mu, 1 / pm.math.sqrt(precision), observed=INCHES)
    prior = stats.norm(0, 5).pdf, stats.invgamma(0.5, scale=1 / (2 * SIGMA_SCALE**2)).pdf
    grids = {"mu": MU[::3], "precision": np.linspace(1e-5, 0.3, 60)}
    return model, grids, prior, lambda mu, precision: (mu, precision**-0.5)


WRITINGS = {
    "mean, sd": write_in_sd,
    "mean in cm": write_in_centimetres,
    "variance": write_in_variance,
    "precision": write_in_precision,
}


def rewrite():
    """One model and one prior, written with four pairs of parameters."""
    found, evidence = {}, None
    for name, write in WRITINGS.items():
        model, grids, (prior_of_mean, prior_of_spread), read_back = write()
        pair = pmlik.compare(model, sample=False, extras=False, random_seed=1, progressbar=False)
        lik = pmlik.Likelihood.of(pair, progressbar=False)
        likelihood = np.exp(lik.surface(grids).to_numpy())
        first, second = grids.values()
        weighted = likelihood * prior_of_mean(first)[:, None] * prior_of_spread(second)
        total = integrate(weighted, first, second)
        # One probability of the data, taken in the first writing, serves all four.
        evidence = total if evidence is None else evidence
        points = [read_back(*(float(e.values[k]) for k in grids)) for e in (pair.mle, pair.map)]
        found[name] = Writing(integrate(likelihood, first, second), total / evidence, *points)
    return found


# --- 6: the same data, three priors ---------------------------------------------------------------


@dataclass(frozen=True)
class ThreeWays:
    comparison: pmlik.Comparison
    density: np.ndarray  # of the mean at MU, exact: the grid's posterior, sigma summed out
    mean: tuple[float, float]  # of mu and sigma, exact
    sd: tuple[float, float]


def summarise_grid(mu, sigma, log_posterior):
    """Density of mu, and means and sds of both, of a posterior known up to its constant."""
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= integrate(posterior, mu, sigma)
    marginals = (mu, integrate(posterior, sigma)), (sigma, integrate(posterior.T, mu))
    means = [integrate(grid * density, grid) for grid, density in marginals]
    variances = [
        integrate((grid - mean) ** 2 * density, grid)
        for (grid, density), mean in zip(marginals, means, strict=True)
    ]
    return marginals[0][1], tuple(means), tuple(np.sqrt(variances))


def change_prior(surface):
    """MLE, MAP and draws by `compare`; the posterior also on the grid of the surface."""
    found = {}
    for prior in PRIORS:
        comparison = pmlik.compare(darwin(prior), extras=False, random_seed=1, progressbar=False)
        joint = surface.to_numpy() + log_prior(prior, MU[:, None], SIGMA)
        found[prior] = ThreeWays(comparison, *summarise_grid(MU, SIGMA, joint))
    return found


# --- 7: with more data the three meet -------------------------------------------------------------


def gather_data(prior="strong and wrong", times=(1, 10, 100, 1000)):
    """Distances between MLE, MAP and posterior mean, in posterior sds, for the sample repeated.

    MLE and MAP are pmlik's. Mean and sd of the posterior are integrals of the closed form on a
    grid around the MAP, which costs the same for any n.
    """
    rows = []
    for k in times:
        pair = pmlik.compare(
            darwin(prior, np.tile(INCHES, k)),
            sample=False,
            extras=False,
            random_seed=1,
            progressbar=False,
        )
        names = ("mu", "sigma")
        mle, mode, se = (
            np.array([float(values[name]) for name in names])
            for values in (pair.mle.values, pair.map.values, pair.map.std_error)
        )
        mu = np.linspace(mode[0] - 12 * se[0], mode[0] + 12 * se[0], 400)
        sigma = np.linspace(max(mode[1] - 12 * se[1], 0.2), mode[1] + 14 * se[1], 400)
        log = closed_form(mu[:, None], sigma, times=k)[0]
        _, mean, sd = summarise_grid(mu, sigma, log + log_prior(prior, mu[:, None], sigma))
        apart = [abs(mle - mode), abs(mle - np.array(mean)), abs(mode - np.array(mean))]
        rows.append(np.array(apart) / sd)
    return xr.DataArray(
        rows,
        dims=("n", "pair", "parameter"),
        coords={
            "n": [k * len(INCHES) for k in times],
            "pair": ["MLE-MAP", "MLE-mean", "MAP-mean"],
            "parameter": ["mu", "sigma"],
        },
    )


# --- The same, shorter: Bernoulli and categorical ------------------------------------------------


@dataclass(frozen=True)
class Bernoulli:
    mle: float
    log_likelihood: float
    map: float
    logit_mode: float
    posterior_mean: float
    grid: np.ndarray
    relative: np.ndarray


def toss(successes=2, n=10):
    """A probability under a uniform prior, and the same written as a logit."""
    y = np.repeat([1, 0], [successes, n - successes])
    with pm.Model() as model:
        pm.Bernoulli("y", pm.Uniform("p", 0, 1), observed=y)
    with pm.Model() as logit_model:
        # The logit of a uniform probability has the logistic distribution.
        pm.Bernoulli("y", logit_p=pm.Logistic("logit", 0, 1), observed=y)
    pair = pmlik.compare(model, sample=False, extras=False, random_seed=1, progressbar=False)
    lik = pmlik.Likelihood.of(pair, progressbar=False)
    logit = pmlik.find_MAP(logit_model, progressbar=False).values["logit"]
    grid = np.linspace(0, 1, 1001)
    density = lik(p=grid).to_numpy() / integrate(lik(p=grid).to_numpy(), grid)
    return Bernoulli(
        float(pair.mle.values["p"]),
        pair.mle.log_likelihood,
        float(pair.map.values["p"]),
        float(special.expit(logit)),
        integrate(grid * density, grid),
        grid,
        lik.relative(p=grid).to_numpy(),
    )


LOGITS = np.array([[2.0, 1.0, 0.1], [0.5, 2.5, -1.0], [0.2, 0.1, 0.3]])
CLASSES = np.array([0, 1, 2])


def classify(logits=LOGITS, classes=CLASSES):
    """Mean NLL of a softmax over logits: PyTorch's CrossEntropyLoss(logits, classes)."""
    with pm.Model() as model:
        theta = pm.Normal("logits", 0, 3, shape=np.shape(logits))
        pm.Categorical("y", logit_p=theta, observed=classes)
    lik = pmlik.Likelihood(model, progressbar=False)
    return float(lik.nll(logits=logits, reduction="mean"))


# --- Everything at once, the figure and the page -------------------------------------------------


@dataclass(frozen=True)
class Walk:
    lik: pmlik.Likelihood
    mle: tuple[float, float]
    factors: np.ndarray
    underflow: Underflow
    differences: np.ndarray
    path: np.ndarray
    losses: np.ndarray
    writings: dict[str, Writing]
    priors: dict[str, ThreeWays]
    distances: xr.DataArray
    bernoulli: Bernoulli
    cross_entropy: float


def walk():
    """Every step, once."""
    found = pmlik.find_MLE(darwin(), random_seed=1, progressbar=False)
    lik = pmlik.Likelihood.of(found, progressbar=False)
    mle = tuple(float(found.values[name]) for name in ("mu", "sigma"))
    return Walk(
        lik,
        mle,
        likelihood_and_factors(lik, *mle)[1],
        find_underflow(lik, *mle),
        largest_difference(lik, [(0.0, 4.0), (3.0, 7.0), (-5.0, 2.2)]),
        *descend(lik),
        rewrite(),
        change_prior(lik.surface(mu=MU, sigma=SIGMA)),
        gather_data(),
        toss(),
        classify(),
    )


# Okabe and Ito's palette, told apart with any kind of colour vision; as in plot_likelihood.
PRIOR, LIKELIHOOD, POSTERIOR, MAP = "#E69F00", "#0072B2", "#009E73", "#D55E00"
MARKS = {"MLE": ("^", LIKELIHOOD), "MAP": ("D", MAP), "mean": ("o", POSTERIOR)}
MEAN_LABEL = "mean height difference (inches)"
CAPTION = (
    "Darwin's 15 pairs of maize plants, normal with unknown mean and sd. Top row: the likelihood "
    "(its highest value over the sd)\nis scaled to its maximum, prior and posterior to the "
    "posterior's peak; line: exact posterior, bars: draws of pm.sample."
)


def draw(seen, path):
    """One figure: the three priors on top, the other steps beneath."""
    style = {
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            3, 3, figsize=(11, 9.9), layout="constrained", height_ratios=[1.25, 1, 1]
        )
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.09, rect=(0, 0.045, 1, 0.885))
        headline = "Same data, three priors: the likelihood stays, MAP and posterior move"
        figure.text(0.5, 0.988, headline, fontsize=15, fontweight="bold", ha="center", va="top")
        figure.text(0.5, 0.008, CAPTION, fontsize=9, color="0.3", ha="center", va="bottom")
        draw_priors(axes[0], seen)
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="upper center",
            bbox_to_anchor=(0.5, 0.968),
            ncols=6,
            frameon=False,
            columnspacing=1.4,
            handletextpad=0.5,
        )
        draw_factors(axes[1, 0], seen)
        draw_underflow(axes[1, 1], seen)
        draw_descent(axes[1, 2], seen)
        draw_writings(axes[2, 0], seen)
        draw_distances(axes[2, 1], seen)
        draw_bernoulli(axes[2, 2], seen)
        figure.savefig(path, dpi=130, pil_kwargs={"optimize": True})
    plt.close(figure)
    return figure


def mark_strip(ax, values, *, labels):
    """MLE, MAP and mean on three lines under the curves, so that none hides another."""
    heights = {name: -0.12 * (i + 1) for i, name in enumerate(MARKS)}
    for name, value in values.items():
        marker, colour = MARKS[name]
        ax.plot([value, value], [heights[name], 0], color=colour, lw=1, alpha=0.6)
        ax.plot(value, heights[name], marker, color=colour, ms=8, mec="white", zorder=5)
    ax.axhline(0, color="0.5", lw=0.8)
    ax.set_ylim(-0.45, 1.12)
    ax.set_yticks([0, 0.5, 1, *heights.values()])
    ax.set_yticklabels(["0", "0.5", "1", *heights] if labels else [])


def draw_priors(axes, seen):
    shown = np.linspace(-7, 8, 151)
    # Over the sd the likelihood is maximised: its highest value for each mean, the profile.
    profile = np.exp(seen.lik.surface(mu=shown, others="profile") - seen.lik.mle.log_likelihood)
    titles = (
        "Flat prior: all three agree",
        "Weak prior: they hardly move",
        "Strong, wrong prior: far off",
    )
    for ax, title, (prior, found) in zip(axes, titles, seen.priors.items(), strict=True):
        peak = found.density.max()
        draws = found.comparison.posterior.tree["posterior"]["mu"].to_numpy().ravel()
        heights, edges = np.histogram(draws, bins=np.linspace(-7, 8, 61))
        height = heights / len(draws) / np.diff(edges) / peak
        if PRIORS[prior] is None:
            density = np.full(len(shown), 0.12)  # it has no scale: any height would do
            ax.text(-6.8, 0.15, "flat: any height", color="0.35", size=8.5)
        else:
            density = stats.norm.pdf(shown, *PRIORS[prior]) / peak
        ax.stairs(height, edges, fill=True, color=POSTERIOR, alpha=0.3, lw=0)
        ax.plot(shown, density, "--", color=PRIOR, lw=2.2, label="prior")
        ax.plot(shown, profile, color=LIKELIHOOD, lw=3.4, label="likelihood")
        exact = np.interp(shown, MU, found.density / peak)
        ax.plot(shown, exact, color=POSTERIOR, lw=1.7, label="posterior")
        table = found.comparison.table.loc["mu"]
        marks = {"MLE": table["MLE"], "MAP": table["MAP"], "mean": table["posterior mean"]}
        mark_strip(ax, marks, labels=ax is axes[0])
        ax.set(xlabel=MEAN_LABEL, xlim=(-7, 8), xticks=range(-6, 9, 2))
        ax.set_title(f"6  {title}")
    axes[0].set_ylabel("relative to the peak")
    for name, (marker, colour) in MARKS.items():
        label = "posterior mean" if name == "mean" else name
        axes[0].plot([], [], marker, color=colour, ms=8, mec="white", label=label)


def draw_factors(ax, seen):
    mu, (_, sigma) = np.linspace(-16, 18, 400), seen.mle
    each = seen.lik.pointwise(mu=mu, sigma=sigma)["y"].to_numpy()
    for factor in each.T:
        ax.plot(mu, np.exp(factor - factor.max()), color="0.6", lw=0.8)
    whole = seen.lik.log(mu=mu, sigma=sigma).to_numpy()
    ax.plot(mu, np.exp(whole - whole.max()), color=LIKELIHOOD, lw=2.6)
    ax.text(2.6, 1.1, "their product", color=LIKELIHOOD, weight="bold", ha="left", va="center")
    ax.text(-15.5, 1.1, "each pair's density", color="0.35", ha="left", va="center")
    ax.plot(INCHES, np.full(len(INCHES), -0.06), "|", color="0.2", ms=7)
    ax.set(xlabel=MEAN_LABEL, ylabel="relative to the peak", ylim=(-0.12, 1.2), xlim=(-16, 18))
    ax.set_title("1  A product of 15 densities")


def draw_underflow(ax, seen):
    n = np.arange(1, 401)
    logs = np.cumsum(np.resize(np.log(seen.factors), len(n))) / math.log(10)
    cliff = seen.underflow.n
    ax.plot(n, logs, color=LIKELIHOOD, lw=2.6)
    whole = np.arange(2, 27, 3)
    closed = [closed_form(*seen.mle, times=k)[0] / math.log(10) for k in whole]
    ax.plot(15 * whole, closed, "o", color="white", mec=LIKELIHOOD, ms=6)
    ax.plot(n[: cliff - 1], logs[: cliff - 1], color="black", lw=1.2, ls=":")
    ax.axhline(math.log10(5e-324), color="0.5", lw=0.8, ls="--")
    ax.plot(cliff, logs[cliff - 1], "X", color="black", ms=10, mec="white")
    ax.annotate(
        f"n = {cliff}: the product is 0",
        (cliff, logs[cliff - 1]),
        (20, -425),
        arrowprops={"arrowstyle": "-", "color": "0.3"},
    )
    ax.text(395, -318, "smallest double", color="0.35", ha="right", va="bottom", size=8.5)
    ax.text(195, -150, "sum of logs,\ndots: closed form", color=LIKELIHOOD, weight="bold")
    ax.set(xlabel="observations n (sample repeated)", ylabel="log10 of the likelihood")
    ax.set(xlim=(0, 400), ylim=(-520, 0))
    ax.set_title("2, 3  It underflows, logs do not")


def draw_descent(ax, seen):
    mu, sigma = np.linspace(-8, 9, 69), np.linspace(3, 10.5, 61)
    loss = -seen.lik.surface(mu=mu, sigma=sigma).to_numpy().T / len(INCHES)
    low = seen.losses[-1]
    levels = low + np.array([0, 0.02, 0.07, 0.15, 0.3, 0.5, 0.8, 1.2, 1.8, 4])
    ax.contourf(mu, sigma, loss, levels, cmap="Blues_r", alpha=0.75)
    ax.plot(*seen.path.T, "-", color="black", lw=1)
    ax.plot(*seen.path.T, "o", color="black", ms=3.5)
    ax.plot(*seen.mle, "^", color="white", mec=LIKELIHOOD, ms=10, mew=2)
    ax.annotate("start", seen.path[0], (-6.2, 9.6), ha="center")
    ax.text(seen.mle[0], seen.mle[1] - 0.85, "MLE", ha="center", color="white", weight="bold")
    ax.text(-7.8, 3.2, "darker: smaller loss", size=8.5)
    ax.set(xlabel=MEAN_LABEL, ylabel="sd (inches)")
    ax.set_title("4  Descent on the NLL: the MLE")


def draw_writings(ax, seen):
    for row, found in enumerate(seen.writings.values()):
        ax.plot(found.mle[1], row, "^", color=LIKELIHOOD, ms=9, mec="white", zorder=4)
        ax.plot(found.map[1], row, "D", color=MAP, ms=8, mec="white", zorder=5)
        digits, power = f"{found.likelihood_integral:.1e}".split("e")
        ax.text(5.12, row, rf"${digits}\cdot 10^{{{int(power)}}}$", va="center", size=9)
        ax.text(5.75, row, f"{found.posterior_integral:.3f}", va="center", size=9)
    ax.axvline(seen.mle[1], ymax=0.82, color=LIKELIHOOD, lw=1, alpha=0.6)
    ax.text(5.12, -0.9, "integral of\nlikelihood", size=8.5, color="0.3", va="center")
    ax.text(5.68, -0.9, "of\nposterior", size=8.5, color="0.3", va="center")
    ax.set_yticks(range(len(seen.writings)), list(seen.writings))
    ax.set(xlabel="sd where each is highest (inches)", xlim=(4.2, 6.05), ylim=(3.6, -1.4))
    ax.set_xticks([4.2, 4.4, 4.6, 4.8, 5.0])
    ax.set_title("5  Renamed: only the MLE stays")


def draw_distances(ax, seen):
    largest = seen.distances.max("parameter")
    n = largest["n"].to_numpy()
    pairs = {
        "MLE-MAP": ("D", MAP, 9, "white"),
        "MLE-mean": ("o", POSTERIOR, 4.5, POSTERIOR),
        "MAP-mean": ("s", "black", 5, "black"),
    }
    for pair, (marker, colour, size, face) in pairs.items():
        label = pair.replace("-", " to ")
        far = largest.sel(pair=pair)
        ax.loglog(n, far, marker + "-", color=colour, ms=size, mfc=face, lw=1.3, label=label)
    ax.loglog(n, 45 / np.sqrt(n), "--", color="0.5", lw=1.2)
    ax.text(700, 2.4, "1/√n", color="0.35")
    ax.legend(frameon=False, fontsize=8.5, loc="lower left", borderpad=0)
    ax.set(xlabel="observations n (sample repeated)", ylabel="distance (posterior sd)")
    ax.set_title("7  With more data all three meet")


def draw_bernoulli(ax, seen):
    found = seen.bernoulli
    ax.fill_between(found.grid, found.relative, color=POSTERIOR, alpha=0.3, lw=0)
    ax.plot(found.grid, found.relative, color=LIKELIHOOD, lw=2.6)
    ax.axhline(1 / stats.beta(3, 9).pdf(0.2), color=PRIOR, lw=2.2, ls="--")
    marks = {"MLE": found.mle, "MAP": found.map, "mean": found.posterior_mean}
    mark_strip(ax, marks, labels=True)
    ax.plot(found.logit_mode, -0.24, "D", mfc="white", mec=MAP, mew=1.5, ms=7)
    ax.text(found.logit_mode + 0.05, -0.24, "mode as a logit", va="center", size=8.5, color="0.3")
    ax.set(xlabel="probability p (uniform prior)", xlim=(0, 1))
    ax.set_title("2 of 10: one curve, two answers")


def describe(seen):
    """The page that is printed: one screen, 80 columns."""
    (mu, sigma), lik, flow, b = seen.mle, seen.lik, seen.underflow, seen.bernoulli
    peak, at_zero = lik(mu=[mu, 0.0], sigma=sigma).to_numpy()
    end = seen.path[-1]
    yield "Darwin's maize: height differences of 15 plant pairs (inches), a normal sample."
    yield "1 The likelihood: the data stay, the parameters vary; a product of densities."
    yield f"    at mean {mu:.2f}, sd {sigma:.2f} (its maximum, the MLE): {peak:.3g}"
    yield f"    at mean 0.00, sd {sigma:.2f}: {at_zero:.3g}, {peak / at_zero:.1f} times less"
    yield "2 Repeat the sample: the product gets too small for the computer, logs don't."
    yield f"    n = {flow.n - 1}: {flow.before:.0e}; n = {flow.n}: 0; sum of logs {flow.log:.4f}"
    yield "3 The closed form, its slopes and curvatures agree with pmlik's; relative error:"
    yield "    log {:.0e}, gradient {:.0e}, Hessian {:.0e}".format(*seen.differences)
    yield "4 Minus the log-likelihood is a loss (NLL). Gradient descent on its mean:"
    yield f"    from mean -6, sd 9 to mean {end[0]:.6f}, sd {end[1]:.6f}"
    yield f"    find_MLE says        mean {mu:.6f}, sd {sigma:.6f}"
    yield f"    closed form          mean {INCHES.mean():.6f}, sd {INCHES.std():.6f}"
    yield "5 The likelihood is no density: its integral is not 1, and depends on units."
    yield "    written in   integral of L   of posterior   sd: MLE   at posterior's mode"
    for name, w in seen.writings.items():
        integrals = f"{w.likelihood_integral:10.2e}   {w.posterior_integral:12.4f}"
        yield f"    {name:14} {integrals}   {w.mle[1]:10.4f}   {w.map[1]:19.4f}"
    yield "6 A prior says what is believed before the data. Likelihood times prior, made to"
    yield "  integrate to 1, is the posterior; its peak is the MAP. The mean, by prior:"
    yield "    prior               MLE    MAP   posterior mean (sd)   exact (on a grid)"
    for prior, found in seen.priors.items():
        row = found.comparison.table.loc["mu"]
        points, sampled = f"{row['MLE']:5.2f} {row['MAP']:6.2f}", row["posterior mean"]
        yield f"    {prior:17} {points}   {sampled:14.2f} ({row['sd']:.2f})   {found.mean[0]:5.2f}"
    yield "7 More data (the sample repeated), strong and wrong prior: the larger distance,"
    yield "  of mean or sd, in posterior sds (exact); 10 times the data, a third of it"
    yield "    n        " + "".join(f"{n:8d}" for n in seen.distances["n"].to_numpy())
    for pair in seen.distances["pair"].to_numpy():
        row = seen.distances.sel(pair=pair).max("parameter").to_numpy()
        yield f"    {pair:9}" + "".join(f"{value:8.3f}" for value in row)
    log, mode = f"log-likelihood {b.log_likelihood:.5f}", f"at p = {b.logit_mode:.2f}"
    yield f"2 of 10, uniform prior: MLE {b.mle:.2f}, {log}, MAP {b.map:.2f};"
    yield f"    written as a logit, log(p / (1 - p)), the posterior is highest {mode};"
    yield f"    posterior Beta(3, 9), mean {b.posterior_mean:.2f}"
    yield "Three classes, softmax (exponentials of logits, divided by their sum): mean NLL"
    yield f"    {seen.cross_entropy:.6f}, which is PyTorch's CrossEntropyLoss of the same logits"


def main(path="likelihood_vs_posterior.png"):
    seen = walk()
    draw(seen, Path(path))
    print("\n".join(describe(seen)))


if __name__ == "__main__":
    main(*sys.argv[1:2])
