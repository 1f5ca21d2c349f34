"""A small simulated recording, settings for a fit of a second or two, and comparisons of result files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefit.config import Config
from spikefit.pipeline import simulate_to_file

SIMULATED: dict[str, Any] = {
    "bin": "10ms",
    "window": "50ms",
    "neurons": 6,
    "drivers": 1,
    "duration": "30s",
    "rate_hz": 12.0,
    "driver_rate_hz": 10.0,
    "seed": 3,
}
TINY: dict[str, Any] = {
    "bin": "10ms",
    "window": "50ms",
    "functions": 2,
    "restarts": 1,
    "draws": 1,
    "max_epochs": 2,
    "threads": 1,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith("SPIKEFIT_") and variable != "SPIKEFIT_RECORDINGS":
            monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Settings by the words of the command line."""
    return dict(TINY)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recorded units and a driver, 30 s, as NWB with its truth beside it."""
    path = tmp_path_factory.mktemp("recording") / "session.nwb"
    simulate_to_file(path, config=Config().replace(**SIMULATED))
    return path


def stored(path: Path) -> dict[str, Any]:
    """Every dataset of a result's HDF5 file by its path, as values that can be compared."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            value = item[()]
            found[name] = value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else value

    with h5py.File(path / "connectivity.h5" if path.is_dir() else path, "r") as file:
        file.visititems(visit)
    return found


@pytest.fixture(scope="session")
def datasets() -> Callable[[Path], dict[str, Any]]:
    return stored


@pytest.fixture(scope="session")
def differing() -> Callable[[Path, Path], list[str]]:
    """Names of the datasets of two results that are not equal bit for bit; times and memory of a run left out."""

    def check(first: Path, second: Path) -> list[str]:
        a, b = stored(first), stored(second)
        names = sorted(a.keys() | b.keys())
        return [name for name in names if name not in a or name not in b or not _equal(a[name], b[name])]

    return check


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)
