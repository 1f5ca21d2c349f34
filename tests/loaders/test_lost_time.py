"""When single units were lost: from tables, through every change of a recording, and back from files."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from spikefit.config import Config
from spikefit.converting import convert
from spikefit.errors import UsageError
from spikefit.exporters import recording_h5, recording_nwb
from spikefit.inspection import choose_units, inspect_recording
from spikefit.loaders import read
from spikefit.loaders.lost_time import read_lost_time
from spikefit.pvae_pipeline import prepare_sessions
from spikefit.reading import read_recording
from spikefit.spikes import SpikeTrains


@pytest.fixture
def trains() -> SpikeTrains:
    rng = np.random.default_rng(5)
    spikes = {name: np.sort(rng.uniform(0, 100, 300)) for name in ("ca1-1", "ca1-2", "ca3-1")}
    return SpikeTrains.from_trains(spikes, intervals_s=[[0, 40], [50, 100]], name="r").restrict([[0, 100]])


def table(folder: Path, *lines: str) -> Path:
    path = folder / "lost.csv"
    path.write_text("\n".join(("unit_id,start_s,stop_s", *lines)) + "\n")
    return path


def test_a_table_of_lost_time(trains: SpikeTrains, tmp_path: Path) -> None:
    found = read_lost_time(table(tmp_path, "ca1-2,10,20", "ca1-2,15,60", "ca3-1, 90, 100"), trains)
    # The gap of the recording is nobody's lost time.
    assert {unit: rows.tolist() for unit, rows in found.lost_s.items()} == {
        "ca1-2": [[10, 40], [50, 60]],
        "ca3-1": [[90, 100]],
    }
    assert found.observed_s.tolist() == [90, 50, 80]
    inside = ((trains["ca1-2"] >= 10) & (trains["ca1-2"] < 60)).sum()
    assert found["ca1-2"].size == trains["ca1-2"].size - inside
    assert found["ca1-1"].tolist() == trains["ca1-1"].tolist()
    assert "lost.csv: 2 of 3 units are lost" in found.warnings[-1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ca1-3,10,20", "line 2: the recording has no unit 'ca1-3'"),
        ("ca1-2,10,200", "the recording runs from 0 s to 100 s"),
        ("ca1-2,20,10", "expected unit_id,start_s,stop_s"),
        ("ca1-2,ten,20", "expected unit_id,start_s,stop_s"),
        ("ca1-2,10", "expected unit_id,start_s,stop_s"),
    ],
)
def test_tables_that_do_not_fit(trains: SpikeTrains, tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as fault:
        read_lost_time(table(tmp_path, line), trains)
    assert fault.value.hint
    if "ca1-3" in line:
        assert "ca1" in fault.value.hint


def test_other_headings_and_no_file(trains: SpikeTrains, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("unit,from,to\n1,2,3\n")
    with pytest.raises(UsageError, match="the first line must be unit_id,start_s,stop_s, found unit,from,to"):
        read_lost_time(tmp_path / "other.csv", trains)
    with pytest.raises(UsageError, match="no such table"):
        read_lost_time(tmp_path / "none.csv", trains)


def test_changes_keep_lost_time(trains: SpikeTrains) -> None:
    lossy = trains.lose({"ca1-2": [[10, 60]]})
    assert lossy.select(["ca3-1", "ca1-2"]).lost_s["ca1-2"].tolist() == [[10, 40], [50, 60]]
    assert not lossy.select(["ca3-1", "ca1-1"]).lost_s
    assert lossy.restrict([[30, 55]]).lost_s["ca1-2"].tolist() == [[30, 40], [50, 55]]
    assert lossy.merge_units({"both": ["ca1-1", "ca1-2"]}).lost_s["both"].tolist() == [[10, 40], [50, 60]]
    other = SpikeTrains.from_trains({"x": [1.0]}, intervals_s=[[0, 100]])
    assert lossy.merge(other).lost_s["ca1-2"].tolist() == [[10, 40], [50, 60]]
    assert copy.deepcopy(lossy).lost_s["ca1-2"].tolist() == [[10, 40], [50, 60]]


def test_bins_that_lost_time_touches_are_lost(trains: SpikeTrains) -> None:
    counts = trains.lose({"ca1-2": [[10.5, 39.2], [51, 52]]}).bin(1.0)
    assert counts.lost is not None
    assert np.flatnonzero(counts.lost[:, 1]).tolist() == [*range(10, 40), 41]
    assert not counts.lost[:, [0, 2]].any()
    assert not counts.counts[counts.lost].any()
    plain = trains.bin(1.0)
    assert plain.lost is None
    assert np.array_equal(counts.counts[~counts.lost], plain.counts[~counts.lost])
    assert counts.mean_count[1] == pytest.approx(plain.counts[~counts.lost[:, 1], 1].mean())


def test_a_unit_lost_all_the_time_is_left_out(trains: SpikeTrains) -> None:
    choice = choose_units(trains.lose({"ca1-2": [[0, 100]]}))[1]
    assert (choice.kept, choice.reason) == (False, "lost in all of the chosen time")


@pytest.mark.parametrize("suffix", [".nwb", ".h5"])
def test_files_keep_lost_time(trains: SpikeTrains, tmp_path: Path, suffix: str) -> None:
    lossy = trains.lose({"ca1-2": [[10, 60]], "ca3-1": [[90, 100]]})
    path = tmp_path / f"r{suffix}"
    (recording_nwb if suffix == ".nwb" else recording_h5).write(lossy, path)
    again = read(path)
    assert again.intervals_s.tolist() == lossy.intervals_s.tolist()
    assert {unit: rows.tolist() for unit, rows in again.lost_s.items()} == {
        unit: rows.tolist() for unit, rows in lossy.lost_s.items()
    }
    assert again.spike_times_s.tolist() == lossy.spike_times_s.tolist()
    assert read(path, observed="common").intervals_s.tolist() == [[0, 10], [60, 90]]
    config = Config().replace(observed="per-unit", interval=[(0.0, 30.0)])
    convert(path, tmp_path / "part.nwb", config)
    assert read(tmp_path / "part.nwb").lost_s["ca1-2"].tolist() == [[10, 30]]


def test_roles_of_an_hdf5_file(trains: SpikeTrains, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["t"], file["u"] = [1.0, 12.0, 2.0, 3.0], [0, 0, 1, 1]
        file["seen"], file["ends"] = [[0.0, 20.0], [0.0, 5.0], [15.0, 20.0]], [1, 3]
    mapping = {"times": "t", "units": "u", "observed": "seen", "observed_index": "ends"}
    found = read(tmp_path / "own.h5", mapping=mapping)
    assert {unit: rows.tolist() for unit, rows in found.lost_s.items()} == {"1": [[5, 15]]}
    del mapping["observed_index"]
    with pytest.raises(UsageError, match="go together"):
        read(tmp_path / "own.h5", mapping=mapping)


def test_inspection_tells_and_pvae_refuses(trains: SpikeTrains, tmp_path: Path) -> None:
    path = tmp_path / "r.nwb"
    recording_nwb.write(trains, path)
    config = Config().replace(lost_time=str(table(tmp_path, "ca1-2,10,60")))
    found = inspect_recording(read_recording(path, config))["units"]
    assert [unit["observed_s"] for unit in found] == [90, 50, 90]
    assert [unit["lost_share"] for unit in found] == pytest.approx([0, 4 / 9, 0])
    with pytest.raises(UsageError, match="1 of 3 units are lost part of the time"):
        prepare_sessions([path], config)
