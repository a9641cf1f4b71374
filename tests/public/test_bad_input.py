"""Bad input gets one clear sentence: which variable, what was got, what is needed, what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

import pmlik

Y = np.array([0.3, -1.2, 0.8, 1.9, -0.4, 0.6])
X = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
POINT_VERBS = [pmlik.find_MLE, pmlik.find_MAP]
VERBS = [*POINT_VERBS, pmlik.compare]
ALL_VERBS = [*VERBS, pmlik.sample_posterior]


def holed(array: np.ndarray, *index: int, value: float = np.nan) -> np.ndarray:
    """A copy of the array with ``value`` at the index."""
    copy = np.array(array, dtype=float)
    copy[index] = value
    return copy


def mean_model(observed: object = Y) -> pm.Model:
    with pm.Model() as model:
        a = pm.Normal("a")
        pm.Deterministic("twice", 2 * a)
        pm.Normal("y", a, 1.0, observed=observed)
    return model


def refusal(verb: Callable[..., object], *args: object, **kwargs: object) -> str:
    """The message of the ModelError that the call raises."""
    with pytest.raises(pmlik.ModelError) as caught:
        verb(*args, progressbar=False, **kwargs)
    return str(caught.value)


@pytest.fixture
def nothing_is_built(monkeypatch):
    """Any start of long work fails the test."""

    def build(*args, **kwargs):
        raise AssertionError("long work began before the input was checked")

    monkeypatch.setattr("pmlik.inference.prepare.compile_model", build)
    monkeypatch.setattr("pmlik.inference.sample.pm.sample", build)


# --- which model --------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_is_built")
class TestModel:
    @pytest.mark.parametrize("verb", ALL_VERBS)
    def test_no_model_at_all(self, verb):
        message = refusal(verb)
        assert "No model" in message
        assert "Pass a pm.Model, or call inside `with model:`" in message

    def test_no_model_for_the_likelihood_model(self):
        with pytest.raises(pmlik.ModelError, match="No model"):
            pmlik.likelihood_model()

    @pytest.mark.parametrize("verb", ALL_VERBS)
    @pytest.mark.parametrize("wrong", ["y ~ x", 42, {"a": 1}, Y, pm.Model])
    def test_something_that_is_no_model(self, verb, wrong):
        message = refusal(verb, wrong)
        assert message == f"model: got {type(wrong).__name__}, need a pm.Model."

    @pytest.mark.parametrize("verb", ALL_VERBS)
    def test_a_sub_model(self, verb):
        with pm.Model(), pm.Model(name="inner") as inner:
            pm.Normal("y", pm.Normal("a"), 1.0, observed=Y)
        message = refusal(verb, inner)
        assert "sub-model 'inner'" in message
        assert "pass the outermost model" in message

    def test_a_call_inside_the_context_of_a_sub_model(self):
        with pm.Model(), pm.Model(name="inner"):
            pm.Normal("y", pm.Normal("a"), 1.0, observed=Y)
            assert "sub-model 'inner'" in refusal(pmlik.find_MLE)

    @pytest.mark.parametrize("verb", VERBS)
    def test_no_observed_variable(self, verb):
        with pm.Model() as model:
            pm.Normal("a")
        message = refusal(verb, model)
        assert "no observed variable" in message
        assert "`observed=`" in message

    def test_no_observed_variable_and_a_potential_that_counts_as_prior(self):
        with pm.Model() as model:
            pm.Potential("p", -(pm.Normal("a") ** 2))
        assert "no observed variable" in refusal(pmlik.find_MLE, model, potentials="prior")

    @pytest.mark.parametrize("verb", VERBS)
    def test_no_free_variable(self, verb):
        with pm.Model() as model:
            pm.Normal("y", 0, 1, observed=Y)
        message = refusal(verb, model)
        assert "no free variables" in message
        assert "a prior and no `observed`" in message

    def test_an_empty_model(self):
        assert "no free variables" in refusal(pmlik.compare, pm.Model())

    @pytest.mark.parametrize("verb", VERBS)
    def test_discrete_free_variables_are_named_and_are_to_be_marginalized(self, verb):
        with pm.Model() as model:
            k, on = pm.Poisson("k", 3), pm.Bernoulli("on", 0.5)
            pm.Normal("y", pm.Normal("a") + k * on, 1.0, observed=Y)
        message = refusal(verb, model)
        assert message.startswith("k, on: discrete free variable")
        assert "Marginalize" in message

    def test_total_size(self):
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("a"), 1.0, observed=Y, total_size=100)
        message = refusal(pmlik.find_MLE, model)
        assert message.startswith("y: its likelihood is scaled by `total_size`")
        assert "Pass all the data" in message

    @pytest.mark.parametrize("total_size", [None, 6])
    def test_a_minibatch(self, total_size):
        with pm.Model() as model, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyMC's own about the missing total_size
            part = pm.Minibatch(Y, batch_size=2)
            pm.Normal("y", pm.Normal("a"), 1.0, observed=part, total_size=total_size)
        assert refusal(pmlik.find_MLE, model).startswith("y: ")
        assert "minibatch" in refusal(pmlik.find_MLE, model)

    def test_a_minibatch_of_a_covariate(self):
        with pm.Model() as model:
            y, x = pm.Minibatch(Y, X, batch_size=2)
            pm.Normal("y", pm.Normal("a") * x, 1.0, observed=y, total_size=6)
        assert "minibatch" in refusal(pmlik.compare, model)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_simulator(self):
        def simulate(rng, a, size):
            return rng.normal(a, size=size)

        with pm.Model() as model:
            pm.Simulator("s", simulate, params=(pm.Normal("a"),), observed=Y)
        message = refusal(pmlik.find_MLE, model)
        assert message.startswith("s: pm.Simulator has no likelihood")
        assert "pm.CustomDist" in message


# --- what the data hold -------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_is_built")
class TestObservedData:
    @pytest.mark.parametrize("verb", VERBS)
    def test_infinite_data_are_named_with_their_place(self, verb):
        message = refusal(verb, mean_model(holed(Y, 3, value=np.inf)))
        assert message.startswith("y: the observed data hold inf at index [3], need finite values")
        assert "Remove or correct" in message

    def test_infinite_data_in_a_matrix(self):
        table = holed(Y.reshape(3, 2), 2, 1, value=-np.inf)
        assert "-inf at index [2, 1]" in refusal(pmlik.find_MLE, mean_model(table))

    def test_infinite_data_that_is_one_number(self):
        message = refusal(pmlik.find_MLE, mean_model(np.inf))
        assert message.startswith("y: the observed data hold inf, need")

    def test_infinite_data_in_a_data_container(self):
        with pm.Model() as model:
            data = pm.Data("data", holed(Y, 3, value=np.inf))
            pm.Normal("y", pm.Normal("a"), 1.0, observed=data)
        assert "y: the observed data hold inf at index [3]" in refusal(pmlik.find_MLE, model)

    def test_infinite_data_that_came_with_set_data(self):
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("a"), 1.0, observed=pm.Data("data", Y))
            pm.set_data({"data": holed(Y, 3, value=np.inf)})
        assert "y: the observed data hold inf at index [3]" in refusal(pmlik.find_MLE, model)

    def test_nan_that_came_with_set_data_is_named_as_what_it_is(self):
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("a"), 1.0, observed=pm.Data("data", Y))
            pm.set_data({"data": holed(Y, 3)})
        message = refusal(pmlik.find_MLE, model)
        assert message.startswith("y: the observed data hold nan at index [3]")

    def test_nan_in_shared_observed_data_is_named(self):
        shared = pytensor.shared(holed(Y, 3))
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("a"), 1.0, observed=shared)
        assert "y: the observed data hold nan at index [3]" in refusal(pmlik.find_MLE, model)

    def test_infinite_data_beside_missing_ones_are_counted_without_them(self):
        data = holed(holed(Y, 0), 3, value=np.inf)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyMC's own about imputation
            model = mean_model(data)
        message = refusal(pmlik.find_MLE, model)
        assert message.startswith("y: the observed data hold inf at index [2] (counted without")


class TestCovariates:
    def test_nan_in_a_raw_array_is_named_by_its_shape_and_place(self):
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("a") * holed(X, 4), 1.0, observed=Y)
        message = refusal(pmlik.find_MLE, model)
        assert message.startswith("y: ")
        assert "shape (6,) is NaN at index [4]" in message
        assert "Remove or impute" in message

    def test_nan_in_a_design_matrix(self):
        matrix = holed(np.column_stack([X, X**2]), 4, 1)
        with pm.Model() as model:
            pm.Normal("y", matrix @ pm.Normal("b", 0, 1, shape=2), 1.0, observed=Y)
        assert "shape (6, 2) is NaN at index [4, 1]" in refusal(pmlik.find_MAP, model)

    def test_nan_in_a_shared_variable_is_named(self):
        age = pytensor.shared(holed(X, 4), name="age")
        with pm.Model() as model:
            pm.Normal("y", pm.Normal("a") * age, 1.0, observed=Y)
        assert "age is NaN at index [4]" in refusal(pmlik.find_MLE, model)

    @pytest.mark.parametrize("verb", VERBS)
    def test_nan_that_came_with_set_data_is_named(self, verb):
        with pm.Model() as model:
            age = pm.Data("age", X)
            pm.Normal("y", pm.Normal("a") * age, 1.0, observed=Y)
            pm.set_data({"age": holed(X, 4)})
        message = refusal(verb, model)
        assert "age is NaN at index [4]" in message
        assert "Remove or impute" in message


# --- starts and supports ------------------------------------------------------------------


def negative_observation(distribution: str) -> pm.Model:
    families = {
        "Gamma": lambda a: pm.Gamma("y", a, 1, observed=[1.0, 2.0, -1.0]),
        "LogNormal": lambda a: pm.LogNormal("y", a, 1, observed=[1.0, 2.0, -1.0]),
        "Weibull": lambda a: pm.Weibull("y", a, 1, observed=[1.0, 2.0, -1.0]),
        "Exponential": lambda a: pm.Exponential("y", a, observed=[1.0, 2.0, -1.0]),
        "Poisson": lambda a: pm.Poisson("y", a, observed=[1, 2, -1]),
        "NegativeBinomial": lambda a: pm.NegativeBinomial("y", mu=a, alpha=1, observed=[1, 2, -1]),
        "InverseGamma": lambda a: pm.InverseGamma("y", a, 1, observed=[1.0, 2.0, -1.0]),
        "Beta": lambda a: pm.Beta("y", a, 1, observed=[0.1, 0.2, -1.0]),
        "Truncated": lambda a: pm.Truncated(
            "y", pm.Normal.dist(a, 1), lower=0, observed=[1.0, 2.0, -1.0]
        ),
    }
    with pm.Model() as model:
        families[distribution](pm.HalfNormal("a"))
    return model


@pytest.mark.parametrize(
    "distribution",
    [
        "Gamma",
        "LogNormal",
        "Weibull",
        "Exponential",
        "Poisson",
        "NegativeBinomial",
        "InverseGamma",
        "Beta",
        "Truncated",
    ],
)
def test_data_outside_the_support_are_named_with_their_place(distribution):
    with pytest.raises(pmlik.StartError) as caught:
        pmlik.find_MLE(negative_observation(distribution), progressbar=False)
    message = str(caught.value)
    assert message.startswith("y: the likelihood is")
    assert "at index [2]" in message
    assert "missing" not in message
    assert "inside the distribution's support" in message


@pytest.mark.parametrize("verb", VERBS)
def test_a_start_without_likelihood_shows_where_it_is(verb):
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Binomial("y", n=10, p=p, observed=[3, 4, 11])
    with pytest.raises(pmlik.StartError, match=r"^y: .*zero at index \[2\].*p = 0.5.*initvals"):
        verb(model, progressbar=False)


def test_of_several_observed_variables_the_one_at_fault_is_named():
    table = holed(np.ones((3, 2)), 2, 1, value=-2.0)
    with pm.Model() as model:
        rate = pm.HalfNormal("rate")
        pm.Normal("fine", rate, 1.0, observed=Y)
        pm.Exponential("wait", rate, observed=table)
    with pytest.raises(pmlik.StartError, match=r"^wait: .* at index \[2, 1\]"):
        pmlik.find_MLE(model, progressbar=False)


def test_a_start_that_the_user_chose_badly_is_named():
    with pm.Model() as model:
        top = pm.Uniform("top", 0, 10, initval=1.0)
        pm.Uniform("y", 0, top, observed=[0.5, 2.0, 5.0])
    with pytest.raises(
        pmlik.StartError, match=r"^y: the likelihood is zero at index \[1\].*top = 1"
    ):
        pmlik.find_MLE(model, progressbar=False)


def test_a_potential_that_is_zero_everywhere_is_named():
    with pm.Model() as model:
        a = pm.Normal("a")
        pm.Normal("y", a, 1.0, observed=Y)
        pm.Potential("wall", pt.switch(a**2 > -1, -np.inf, 0.0))
    with pytest.raises(pmlik.StartError, match=r"^wall: the likelihood is zero"):
        pmlik.find_MLE(model, progressbar=False)
    with pytest.raises(pmlik.StartError, match=r"^wall: the prior density is zero"):
        pmlik.find_MAP(model, progressbar=False, potentials="prior")


def test_a_start_error_is_a_model_error_and_a_value_error():
    assert issubclass(pmlik.StartError, pmlik.ModelError)
    assert issubclass(pmlik.ModelError, ValueError)
    assert issubclass(pmlik.ModelError, pmlik.PmlikError)
    assert issubclass(pmlik.EstimationError, RuntimeError)


@pytest.mark.parametrize("verb", VERBS)
def test_a_likelihood_without_parameters(verb):
    with pm.Model() as model:
        pm.Normal("a")
        pm.HalfNormal("b")
        pm.Normal("y", 0, 1, observed=Y)
    message = refusal(verb, model)
    assert message.startswith("y: the likelihood does not depend on any of the parameters (a, b)")
    assert "Use them" in message


# --- densities that pmlik can't use ----------------------------------------------------------


class BlackBox(Op):
    """A log-density that PyTensor can't differentiate."""

    def make_node(self, value, mean):
        return Apply(self, [pt.as_tensor(value), pt.as_tensor(mean)], [pt.vector()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = -0.5 * (inputs[0] - inputs[1]) ** 2


@pytest.mark.parametrize("verb", VERBS)
def test_a_log_density_without_gradient(verb):
    with pm.Model() as model:
        pm.CustomDist("y", pm.Normal("a"), logp=lambda v, a: BlackBox()(v, a), observed=Y)
    message = refusal(verb, model)
    assert message.startswith("y: the log-density has no gradient")
    assert "PyTensor operations" in message


def test_a_potential_without_gradient():
    with pm.Model() as model:
        pm.Potential("box", BlackBox()(Y, pm.Normal("a")).sum())
    assert refusal(pmlik.find_MLE, model).startswith("box: the log-density has no gradient")


def test_a_custom_distribution_without_log_density():
    def draw(a, rng=None, size=None):
        return rng.normal(a, size=size)

    with pm.Model() as model:
        pm.CustomDist("y", pm.Normal("a"), random=draw, observed=Y)
    message = refusal(pmlik.find_MLE, model)
    assert message.startswith("y: ")
    assert "logp" in message


def test_a_custom_distribution_whose_log_density_can_not_be_derived():
    def sum_of_two(a, size):
        return pm.Normal.dist(a, size=size) + pm.Gamma.dist(2, 1, size=size)

    with pm.Model() as model:
        pm.CustomDist("y", pm.Normal("a"), dist=sum_of_two, observed=Y)
    message = refusal(pmlik.find_MLE, model)
    assert message.startswith("y: ")
    assert "logp" in message


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_is_built")
class TestArguments:
    @pytest.mark.parametrize("verb", VERBS)
    def test_unknown_names_are_listed_with_the_known_ones(self, verb):
        message = refusal(verb, mean_model(), var_names=["a", "b", "c"])
        assert message == "var_names: 'b', 'c' not in the model, which has a, twice."

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_string_is_a_name(self, verb):
        message = refusal(verb, mean_model(), var_names="once")
        assert message == "var_names: 'once' not in the model, which has a, twice."

    @pytest.mark.parametrize("verb", VERBS)
    def test_something_else_for_names(self, verb):
        assert refusal(verb, mean_model(), var_names=3).startswith("var_names: got ")

    @pytest.mark.parametrize("verb", [*VERBS, pmlik.likelihood_model])
    @pytest.mark.parametrize("wrong", ["both", None, 1])
    def test_what_potentials_count_as(self, verb, wrong):
        with pytest.raises(pmlik.ModelError) as caught:
            verb(mean_model(), potentials=wrong)
        assert str(caught.value) == f"potentials: got {wrong!r}, need 'likelihood' or 'prior'."

    @pytest.mark.parametrize("verb", [pmlik.compare, pmlik.sample_posterior])
    @pytest.mark.parametrize("wrong", ["wald", "HDI", ["eti"]])
    def test_the_kind_of_interval(self, verb, wrong):
        message = refusal(verb, mean_model(), ci_kind=wrong)
        assert message == f"ci_kind: got {wrong!r}, need 'eti' or 'hdi'."

    @pytest.mark.parametrize("verb", [pmlik.compare, pmlik.sample_posterior])
    @pytest.mark.parametrize("wrong", [95, 0, 1.0, -0.5, float("nan"), "0.9"])
    def test_the_probability_of_an_interval(self, verb, wrong):
        message = refusal(verb, mean_model(), ci_prob=wrong)
        assert message == f"ci_prob: got {wrong!r}, need a probability between 0 and 1."

    @pytest.mark.parametrize("verb", ALL_VERBS)
    @pytest.mark.parametrize("wrong", [-1, 1.5, "a", [1, 2]])
    def test_the_seed(self, verb, wrong):
        message = refusal(verb, mean_model(), random_seed=wrong)
        assert message == f"random_seed: got {wrong!r}, need an integer from 0 up, or None."

    @pytest.mark.parametrize("verb", [pmlik.compare, pmlik.sample_posterior])
    @pytest.mark.parametrize(
        "taken", [{"model": 1}, {"random_seed": 1}, {"progressbar": False}, {"model": 1, "x": 2}]
    )
    def test_sampler_arguments_that_have_a_place_of_their_own(self, verb, taken):
        message = refusal(verb, mean_model(), sample_kwargs=taken)
        assert message.startswith(f"sample_kwargs: got {next(iter(taken))};")
        assert "argument of its own" in message

    @pytest.mark.parametrize("verb", [pmlik.compare, pmlik.sample_posterior])
    def test_a_sample_that_would_not_be_a_tree(self, verb):
        message = refusal(verb, mean_model(), sample_kwargs={"return_inferencedata": False})
        assert "return_inferencedata must stay True" in message

    @pytest.mark.parametrize("verb", [pmlik.compare, pmlik.sample_posterior])
    @pytest.mark.parametrize(
        ("typo", "right"),
        [("drawz", "draws"), ("target_acept", "target_accept"), ("nuts_sampler_kwarg", "nuts_")],
    )
    def test_a_sampler_argument_that_is_misspelt(self, verb, typo, right):
        message = refusal(verb, mean_model(), sample_kwargs={typo: 5})
        assert message.startswith(f"sample_kwargs: got {typo!r}")
        assert right in message

    @pytest.mark.parametrize("verb", [pmlik.compare, pmlik.sample_posterior])
    def test_sampler_arguments_that_are_no_mapping(self, verb):
        assert refusal(verb, mean_model(), sample_kwargs=500).startswith("sample_kwargs: got ")


@pytest.mark.parametrize("verb", ALL_VERBS)
@pytest.mark.parametrize("wrong", ["cuda", "Numba", 3])
def test_an_unknown_backend(verb, wrong, monkeypatch):
    monkeypatch.setattr(
        "pmlik.inference.sample.pm.sample", lambda **kwargs: pytest.fail("it sampled")
    )
    message = refusal(verb, mean_model(), backend=wrong)
    assert message == f"backend: got {wrong!r}, need one of numba, jax, c, or None."


def test_a_misspelt_argument_is_pythons_own_error():
    with pytest.raises(TypeError, match="nonsense"):
        pmlik.find_MLE(mean_model(), nonsense=1)


def test_bad_input_leaves_the_context_stack_as_it_was():
    with pytest.raises(pmlik.ModelError):
        pmlik.find_MLE(mean_model(holed(Y, 1, value=np.inf)), progressbar=False)
    with pytest.raises(pmlik.ModelError, match="No model"):
        pmlik.find_MLE(progressbar=False)


# --- what looks like bad input and is not --------------------------------------------------


def test_counts_with_gaps_are_estimated_from_the_others():
    counts = np.ma.masked_array([3, 5, 0, 4], mask=[False, False, True, False])
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyMC's own about imputation
        pm.Poisson("y", pm.HalfNormal("rate", 10), observed=counts)
    mle = pmlik.find_MLE(model, progressbar=False)
    assert float(mle.values["rate"]) == pytest.approx(4.0)


def test_no_names_at_all_give_an_empty_table_that_prints():
    comparison = pmlik.compare(
        mean_model(), var_names=[], sample=False, progressbar=False, extras=False
    )
    assert len(comparison.table) == 0
    assert "log L" in str(comparison)


def test_chosen_names_without_posterior_are_printed():
    comparison = pmlik.compare(
        mean_model(), var_names=["twice"], sample=False, progressbar=False, extras=False
    )
    assert list(comparison.table.index) == ["twice"]
    text = str(comparison)
    assert "twice" in text
    assert "\na " not in text


def test_a_model_of_potentials_only_has_no_bic_as_it_has_no_observations():
    with pm.Model() as model:
        pm.Potential("p", -((pm.Normal("a") - 1) ** 2))
    mle = pmlik.find_MLE(model, progressbar=False)
    assert mle.n_observations == 0
    assert float(mle.values["a"]) == pytest.approx(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(mle.bic)
        assert np.isfinite(mle.aic)
