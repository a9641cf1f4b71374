"""What a session sees of the package, and seeds."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest

import pmlik
from pmlik.inference.options import seed_of


def test_the_version_and_the_public_names() -> None:
    assert pmlik.__version__ == version("pmlik")
    assert set(dir(pmlik)) == {*pmlik.__all__, "__version__"}


def test_a_generator_gives_seeds() -> None:
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    seeds = [seed_of(one), seed_of(one)]
    assert seeds == [seed_of(other), seed_of(other)]
    assert seeds[0] != seeds[1]
    with pytest.raises(pmlik.ModelError, match="random_seed: got 'x'"):
        seed_of("x")  # type: ignore[arg-type]
