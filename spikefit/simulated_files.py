"""A simulated recording as files: the NWB that a lab would have, and the truth beside it."""

from __future__ import annotations

import datetime
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.files import replacing
from spikefit.results import HiddenActivity, Result, UnitRow
from spikefit.results.parts import hidden_ids
from spikefit.simulate import Simulation, random_network, simulate
from spikefit.spikes import SpikeTrains

# Simulations are no recordings of a day; one fixed date keeps equal seeds equal files.
SESSION_START = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)

S_PER_BIN = 60e-6  # measured on one 2 GHz core, for some tens of units


def write_simulation(path: Path, config: Config, *, overwrite: bool) -> dict[str, Any]:
    """Simulate as the config says, and write `path` and its `.truth.h5`.

    Returns:
        Plain values that say what was made.

    Raises:
        UsageError: if a file is there already, the place is no NWB file name, or the network runs away.
    """
    truth_path = _places(path, overwrite=overwrite)
    wanted, model, seed = config.simulate, config.model, config.run.seed
    network = random_network(
        n_visible=wanted.neurons,
        n_drivers=wanted.drivers,
        seed=seed,
        bin_width_s=model.bin,
        window_s=model.window,
        rate_hz=wanted.rate_hz,
        density=wanted.density,
        strength=wanted.strength,
        fan_out=wanted.fan_out,
        driver_strength=wanted.driver_strength,
        driver_rate_hz=wanted.driver_rate_hz,
        link=model.link,
    )
    simulation = simulate(network, duration_s=wanted.duration, seed=seed)
    trains = simulation.trains(name=path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    truth = truth_of(simulation, config, name=path.stem)
    _write_truth(truth, truth_path)
    write_nwb(trains, path, description=_description(config), seed=seed)
    return {
        "recording": str(path),
        "truth": str(truth_path),
        "n_visible": network.n_visible,
        "n_hidden": network.n_hidden,
        "duration_s": float(len(simulation.counts) * network.bin_width_s),
        "n_spikes": trains.n_spikes,
        "mean_rate_hz": float(trains.rate_hz.mean()),
        "n_connections": int(
            np.count_nonzero(_off_diagonal(network.connectivity[: network.n_visible, : network.n_visible]))
        ),
        "seed": seed,
    }


def plan_simulation(path: Path, config: Config, *, overwrite: bool) -> dict[str, Any]:
    """What `write_simulation` would make, as plain values; nothing is simulated or written.

    Raises:
        UsageError: where `write_simulation` would refuse to start.
    """
    truth_path = _places(path, overwrite=overwrite)
    wanted = config.simulate
    n_units, n_bins = wanted.neurons + wanted.drivers, round(wanted.duration / config.model.bin)
    n_lags = round(config.model.window / config.model.bin)
    return {
        "recording": str(path),
        "truth": str(truth_path),
        "n_visible": wanted.neurons,
        "n_hidden": wanted.drivers,
        "n_bins": n_bins,
        "n_parameters": n_units * (n_units * n_lags + 1),
        "memory_bytes": n_bins * n_units * 2 + 3 * 8 * n_units**2 * n_lags,
        "time_s": n_bins * S_PER_BIN,
        "seed": config.run.seed,
    }


def _places(path: Path, *, overwrite: bool) -> Path:
    """Refuse a place that cannot be used; where the truth goes."""
    if path.suffix != ".nwb":
        raise UsageError(f"{path}: simulations are written as NWB, expected a name that ends in .nwb.")
    truth_path = path.with_suffix(".truth.h5")
    for place in (path, truth_path):
        if place.exists() and not overwrite:
            raise UsageError(f"{place}: there is a file already.", hint="pass --overwrite to replace it, or another -o")
    return truth_path


def truth_of(simulation: Simulation, config: Config, *, name: str) -> Result:
    """The simulated network in the form of a result: true filters, and the hidden units' true counts."""
    network = simulation.network
    trains = simulation.trains(name=name)
    n_lags = network.coupling_filters.shape[2]
    hidden = None
    if network.n_hidden:
        time_s = np.arange(len(simulation.counts)) * network.bin_width_s
        hidden = HiddenActivity(time_s, simulation.hidden_counts.astype(np.float64))
    return Result(
        unit_id=(*trains.unit_ids, *hidden_ids(network.n_hidden)),
        unit_kind=("visible",) * network.n_visible + ("hidden",) * network.n_hidden,
        connectivity=network.connectivity,
        coupling_filters=network.coupling_filters,
        lag_s=network.bin_width_s * np.arange(1, n_lags + 1),
        baseline=network.baseline,
        bin_width_s=network.bin_width_s,
        hidden=hidden,
        metrics={"n_visible": network.n_visible, "n_hidden": network.n_hidden, "n_bins": len(simulation.counts)},
        units=tuple(
            UnitRow(unit, "visible", True, "", int(n), float(rate))
            for unit, n, rate in zip(trains.unit_ids, trains.n_spikes_per_unit, trains.rate_hz, strict=True)
        ),
        config=config.to_dict(),
        provenance={"seed": simulation.seed, "simulated": True},
        name=name,
    )


def write_nwb(trains: SpikeTrains, path: Path, *, description: str, seed: int) -> None:
    """Write spike trains as an NWB file with observed intervals.

    Args:
        trains: the recording.
        path: the file, replaced if it is there.
        description: what the session is.
        seed: names the file, so that equal seeds give equal identifiers.
    """
    from pynwb import NWBHDF5IO, NWBFile

    nwb = NWBFile(
        session_description=description,
        identifier=str(uuid.uuid5(uuid.NAMESPACE_OID, f"spikefit {trains.name} {seed}")),
        session_start_time=SESSION_START,
        file_create_date=SESSION_START,
    )
    nwb.add_unit_column("unit_name", "name of the unit")
    for unit in trains:
        nwb.add_unit(spike_times=trains[unit], obs_intervals=trains.intervals_s, unit_name=unit)
    with replacing(path) as scratch, NWBHDF5IO(str(scratch), "w") as io:
        io.write(nwb)


def _write_truth(truth: Result, path: Path) -> None:
    """Save the truth as a result, and keep its one HDF5 file."""
    folder = path.with_name(f".{path.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        truth.save(folder, figures=False)
        with replacing(path) as scratch:
            shutil.copyfile(folder / "connectivity.h5", scratch)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _description(config: Config) -> str:
    wanted = config.simulate
    return (
        f"Simulated by spikefit, not a recording: {wanted.neurons} neurons and {wanted.drivers} drivers that were left "
        f"out, seed {config.run.seed}."
    )


def _off_diagonal(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(matrix[~np.eye(len(matrix), dtype=bool)])
