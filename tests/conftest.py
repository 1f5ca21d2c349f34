"""Fixtures for all tests: the real recordings, and small made-up ones."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from spikefit.spikes import SpikeTrains

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of the real recordings; tests that need them are left out where it is absent."""
    folder = Path(os.environ.get("SPIKEFIT_RECORDINGS", REPOSITORY.parent / "shared" / "recordings"))
    if not folder.is_dir():
        pytest.skip(f"the real recordings are not at {folder}; set SPIKEFIT_RECORDINGS to their folder")
    return folder


@pytest.fixture(scope="session")
def expected(recordings: Path) -> dict[str, dict[str, Any]]:
    """What is known of each real recording, by name: units, counts, first and last spike, start and stop."""
    known: dict[str, dict[str, Any]] = json.loads((recordings / "expected.json").read_text(encoding="utf-8"))
    return known


@pytest.fixture(scope="session")
def poisson_trains() -> Callable[..., SpikeTrains]:
    """A factory of independent Poisson trains: `poisson_trains(n_units, duration_s=60, rate_hz=5, seed=0)`."""

    def make(
        n_units: int = 3,
        *,
        duration_s: float = 60.0,
        rate_hz: float = 5.0,
        t_start_s: float = 0.0,
        seed: int = 0,
        **rest: Any,
    ) -> SpikeTrains:
        random = np.random.default_rng(seed)
        trains = {
            f"u{k}": np.sort(t_start_s + duration_s * random.random(random.poisson(rate_hz * duration_s)))
            for k in range(n_units)
        }
        intervals_s = rest.pop("intervals_s", [[t_start_s, t_start_s + duration_s]])
        return SpikeTrains.from_trains(trains, intervals_s=intervals_s, **rest)

    return make


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """What tests/results/conftest.py makes up, for the tests of other folders."""
    spec = importlib.util.spec_from_file_location("made", Path(__file__).parent / "results" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_result(made: ModuleType) -> Callable[..., Any]:
    return made.build_result


@pytest.fixture
def make_excerpt(made: ModuleType) -> Callable[..., Any]:
    return made.build_excerpt


@pytest.fixture
def add_free_runs(made: ModuleType) -> Callable[..., Any]:
    return made.with_free_runs


@pytest.fixture
def assert_same(made: ModuleType) -> Callable[..., None]:
    return made.check_equal
