"""NWB files of many kinds, as their authors write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefit.errors import UsageError
from spikefit.loaders import read

Build = Callable[..., Path]


def test_trains_come_back_bit_for_bit(nwb_file: Build, trains: list[np.ndarray]) -> None:
    found = read(nwb_file(trains))
    assert (found.format, found.name) == ("nwb", "session")
    assert found.unit_ids == ("0", "1", "2")
    for k, train in enumerate(trains):
        assert found[str(k)].tobytes() == train.tobytes()


@pytest.mark.parametrize("shift", [-2.0, 64.0, 4396.9975])
def test_any_clock(nwb_file: Build, trains: list[np.ndarray], shift: float) -> None:
    moved = [train - 1 + shift for train in trains]
    found = read(nwb_file(moved, obs=[[[shift, shift + 60]]] * 3))
    assert found.intervals_s.tolist() == [[shift, shift + 60]]
    assert found["1"].tobytes() == moved[1].tobytes()


# -- unit ids and columns ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "ids"),
    [
        ({}, ("0", "1", "2")),
        ({"unit_name": [b"a", b"b", b"c"]}, ("a", "b", "c")),
        ({"unit_name": [b"a", b"a", b"c"]}, ("0", "1", "2")),  # names repeat: they are no keys
        ({"unit_name": [b"a", b"", b"c"]}, ("0", "1", "2")),
        ({"label": ["α,1", "β", "γ"]}, ("α,1", "β", "γ")),
        ({"cluster_id": np.array([12, 7, 30])}, ("12", "7", "30")),
        ({"label": [b"good", b"good", b"mua"], "cluster_id": np.array([12, 7, 30])}, ("12", "7", "30")),
        ({"label": np.array([0.1, 0.2, 0.3])}, ("0", "1", "2")),  # fractions are measurements
    ],
)
def test_units_are_called_what_the_lab_calls_them(
    nwb_file: Build, columns: dict[str, Any], ids: tuple[str, ...]
) -> None:
    found = read(nwb_file(columns=columns))
    assert found.unit_ids == ids
    assert ("nwb_id" in found.unit_columns) == (ids != ("0", "1", "2"))


def test_ids_may_be_anything_and_repeat(nwb_file: Build) -> None:
    def renumber(file: h5py.File) -> None:
        file["units/id"][...] = [-7, 2**40, -7]

    found = read(nwb_file(change=renumber))
    assert found.unit_ids == ("-7", str(2**40), "-7-2")
    assert "1 of 3 unit ids repeat" in found.warnings[0]


def test_properties_become_columns_and_waveforms_do_not(nwb_file: Build) -> None:
    columns = {
        "quality": [b"good", b"mua", b"good"],
        "firing_rate": np.array([1.0, 2.0, np.nan]),
        "is_fast": np.array([True, False, True]),
        "depth": np.array([100, 200, 300], np.int16),
        "waveform_mean": np.zeros((3, 30)),
        "waveforms": np.zeros(3),
        "peak": np.zeros((3, 2)),
        "other": np.zeros(7),
        "z": np.array([1j, 2j, 3j]),
    }
    found = read(nwb_file(columns=columns))
    assert sorted(found.unit_columns) == ["depth", "firing_rate", "is_fast", "quality"]
    assert found.unit_columns["quality"].tolist() == ["good", "mua", "good"]
    assert found.unit_columns["is_fast"].dtype == bool


def test_the_location_comes_from_the_group_or_the_electrode(nwb_file: Build) -> None:
    def by_group(file: h5py.File) -> None:
        for name, place in (("g0", "CA1"), ("g1", "CA3")):
            file.create_group(f"general/extracellular_ephys/{name}").attrs["location"] = place
        refs = [file[f"general/extracellular_ephys/{name}"].ref for name in ("g0", "g1", "g0")]
        file["units"].create_dataset("electrode_group", data=np.array(refs, dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)

    def by_electrode(file: h5py.File) -> None:
        file["general/extracellular_ephys/electrodes/location"] = [b"V1", b"LGN", b"SC", b"V1"]
        file["units/electrodes"] = np.array([1, 2, 0, 3])
        file["units/electrodes_index"] = np.array([2, 3, 4], np.uint8)

    found = read(nwb_file(change=by_group))
    assert found.unit_columns["electrode_group"].tolist() == ["g0", "g1", "g0"]
    assert found.unit_columns["location"].tolist() == ["CA1", "CA3", "CA1"]
    assert read(nwb_file(change=by_electrode, name="b.nwb")).unit_columns["location"].tolist() == ["LGN", "V1", "V1"]


def test_a_reference_to_nothing_costs_a_column_not_the_recording(nwb_file: Build) -> None:
    def dangle(file: h5py.File) -> None:
        group = file.create_group("gone")
        file["units"].create_dataset("electrode_group", (3,), h5py.ref_dtype)[0] = group.ref
        del file["gone"]

    found = read(nwb_file(change=dangle))
    assert found.n_units == 3
    assert "electrode_group" not in found.unit_columns or not any(found.unit_columns["electrode_group"])


# -- when was the recording on ------------------------------------------------------------------------------------


def test_gaps_are_kept(nwb_file: Build) -> None:
    obs = [[[0, 28.8], [30, 58.8]]] * 2
    found = read(nwb_file([[1.0, 40.0], [2.0, 58.0]], obs=obs))
    assert found.intervals_s.tolist() == [[0, 28.8], [30, 58.8]]
    assert found.duration_s == pytest.approx(57.6)


def test_intervals_may_overlap_or_stand_in_any_order(nwb_file: Build) -> None:
    found = read(nwb_file([[1.0, 40.0]] * 2, obs=[[[30, 60], [0, 20], [10, 25]]] * 2))
    assert found.intervals_s.tolist() == [[0, 25], [30, 60]]


def test_units_seen_at_different_times_are_cut_to_what_is_common(nwb_file: Build) -> None:
    obs = [[[0, 60]], [[10, 50]], [[0, 45], [46, 60]]]
    found = read(nwb_file([[1.0, 20.0, 59.0], [12.0, 49.0], [2.0, 44.0, 47.0]], obs=obs), observed="common")
    assert found.intervals_s.tolist() == [[10, 45], [46, 50]]
    assert [found[unit].tolist() for unit in found] == [[20.0], [12.0, 49.0], [44.0, 47.0]]
    (doubt,) = [w for w in found.warnings if "different times" in w]
    assert "only the 39 s common to all are used, 21 s (35 %) and 3 spikes are left out" in doubt
    assert "shortest is '1' (40 s)" in doubt


def test_units_seen_at_different_times_are_lost_in_between(nwb_file: Build) -> None:
    obs = [[[0, 60]], [[10, 50]], [[0, 45], [46, 60]]]
    found = read(nwb_file([[1.0, 20.0, 59.0], [12.0, 49.0], [2.0, 44.0, 47.0]], obs=obs))
    assert found.intervals_s.tolist() == [[0, 60]]
    assert {unit: rows.tolist() for unit, rows in found.lost_s.items()} == {"1": [[0, 10], [50, 60]], "2": [[45, 46]]}
    assert [found[unit].tolist() for unit in found] == [[1.0, 20.0, 59.0], [12.0, 49.0], [2.0, 44.0, 47.0]]
    assert found.observed_s.tolist() == [60, 40, 59]
    assert found.rate_hz.tolist() == pytest.approx([3 / 60, 2 / 40, 3 / 59])
    (doubt,) = [w for w in found.warnings if "different times" in w]
    assert "2 of 3 are lost for part of the 60 s" in doubt
    assert "'1' for most (33 %)" in doubt


def test_a_unit_without_intervals_follows_the_others(nwb_file: Build) -> None:
    found = read(nwb_file([[1.0, 20.0], [12.0]], obs=[[[0, 60]], []]))
    assert found.intervals_s.tolist() == [[0, 60]]
    assert any("1 of 2 units have no observed intervals ('1')" in w for w in found.warnings)


def test_intervals_that_are_nonsense_are_left_out(nwb_file: Build) -> None:
    found = read(nwb_file([[1.0, 20.0]] * 2, obs=[[[0, 60], [70, 65], [np.nan, 80]]] * 2))
    assert found.intervals_s.tolist() == [[0, 60]]
    assert "2 observed intervals do not run forward" in found.warnings[0]


def test_an_open_end_is_taken_from_the_spikes(nwb_file: Build) -> None:
    found = read(nwb_file([[1.0, 20.0]] * 2, obs=[[[0, np.inf]]] * 2))
    assert found.t_start_s == 0
    assert found.t_stop_s == np.nextafter(20.0, np.inf)


def test_the_user_knows_better(nwb_file: Build) -> None:
    path = nwb_file([[1.0, 20.0]] * 2, obs=[[[0, 30], [40, 60]]] * 2)
    assert read(path, t_start_s=-1, t_stop_s=62).intervals_s.tolist() == [[-1, 30], [40, 62]]
    assert read(path, t_stop_s=25).intervals_s.tolist() == [[0, 25]]
    without = nwb_file([[1.0, 20.0]] * 2, name="b.nwb")
    found = read(without, t_start_s=0, t_stop_s=30)
    assert found.intervals_s.tolist() == [[0, 30]]
    assert not any("taken from the spikes" in w for w in found.warnings)
    assert "its end is taken from the spikes" in read(without, t_start_s=0).warnings[0]


def test_the_last_spike_may_stand_on_the_end(nwb_file: Build) -> None:
    assert read(nwb_file([[1.0, 20.0]] * 2, obs=[[[1, 20]]] * 2)).n_spikes == 4


def test_invalid_times_are_cut_out(nwb_file: Build) -> None:
    def mark(file: h5py.File) -> None:
        file["intervals/invalid_times/start_time"] = [10.0, 55.0]
        file["intervals/invalid_times/stop_time"] = [20.0, 70.0]

    found = read(nwb_file([[1.0, 15.0, 30.0]] * 2, obs=[[[0, 60]]] * 2, change=mark))
    assert found.intervals_s.tolist() == [[0, 10], [20, 55]]
    assert found["0"].tolist() == [1.0, 30.0]
    assert "15 s are marked invalid in the file (2 intervals)" in found.warnings[0]
    assert "invalid_times" not in found.epochs


# -- epochs --------------------------------------------------------------------------------------------------------


def test_epochs_trials_and_tables(nwb_file: Build) -> None:
    def add(file: h5py.File) -> None:
        intervals = file.create_group("intervals")
        for name, start in (
            ("epochs", [0.0, 20.0, 40.0]),
            ("trials", [1.0, 21.0, 41.0]),
            ("states", [0.0, 20.0, 40.0]),
        ):
            table = intervals.create_group(name)
            table.attrs["neurodata_type"] = "TimeIntervals"
            table["start_time"] = start
            table["stop_time"] = np.array(start) + 10
        intervals["epochs/tags"] = [b"run", b"long", b"rest", b"run"]
        intervals["epochs/tags_index"] = np.array([2, 3, 4], np.uint8)
        intervals["states/label"] = [b"REM", b"NREM", b"REM"]
        file.move("intervals/states", "processing/behavior/states")

    epochs = {key: rows.tolist() for key, rows in read(nwb_file(change=add)).epochs.items()}
    assert epochs == {
        "run": [[0, 10], [40, 50]],
        "long": [[0, 10]],
        "rest": [[20, 30]],
        "trials": [[1, 11], [21, 31], [41, 51]],
        "states": [[0, 10], [20, 30], [40, 50]],
        "states/REM": [[0, 10], [40, 50]],
        "states/NREM": [[20, 30]],
    }


def test_a_table_that_is_broken_costs_a_warning(nwb_file: Build) -> None:
    def add(file: h5py.File) -> None:
        file["intervals/trials/start_time"] = [1.0, 2.0]
        file["intervals/trials/stop_time"] = [1.5]
        file["intervals/epochs/start_time"] = [1.0, 5.0, np.nan]
        file["intervals/epochs/stop_time"] = [2.0, 4.0, 6.0]

    found = read(nwb_file(change=add))
    assert {key: rows.tolist() for key, rows in found.epochs.items()} == {"epochs": [[1, 2]]}
    assert any("/intervals/trials were not read" in w and "2 starts and 1 stops" in w for w in found.warnings)
    assert any("2 epochs or trials do not run forward" in w for w in found.warnings)


def test_epochs_far_from_the_recording_are_doubted(nwb_file: Build) -> None:
    def add(file: h5py.File) -> None:
        file["intervals/epochs/start_time"] = [1e6]
        file["intervals/epochs/stop_time"] = [2e6]

    assert any("the epoch 'epochs' lies wholly outside" in w for w in read(nwb_file(change=add)).warnings)


# -- other writers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["processing/ecephys/units", "acquisition/sorted", "scratch/units"])
def test_units_in_other_places(nwb_file: Build, where: str) -> None:
    assert read(nwb_file(where=where)).n_units == 3


def test_a_table_of_ones_choice(nwb_file: Build) -> None:
    nwb_file()
    path = nwb_file([[1.0, 2.0]], where="scratch/other")
    assert read(path).n_units == 3
    assert read(path, units_table="scratch/other").n_units == 1
    with pytest.raises(UsageError, match="no units table at 'scratch/none'"):
        read(path, units_table="scratch/none")


def test_region_references_of_the_first_version_2_files(nwb_file: Build, trains: list[np.ndarray]) -> None:
    def rewrite(file: h5py.File) -> None:
        times = file["units/spike_times"]
        refs = np.array([times.regionref[80 * k : 80 * (k + 1)] for k in range(3)], dtype=h5py.regionref_dtype)
        del file["units/spike_times_index"]
        file["units"].create_dataset("spike_times_index", data=refs, dtype=h5py.regionref_dtype)

    found = read(nwb_file(trains, change=rewrite))
    assert found["2"].tobytes() == trains[2].tobytes()


def test_version_1_keeps_times_per_cell(tmp_path: Path, trains: list[np.ndarray]) -> None:
    path = tmp_path / "old.nwb"
    with h5py.File(path, "w") as file:
        file["nwb_version"] = b"NWB-1.0.6"
        for k, train in enumerate(trains):
            file[f"processing/shank_0/UnitTimes/cell_{k}/times"] = train
            file[f"processing/shank_0/UnitTimes/cell_{k}/source"] = b"kilosort"
        file["processing/shank_0/UnitTimes/cell_list"] = [b"cell_0", b"cell_1", b"cell_2"]
    found = read(path)
    assert found.unit_ids == ("cell_0", "cell_1", "cell_2")
    assert found["cell_1"].tobytes() == trains[1].tobytes()
    assert found.unit_columns["source"].tolist() == ["kilosort"] * 3


def test_times_stored_in_single_precision_are_doubted(nwb_file: Build, trains: list[np.ndarray]) -> None:
    def shrink(file: h5py.File) -> None:
        times = file["units/spike_times"][()] + 4397
        del file["units/spike_times"]
        file["units/spike_times"] = times.astype(np.float32)

    found = read(nwb_file(trains, change=shrink))
    assert any("stored as float32" in w and "rounded to 0.53 ms" in w for w in found.warnings)


@pytest.mark.parametrize("keep_intervals_in_seconds", [True, False])
def test_milliseconds_against_the_rules(
    nwb_file: Build, trains: list[np.ndarray], keep_intervals_in_seconds: bool
) -> None:
    scale = 1 if keep_intervals_in_seconds else 1000
    found = read(nwb_file([1000 * t for t in trains], obs=[[[0, 62 * scale]]] * 3), time_unit="ms")
    assert found.intervals_s.tolist() == [[0, 62]]
    assert np.allclose(found["0"], trains[0], rtol=0, atol=1e-12)


def test_what_pynwb_writes(tmp_path: Path, trains: list[np.ndarray]) -> None:
    import pynwb

    file = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=datetime(2020, 1, 1, tzinfo=UTC))
    file.add_unit_column("quality", "how good")
    device = file.create_device("probe")
    group = file.create_electrode_group("shank", description="x", location="CA1", device=device)
    for k, train in enumerate(trains):
        file.add_unit(
            spike_times=train, obs_intervals=[[0.0, 30.0], [31.0, 70.0]] if k == 0 else [[0.0, 70.0]], id=10 * k,
            quality="good" if k else "mua", electrode_group=group,
        )  # fmt: skip
    file.add_trial(start_time=1.0, stop_time=2.0)
    file.add_epoch(0.0, 35.0, ["rest"])
    path = tmp_path / "real.nwb"
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    found = read(path, clip=True)
    assert found.unit_ids == ("0", "10", "20")
    assert found["0"].tobytes() == np.array([t for t in trains[0] if not 30 < t < 31]).tobytes()
    assert found["10"].tobytes() == trains[1].tobytes()  # it was observed all the time
    assert found.lost_s["0"].tolist() == [[30, 31]]
    assert found.intervals_s.tolist() == [[0, 70]]
    assert found.unit_columns["location"].tolist() == ["CA1"] * 3
    assert sorted(found.epochs) == ["rest", "trials"]
