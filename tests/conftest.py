"""What all tests share."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("oracles")

# No tests in them; with --doctest-modules they would be imported a second time.
collect_ignore_glob = ["oracles/*", "benchmarks/*"]
