"""A recording written clean and read back is the same recording."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikefit.config import Config
from spikefit.converting import convert
from spikefit.covariates import Covariate, Samples
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
    covariates = {}
    for name in draw(
        st.lists(NAMES.filter(as_named) | st.sampled_from(["position", "Position/place", "t"]), max_size=3, unique=True)
    ):
        shape = (draw(st.integers(2, 9)), draw(st.integers(1, 4)))
        rate_hz = draw(st.sampled_from([None, 30.0, 7.3]))
        time_s = start + (np.sort(rng.uniform(0, 20, shape[0])) if rate_hz is None else np.arange(shape[0]) / rate_hz)
        values = np.where(rng.random(shape) < 0.1, np.nan, rng.normal(size=shape))
        covariates[name] = Covariate(
            name, shape[0], tuple(f"c{k}" for k in range(shape[1])), draw(st.sampled_from(["m", ""])),
            partial(Samples, time_s, values), "what it is", time_s[0], time_s[-1], rate_hz,
        )  # fmt: skip
    session = {"session_start_time": "2020-07-11T10:30:00+02:00", "subject_id": "A 1"}
    made = SpikeTrains.from_trains(
        trains, intervals_s=intervals, unit_columns=columns, epochs=epochs, session=session, name="x"
    )
    return replace(made, covariates=covariates)


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
    assert len(found.covariates) == len(expected.covariates)
    for there, here in zip(
        sorted(found.covariates.values(), key=lambda c: str(c.values)),
        sorted(expected.covariates.values(), key=lambda c: str(c.values)),
        strict=True,
    ):
        np.testing.assert_array_equal(there.values, here.values, strict=True)
        np.testing.assert_allclose(there.time_s, here.time_s, rtol=0, atol=1e-9)
        assert (there.unit, there.rate_hz) == (here.unit, here.rate_hz)
        clean = here.name.replace("/", "_").replace(":", "_")
        assert there.name in (clean, clean + "_", clean + "__")


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(trains=recordings())
def test_round_trip(kind, trains):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{kind}"
        WRITERS[kind](trains, path)
        found = read(path)
        assert_same_recording(found, trains)  # covariates are read when they are asked for
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
    monkeypatch.setattr("spikefit.files.flush", lambda _: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
    with pytest.raises(SpikefitError, match="disk is full"):
        convert(source, out, Config(), overwrite=True)
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nwb", "raw.h5"]


def test_names_that_hdf5_takes_for_paths_are_refused(tmp_path):
    trains = SpikeTrains.from_trains({"u": [1.0]}, epochs={"trials/left": [[0.0, 1.0]]})
    with pytest.raises(UsageError, match="'trials/left' cannot be named so"):
        recording_h5.write(trains, tmp_path / "x.h5")


def with_covariates(path: Path) -> Path:
    """A recording with trials, epochs and series of every kind beside the spikes."""
    rng = np.random.default_rng(5)
    with h5py.File(path, "w") as file:
        for k in range(3):
            file[f"spike_times/u{k}"] = np.sort(rng.uniform(0, 100, 200))
        file["intervals"] = [[0.0, 40.0], [50.0, 100.0]]
        file["epochs/trials"] = [[1.0, 2.0], [3.0, 4.0]]
        file["epochs/run"] = [[0.0, 20.0]]
        file["covariates/place/values"] = rng.normal(size=(50, 2))
        file["covariates/place/values"].attrs["unit"] = "cm"
        file["covariates/place/time_s"] = np.sort(rng.uniform(0, 100, 50))
        file["covariates/speed"] = rng.normal(size=300)
        file["covariates/speed"].attrs.update(rate_hz=3.0, t_start_s=0.5, unit="cm/s")
        file["covariates/broken"] = rng.normal(size=4)
        for k, name in enumerate(("lost", "late")):
            file[f"covariates/{name}/values"] = np.arange(3.0)
            file[f"covariates/{name}/time_s"] = [[0.0, np.nan, 2.0], [0.0, 2.0, 1.0]][k]
        for row in range(3):
            del file[f"spike_times/u{row}"]
            times = np.sort(rng.uniform(0, 100, 200))
            file[f"spike_times/u{row}"] = times[(times < 40) | (times > 50)]
    return path


@pytest.mark.parametrize("ending", ["nwb", "h5"])
def test_covariates_trials_and_epochs_are_converted(tmp_path, ending):
    source, out = with_covariates(tmp_path / "raw.h5"), tmp_path / f"clean.{ending}"
    made = convert(source, out, Config().replace(interval=["10:90"]))
    assert made["covariates"] == ["place", "speed"]
    told = "\n".join(made["warnings"])
    assert "/covariates/broken has no times and no rate" in told
    assert "the covariate 'lost' was left out" in told
    assert "the covariate 'late' was left out" in told
    found, whole = read(out), read(source)
    assert list(found.covariates) == ["place", "speed"]
    for name in found.covariates:
        np.testing.assert_array_equal(found.covariates[name].values, whole.covariates[name].values)
        np.testing.assert_array_equal(found.covariates[name].time_s, whole.covariates[name].time_s)
    assert {name: rows.tolist() for name, rows in found.epochs.items()} == {
        name: rows.tolist() for name, rows in whole.epochs.items()
    }
    assert found.intervals_s.tolist() == [[10, 40], [50, 90]]
    if ending == "nwb":
        from pynwb import NWBHDF5IO, validate

        assert validate(path=str(out)) == []
        with NWBHDF5IO(str(out), "r") as io:
            file = io.read()
            assert file.trials["start_time"][:].tolist() == [1.0, 3.0]
            assert file.processing["behavior"]["place"].unit == "cm"


def findings(path: Path) -> list[str]:
    inspector = pytest.importorskip("nwbinspector")
    found = list(inspector.inspect_nwbfile(nwbfile_path=str(path)))
    return [message.message for message in found if message.importance.name in ("CRITICAL", "ERROR")]


@pytest.mark.parametrize("name", ["mouse_hd_a2929", "rat_hpc_tetrode", "rat_lineartrack", "made"])
def test_nwbinspector_finds_nothing_critical(tmp_path, recordings, name):
    pytest.importorskip("nwbinspector")
    source = with_covariates(tmp_path / "raw.h5") if name == "made" else recordings / f"{name}.nwb"
    out = tmp_path / "x.nwb"
    convert(source, out, Config())
    assert findings(out) == []


@pytest.mark.parametrize("name", ["mouse_hd_a2929", "rat_hpc_tetrode", "rat_lineartrack"])
def test_the_three_recordings_convert_to_valid_files(tmp_path, recordings, name):
    from pynwb import validate

    out = tmp_path / "x.nwb"
    convert(recordings / f"{name}.nwb", out, Config())
    assert validate(path=str(out)) == []
    assert_same_recording(read(out), read(recordings / f"{name}.nwb"))
