"""Small files of every kind, made with h5py alone so that they can also be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest


def spread_trains(n_units: int = 3, n_spikes: int = 80, start_s: float = 1.0, seed: int = 0) -> list[np.ndarray]:
    """Trains that raise no doubts: 80 spikes each over a minute, no two of a unit closer than 2 ms."""
    random = np.random.default_rng(seed)
    grid = 0.01 * np.arange(6000)
    return [
        np.round(start_s + np.sort(random.choice(grid, n_spikes, replace=False)) + 0.002 * random.random(n_spikes), 6)
        for _ in range(n_units)
    ]


@pytest.fixture
def trains() -> list[np.ndarray]:
    return spread_trains()


@pytest.fixture
def nwb_file(tmp_path: Path) -> Callable[..., Path]:
    """`nwb_file(trains, obs=…, change=…)`: a minimal NWB file; `change(file)` then spoils it as the test wants."""

    def make(
        trains: Sequence[Any] | None = None,
        *,
        obs: Sequence[Sequence[Sequence[float]]] | None = None,
        columns: dict[str, Any] | None = None,
        change: Callable[[h5py.File], object] | None = None,
        where: str = "units",
        name: str = "session.nwb",
    ) -> Path:
        path = tmp_path / name
        arrays = spread_trains() if trains is None else [np.asarray(train) for train in trains]
        with h5py.File(path, "a") as file:
            file.attrs["nwb_version"] = "2.7.0"
            units = file.create_group(where)
            units.attrs["neurodata_type"] = "Units"
            units["id"] = np.arange(len(arrays))
            units["spike_times"] = np.concatenate(arrays) if arrays else np.empty(0)
            units["spike_times_index"] = np.cumsum([a.size for a in arrays]).astype(np.uint16)
            if obs is not None:
                units["obs_intervals"] = np.concatenate([np.reshape(rows, (-1, 2)) for rows in obs])
                units["obs_intervals_index"] = np.cumsum([len(rows) for rows in obs]).astype(np.uint8)
            for key, values in (columns or {}).items():
                units[key] = values
            if change is not None:
                change(file)
        return path

    return make


@pytest.fixture
def h5_file(tmp_path: Path) -> Callable[..., Path]:
    """`h5_file({path: values}, t_start=…)`: an HDF5 file with those datasets and root attributes."""

    def make(datasets: dict[str, Any], name: str = "session.h5", **attributes: Any) -> Path:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key, values in datasets.items():
                file[key] = values
            file.attrs.update(attributes)
        return path

    return make
