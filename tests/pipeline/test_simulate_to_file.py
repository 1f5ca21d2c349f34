"""A simulated recording as files: valid NWB, the same counts when read back, and the truth in the layout of a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikefit
from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.pipeline import simulate_to_file
from spikefit.simulate import random_network, simulate

SETTINGS: dict[str, Any] = {"bin": "5ms", "window": "50ms", "neurons": 5, "drivers": 2, "duration": "12s", "seed": 9}


@pytest.fixture
def config() -> Config:
    return Config().replace(**SETTINGS)


@pytest.fixture
def written(config: Config, tmp_path: Path) -> Path:
    simulate_to_file(tmp_path / "sim.nwb", config=config)
    return tmp_path / "sim.nwb"


def drawn(config: Config) -> Any:
    wanted = config.simulate
    network = random_network(
        n_visible=5,
        n_drivers=2,
        seed=9,
        bin_width_s=0.005,
        window_s=0.05,
        rate_hz=wanted.rate_hz,
        density=wanted.density,
        strength=wanted.strength,
        fan_out=wanted.fan_out,
        driver_strength=wanted.driver_strength,
        driver_rate_hz=wanted.driver_rate_hz,
    )
    return simulate(network, duration_s=12, seed=9)


def test_pynwb_finds_nothing_to_complain_of(written: Path) -> None:
    import pynwb

    result = pynwb.validate(path=str(written))
    errors = result[0] if isinstance(result, tuple) else result
    assert list(errors) == []
    # The validator does see a fault.
    import h5py

    with h5py.File(written, "a") as file:
        del file["session_start_time"]
    broken = pynwb.validate(path=str(written))
    assert list(broken[0] if isinstance(broken, tuple) else broken)


def test_it_reads_back_to_the_counts_that_were_drawn(written: Path, config: Config) -> None:
    recording = spikefit.read(written)
    simulation = drawn(config)
    np.testing.assert_array_equal(recording.bin(0.005).counts, simulation.counts[:, :5])
    assert recording.intervals_s.tolist() == [[0.0, 12.0]]
    assert recording.n_units == 5
    assert recording.unit_ids == tuple(f"n{k:02d}" for k in range(5))


def test_the_truth_is_a_result(written: Path, config: Config, datasets: Callable[[Path], dict[str, Any]]) -> None:
    truth_path = written.with_suffix(".truth.h5")
    truth = spikefit.load_result(truth_path)
    simulation = drawn(config)
    np.testing.assert_array_equal(truth.coupling_filters, simulation.network.coupling_filters)
    np.testing.assert_array_equal(truth.connectivity, simulation.network.connectivity)
    np.testing.assert_array_equal(truth.baseline, simulation.network.baseline)
    assert truth.unit_id == (*spikefit.read(written).unit_ids, "hidden-0", "hidden-1")
    assert truth.unit_kind == ("visible",) * 5 + ("hidden",) * 2
    assert truth.hidden is not None
    np.testing.assert_array_equal(truth.hidden.expected_count, simulation.hidden_counts)
    assert truth.bin_width_s == 0.005
    assert {"connectivity", "coupling_filters", "baseline", "unit_id", "unit_kind", "lag_s"} <= datasets(
        truth_path
    ).keys()
    assert {path.name for path in written.parent.iterdir()} == {"sim.nwb", "sim.truth.h5"}


def test_what_is_told_is_what_was_made(tmp_path: Path, config: Config) -> None:
    told = simulate_to_file(tmp_path / "deep" / "er" / "sim.nwb", config=config)
    recording = spikefit.read(told["recording"])
    assert (told["n_visible"], told["n_hidden"], told["duration_s"]) == (5, 2, 12.0)
    assert told["n_spikes"] == recording.n_spikes
    assert told["mean_rate_hz"] == pytest.approx(recording.rate_hz.mean())
    truth = spikefit.load_result(told["truth"])
    off = ~np.eye(5, dtype=bool)
    assert told["n_connections"] == np.count_nonzero(truth.connectivity[:5, :5][off])


def test_equal_seeds_make_equal_spikes_and_others_do_not(tmp_path: Path, config: Config) -> None:
    paths = [tmp_path / f"{name}.nwb" for name in "abc"]
    for path, seed in zip(paths, (9, 9, 10), strict=True):
        simulate_to_file(path, config=config.replace(seed=seed))
    trains = [spikefit.read(path).spike_times_s for path in paths]
    np.testing.assert_array_equal(trains[0], trains[1])
    assert not np.array_equal(trains[0], trains[2])


@pytest.mark.parametrize("taken", ["sim.nwb", "sim.truth.h5"])
def test_files_that_are_there_are_kept_unless_told_otherwise(tmp_path: Path, config: Config, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(UsageError, match=f"{taken}: there is a file already") as refusal:
        simulate_to_file(tmp_path / "sim.nwb", config=config)
    assert "--overwrite" in str(refusal.value.hint)
    assert (tmp_path / taken).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    simulate_to_file(tmp_path / "sim.nwb", config=config, overwrite=True)
    assert spikefit.read(tmp_path / "sim.nwb").n_units == 5


def test_another_ending_is_refused(tmp_path: Path, config: Config) -> None:
    with pytest.raises(UsageError, match=r"sim\.h5: simulations are written as NWB.*ends in \.nwb"):
        simulate_to_file(tmp_path / "sim.h5", config=config)


def test_a_network_that_runs_away_leaves_nothing(tmp_path: Path, config: Config) -> None:
    with pytest.raises(UsageError, match="runs away"):
        simulate_to_file(tmp_path / "sim.nwb", config=config.replace(driver_strength=500, driver_rate_hz=50, fan_out=1))
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(config: Config, tmp_path: Path) -> None:
    plan = simulate_to_file(tmp_path / "sim.nwb", config=config, dry_run=True)
    assert (plan["n_visible"], plan["n_hidden"], plan["n_bins"]) == (5, 2, 2400)
    assert plan["n_parameters"] == 7 * (7 * 10 + 1)  # a filter of ten lags per pair, a baseline per unit
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "sim.nwb").write_bytes(b"here before")
    with pytest.raises(UsageError, match="there is a file already"):
        simulate_to_file(tmp_path / "sim.nwb", config=config, dry_run=True)
