"""Executors: threads, processes and Dask give the digits of a serial run."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pymc as pm
import pytest

import pmlik

N = 520  # three blocks of the model's


@contextmanager
def processes(workers: int):
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield pool


@contextmanager
def dask(workers: int):
    from dask.distributed import Client, LocalCluster

    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client.get_executor()


EXECUTORS = {"threads": ThreadPoolExecutor, "processes": processes, "dask": dask}


@pytest.fixture(scope="module")
def estimate() -> pmlik.PointEstimate:
    from quickstart import model

    return pmlik.find_MLE(model, random_seed=1, progressbar=False)


def resample(estimate, executor=None, kind="parametric", n=N, **options) -> pmlik.Bootstrap:
    return pmlik.bootstrap(
        estimate, n, kind=kind, random_seed=3, executor=executor, progressbar=False, **options
    )


@pytest.fixture(scope="module")
def serial(estimate) -> dict[str, pmlik.Bootstrap]:
    return {kind: resample(estimate, kind=kind) for kind in ("parametric", "nonparametric")}


def assert_identical(found: pmlik.Bootstrap, expected: pmlik.Bootstrap) -> None:
    assert found.draws.identical(expected.draws)  # bit by bit, NaN in the same places
    assert found.fits.identical(expected.fits)
    assert found.flags == expected.flags


@pytest.mark.parametrize("name", EXECUTORS)
def test_two_workers_give_the_digits_of_a_serial_run(estimate, serial, name) -> None:
    with EXECUTORS[name](2) as executor:
        for kind, expected in serial.items():
            assert expected.n_failed > 0  # the whole search is exercised, too
            assert_identical(resample(estimate, executor, kind), expected)


def test_the_number_of_workers_does_not_matter(estimate, serial) -> None:
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as executor:
            assert_identical(resample(estimate, executor), serial["parametric"])


def test_replicates_that_are_searched_one_at_a_time_are_identical() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1, shape=3)
        pm.Binomial("y", n=6, p=p, observed=[1, 3, 2])
    estimate = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    expected = resample(estimate, n=60)
    assert (expected.draws["p"] == 0).any()  # at the border
    with ThreadPoolExecutor(2) as executor:
        assert_identical(resample(estimate, executor, n=60), expected)


def test_clusters_travel() -> None:
    rng = np.random.default_rng(0)
    with pm.Model(coords={"firm": rng.integers(0, 9, 40)}) as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 1, observed=rng.normal(size=40), dims="firm")
    estimate = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    options = {"kind": "bayesian", "cluster": "firm"}
    with ThreadPoolExecutor(2) as executor:
        found = resample(estimate, executor, **options)
    assert_identical(found, resample(estimate, **options))


def test_a_worker_builds_its_problem_once(estimate, monkeypatch) -> None:
    from pmlik.stats import executors

    built = []
    prepare = executors.prepare
    monkeypatch.setattr(
        executors, "prepare", lambda arguments: built.append(1) or prepare(arguments)
    )
    with ThreadPoolExecutor(1) as executor:
        resample(estimate, executor)
        resample(estimate, executor)
    assert len(built) == 1


SCRIPT = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    import numpy as np, pymc as pm, pytensor.tensor as pt, pmlik

    def log_density(value, rate):
        return pt.log(rate) - rate * value

    def draw(rate, rng=None, size=None):
        return rng.exponential(1 / rate, size=size)

    if __name__ == "__main__":
        with pm.Model() as model:
            rate = pm.Gamma("rate", 1, 1)
            y = np.random.default_rng(0).exponential(size=30)
            pm.CustomDist("y", rate, logp=log_density, random=draw, observed=y)
        mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
        serial = pmlik.bootstrap(mle, 40, random_seed=1, progressbar=False)
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            found = pmlik.bootstrap(mle, 40, random_seed=1, executor=pool, progressbar=False)
        assert found.draws.identical(serial.draws)
        print(float(serial.std_error["rate"]))
"""


def test_models_of_main_reach_the_workers(tmp_path) -> None:
    script = tmp_path / "analysis.py"
    script.write_text(textwrap.dedent(SCRIPT))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert 0.1 < float(run.stdout) < 0.35
