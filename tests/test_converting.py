"""A recording written clean and read back is the same recording."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikefit.config import Config
from spikefit.converting import convert
from spikefit.errors import RecordingError, SpikefitError, UsageError
from spikefit.exporters import recording_h5, recording_nwb
from spikefit.loaders import read
from spikefit.spikes import SpikeTrains

WRITERS = {"nwb": recording_nwb.write, "h5": recording_h5.write}
NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=8)


def as_named(name: str) -> bool:
    return name == name.strip() and name not in (".", "..")


@st.composite
def recordings(draw):
    ids = draw(st.lists(NAMES.filter(as_named), min_size=1, max_size=5, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    start = draw(st.sampled_from([-3.0, 0.0, 4397.25]))
    intervals = start + np.array([[0.0, 10.0], [12.5, 20.0]])[: draw(st.integers(1, 2))]
    trains = {}
    for k, unit in enumerate(ids):
        times = start + np.sort(rng.uniform(0, 20, draw(st.integers(0, 30)) + (k == 0)))
        inside = np.zeros(times.size, dtype=bool)
        for a, b in intervals:
            inside |= (times >= a) & (times < b)
        trains[unit] = times[inside]
    if not sum(map(len, trains.values())):
        trains[ids[0]] = intervals[:, 0].copy()
    n = len(ids)
    columns = {
        "depth_um": rng.normal(size=n),
        "channel": rng.integers(0, 9, n),
        "region": np.array(["CA1, left", "ü", "", "x", "y"][:n], dtype=object),
    }
    epochs = {draw(NAMES.filter(as_named)): intervals[:1] + 0.5, "trials": intervals}
    session = {"session_start_time": "2020-07-11T10:30:00+02:00", "subject_id": "A 1"}
    return SpikeTrains.from_trains(
        trains, intervals_s=intervals, unit_columns=columns, epochs=epochs, session=session, name="x"
    )


def assert_same_recording(found: SpikeTrains, expected: SpikeTrains) -> None:
    assert found.unit_ids == expected.unit_ids
    np.testing.assert_array_equal(found.spike_times_s, expected.spike_times_s, strict=True)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.intervals_s, expected.intervals_s)
    assert set(found.epochs) == set(expected.epochs)
    for name, rows in expected.epochs.items():
        np.testing.assert_array_equal(found.epochs[name], rows)
    for name, values in expected.unit_columns.items():
        assert found.unit_columns[name].tolist() == values.tolist(), name


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(trains=recordings())
def test_round_trip(kind, trains):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{kind}"
        WRITERS[kind](trains, path)
        found = read(path)
    assert_same_recording(found, trains)
    if kind == "nwb":
        assert found.session["session_start_time"] == "2020-07-11T10:30:00+02:00"
        assert found.session["subject_id"] == "A 1"


def test_the_check_sees_a_spike_that_moved():
    a = SpikeTrains.from_trains({"u": [1.0, 2.0]}, t_start_s=0, t_stop_s=5)
    b = SpikeTrains.from_trains({"u": [1.0, np.nextafter(2.0, 3)]}, t_start_s=0, t_stop_s=5)
    assert_same_recording(a, a)
    with pytest.raises(AssertionError):
        assert_same_recording(b, a)


def test_nwb_is_valid_and_columns_with_reserved_names_stay(tmp_path):
    from pynwb import NWBHDF5IO, validate

    columns = {
        "electrode_group": np.array(["shank", "b"], dtype=object),
        "waveform_mean": np.array([1.0, 2.0]),
        "good": np.array([True, False]),
        "pair": np.ones((2, 2)),
    }
    trains = SpikeTrains.from_trains({"a": [1.0, 2.0], "b": []}, t_start_s=0, t_stop_s=5, unit_columns=columns)
    path = tmp_path / "x.nwb"
    recording_nwb.write(trains, path)
    assert validate(path=str(path)) == []
    with NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        assert units["unit_electrode_group"][:].tolist() == ["shank", "b"]
        assert units["unit_waveform_mean"][:].tolist() == [1.0, 2.0]
        assert units["good"][:].tolist() == [True, False]
        np.testing.assert_array_equal(units["obs_intervals"][1], [[0, 5]])
        assert "pair" not in units.colnames


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "raw.h5"
    rng = np.random.default_rng(2)
    with h5py.File(path, "w") as file:
        for k, n in enumerate((300, 40, 3)):
            file[f"spike_times/u{k}"] = np.sort(rng.uniform(0, 100, n))
    return path


@pytest.mark.parametrize("ending", ["nwb", "h5"])
def test_what_is_written_is_what_a_fit_would_use(source, tmp_path, ending):
    before = (source.read_bytes(), source.stat().st_mtime_ns)
    config = Config().replace(min_spikes=5, interval=["10:50"])
    out = tmp_path / "deep" / f"clean.{ending}"
    made = convert(source, out, config)
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert [row["id"] for row in made["left_out"]] == ["u2"]
    found, whole = read(out), read(source)
    assert found.unit_ids == ("u0", "u1")
    np.testing.assert_array_equal(found.intervals_s, [[10, 50]])
    for unit in found:
        np.testing.assert_array_equal(found[unit], whole[unit][(whole[unit] >= 10) & (whole[unit] < 50)])
    assert found.warnings == tuple(text for text in found.warnings if "observed" not in text)
    assert made["n_spikes"] == found.n_spikes


def test_what_cannot_be_converted(source, tmp_path, monkeypatch):
    out = tmp_path / "a.nwb"
    for place, words in (
        (tmp_path / "a.mat", r"expected a name that ends in \.nwb"),
        (source, "is the recording itself"),
        (source / "a.nwb", "a part of this path is a file"),
    ):
        with pytest.raises(UsageError, match=words):
            convert(source, place, Config(), overwrite=True)
    with pytest.raises(RecordingError, match="0 of 3 units"):
        convert(source, out, Config().replace(min_spikes=1000))
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(UsageError, match="left as it is"):
        convert(source, out, Config())
    monkeypatch.setattr("spikefit.files._fsync", lambda _: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
    with pytest.raises(SpikefitError, match="disk is full"):
        convert(source, out, Config(), overwrite=True)
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nwb", "raw.h5"]


def test_names_that_hdf5_takes_for_paths_are_refused(tmp_path):
    trains = SpikeTrains.from_trains({"u": [1.0]}, epochs={"trials/left": [[0.0, 1.0]]})
    with pytest.raises(UsageError, match="'trials/left' cannot be named so"):
        recording_h5.write(trains, tmp_path / "x.h5")


def test_nwbinspector_finds_nothing_critical(tmp_path):
    inspector = pytest.importorskip("nwbinspector")
    trains = SpikeTrains.from_trains(
        {"a": [1.25, 2.5], "b": [0.5]}, t_start_s=0, t_stop_s=5, epochs={"run": [[0.0, 2.0]]}
    )
    path = tmp_path / "x.nwb"
    recording_nwb.write(trains, path)
    found = list(inspector.inspect_nwbfile(nwbfile_path=str(path)))
    assert [message.message for message in found if message.importance.name in ("CRITICAL", "ERROR")] == []
