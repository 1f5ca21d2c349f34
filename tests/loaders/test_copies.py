"""All copies of one real recording hold the same spikes, and what is known of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefit.loaders import read, recognise
from spikefit.spikes import SpikeTrains

COPIES = {
    "mouse_hd_a2929": (".nwb", ".h5", "_flat.h5", ".nix", ".mat"),
    "rat_lineartrack": (".nwb", ".h5", "_flat.h5", ".nix"),
    "rat_hpc_tetrode": (".nwb", ".h5", "_flat.h5", ".nix"),
}
FORMATS = {".nwb": "nwb", ".h5": "hdf5", "_flat.h5": "hdf5", ".nix": "nix", ".mat": "matlab"}
FILES = [(name, ending) for name, endings in COPIES.items() for ending in endings]


@pytest.fixture(scope="module")
def read_copy(recordings: Path) -> Any:
    known: dict[str, SpikeTrains] = {}

    def get(name: str, ending: str) -> SpikeTrains:
        file = name + ending
        if file not in known:
            known[file] = read(recordings / file)
        return known[file]

    return get


@pytest.mark.parametrize(("name", "ending"), FILES)
def test_a_copy_is_what_is_known(read_copy: Any, expected: dict[str, Any], name: str, ending: str) -> None:
    trains, known = read_copy(name, ending), expected[name]
    assert trains.format == FORMATS[ending]
    assert list(trains.unit_ids) == known["names"]
    assert trains.n_spikes_per_unit.tolist() == known["counts"]
    assert [round(float(trains[unit][0]), 6) for unit in trains.unit_ids] == [round(t, 6) for t in known["first"]]
    assert [round(float(trains[unit][-1]), 6) for unit in trains.unit_ids] == [round(t, 6) for t in known["last"]]
    if (name, ending) == ("rat_hpc_tetrode", ".nwb"):  # this copy does not say when the recording was on
        assert trains.t_start_s == trains.spike_times_s.min()
        assert trains.t_stop_s == np.nextafter(trains.spike_times_s.max(), np.inf)
        assert "taken from the spikes" in trains.warnings[0]
    else:
        assert (trains.t_start_s, trains.t_stop_s) == (known["t_start"], known["t_stop"])


@pytest.mark.parametrize(("name", "ending"), [f for f in FILES if f[1] != ".nwb"])
def test_copies_are_equal_bit_for_bit(read_copy: Any, name: str, ending: str) -> None:
    first, other = read_copy(name, ".nwb"), read_copy(name, ending)
    assert other.unit_ids == first.unit_ids
    assert other.offsets.tobytes() == first.offsets.tobytes()
    assert other.spike_times_s.tobytes() == first.spike_times_s.tobytes()


def test_the_mouse_has_its_epochs_and_places(read_copy: Any, expected: dict[str, Any]) -> None:
    mouse = read_copy("mouse_hd_a2929", ".nwb")
    assert {key: rows.tolist() for key, rows in mouse.epochs.items()} == {
        "sleep": [[0.0, 600.0]],
        "wake": [[600.0, 1200.0]],
    }
    assert mouse.unit_columns["location"].tolist() == expected["mouse_hd_a2929"]["locations"]
    assert mouse.unit_columns["electrode_group"].tolist() == ["group1"] * 7 + ["group2"] * 8
    assert mouse.warnings == ()


def test_units_that_hardly_fire_are_named(read_copy: Any) -> None:
    (doubt,) = read_copy("rat_lineartrack", ".nwb").warnings
    assert "2 of 31 units have fewer than 50 spikes" in doubt
    assert "'tt09c10', 'tt09c16'" in doubt


@pytest.mark.parametrize(("name", "ending"), FILES)
def test_a_format_is_told_by_content_alone(recordings: Path, tmp_path: Path, name: str, ending: str) -> None:
    disguised = tmp_path / "session.pl2"  # an ending that would mislead
    disguised.symlink_to(recordings / (name + ending))
    assert recognise(disguised) == FORMATS[ending]


def test_reading_changes_nothing(recordings: Path) -> None:
    for name, ending in FILES:
        path = recordings / (name + ending)
        before = (path.read_bytes(), path.stat().st_mtime_ns)
        read(path)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before, path.name


@pytest.mark.parametrize("ending", [".nwb", ".h5", "_flat.h5", ".mat"])
def test_reading_brings_in_little(recordings: Path, ending: str) -> None:
    code = (
        "import sys, spikefit.loaders; assert 'numpy' not in sys.modules; spikefit.loaders.read(sys.argv[1]);"
        "heavy = {'torch', 'neo', 'pynwb', 'hdmf', 'scipy', 'pandas', 'matplotlib', 'nixio', 'quantities'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    path = str(recordings / f"mouse_hd_a2929{ending}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run(
        [sys.executable, "-c", code, path], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
