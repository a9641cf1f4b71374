"""What all tests share: likelihoods and estimates that are made once.

The fixtures import PyMC themselves: it takes seconds, and xdist's controller can do without it.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("oracles")

# No tests in them; with --doctest-modules they would be imported a second time.
collect_ignore_glob = ["oracles/*", "benchmarks/*"]


@pytest.fixture(scope="session")
def normal():
    from oracles.likelihoods import normal

    return normal()


@pytest.fixture(scope="session")
def line():
    from oracles.likelihoods import line

    return line()


@pytest.fixture(scope="session")
def shares():
    from oracles.likelihoods import shares

    return shares()


@pytest.fixture(scope="session")
def counted():
    from oracles import fits, regressions

    return fits.fit(regressions.poisson())


@pytest.fixture(scope="session")
def spread():
    from oracles import fits, regressions

    return fits.fit(regressions.normal())
