"""The made-up results of the tests of results, for the tests of comparisons."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("made", Path(__file__).parents[1] / "results" / "conftest.py")
assert _SPEC is not None
assert _SPEC.loader is not None
made = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made)


@pytest.fixture
def make_result():
    return made.build_result


@pytest.fixture
def assert_same():
    return made.check_equal
