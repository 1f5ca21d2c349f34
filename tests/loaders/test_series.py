"""Covariates found in files of each kind, told without being read, and refused where they are none."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefit.config import ChecksConfig
from spikefit.errors import RecordingError, UsageError
from spikefit.loaders import read

Build = Callable[..., Path]
TIME_S = 0.5 + np.arange(600) * 0.1


def add_series(
    file: h5py.File, path: str, data: Any, *, unit: str = "m", kind: str = "SpatialSeries", **clock: Any
) -> None:
    group = file.create_group(path)
    group.attrs.update(neurodata_type=kind, description="what it is")
    group["data"] = data
    group["data"].attrs["unit"] = unit
    if "rate" in clock:
        group["starting_time"] = clock.get("start", 0.0)
        group["starting_time"].attrs["rate"] = clock["rate"]
    elif "times" in clock:
        group["timestamps"] = clock["times"]


def behaviour(file: h5py.File) -> None:
    add_series(file, "processing/behavior/Position/SpatialSeries", np.stack([TIME_S, -TIME_S], axis=1), times=TIME_S)
    file["processing/behavior/Position/SpatialSeries/data"].attrs.update(conversion=0.01, offset=1.0)
    add_series(
        file,
        "processing/behavior/CompassDirection/head_direction",
        np.sin(TIME_S),
        unit="radians",
        rate=10.0,
        start=0.5,
    )
    file["processing/behavior/CompassDirection/speed_like/data"] = np.arange(600)
    file["processing/behavior/CompassDirection/speed_like/timestamps"] = h5py.SoftLink(
        "/processing/behavior/Position/SpatialSeries/timestamps"
    )
    add_series(file, "acquisition/lfp", np.zeros((100, 65), np.int16), kind="ElectricalSeries", rate=1250.0)
    add_series(file, "acquisition/long", np.zeros(40_000, np.int16), rate=1250.0)
    add_series(file, "acquisition/notes", np.array([b"a", b"b"]), kind="AnnotationSeries", times=[0.0, 1.0])
    add_series(file, "acquisition/short", np.zeros(5), times=[0.0, 1.0])
    add_series(file, "acquisition/timeless", np.zeros(5))
    add_series(file, "acquisition/stopped", np.zeros(5), rate=0.0)
    file["acquisition/away"] = h5py.ExternalLink("other.nwb", "/x")


def test_nwb(nwb_file: Build) -> None:
    found = read(nwb_file(change=behaviour), checks=ChecksConfig(max_covariate_bytes=100_000)).covariates
    assert set(found) == {"Position", "head_direction", "speed_like"}
    place, direction, shared = found["Position"], found["head_direction"], found["speed_like"]
    assert (place.shape, place.columns, place.unit) == ((600, 2), ("x", "y"), "m")
    assert (place.description, place.rate_hz) == ("what it is", None)
    assert (place.start_s, place.stop_s) == (0.5, TIME_S[-1])
    np.testing.assert_array_equal(place.values[:, 0], TIME_S * 0.01 + 1.0)
    np.testing.assert_array_equal(place.time_s, TIME_S)
    assert direction.is_angle
    assert direction.rate_hz == 10
    np.testing.assert_allclose(direction.time_s, TIME_S)
    np.testing.assert_array_equal(shared.time_s, TIME_S)
    left_out = "\n".join(found.left_out)
    for words in (
        "/acquisition/lfp/data has 65 columns, more than 64",
        "/acquisition/long/data takes 320 kB (40,000 samples × 1), more than the limit of 100 kB",
        "/acquisition/notes/data holds no numbers",
        "has 5 samples, and its times /acquisition/short/timestamps the shape (2,)",
        "/acquisition/timeless/data has no times and no rate",
        "/acquisition/stopped/data was taken at 0.0 Hz",
        "/acquisition/away is a link into another file",
    ):
        assert words in left_out
    assert len(found.left_out) == 7


def test_series_of_one_name_are_told_apart(nwb_file: Build) -> None:
    def change(file: h5py.File) -> None:
        for place in ("processing/a/left/pupil", "processing/a/right/pupil", "processing/b/left/pupil"):
            add_series(file, place, np.zeros(5), rate=1.0)

    found = read(nwb_file(change=change)).covariates
    assert set(found) == {"processing/a/left/pupil", "right/pupil", "processing/b/left/pupil"}


def test_what_pynwb_writes(tmp_path: Path, trains: list[np.ndarray]) -> None:
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.behavior import CompassDirection, Position, SpatialSeries

    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = NWBFile("made up", "id", start)
    for train in trains:
        file.add_unit(spike_times=train)
    module = file.create_processing_module("behavior", "what the animal did")
    place = SpatialSeries(
        name="SpatialSeries", data=np.stack([TIME_S, TIME_S**2], 1), timestamps=TIME_S, reference_frame="maze"
    )
    module.add(Position(spatial_series=place))
    angle = SpatialSeries(name="head", data=np.cos(TIME_S), timestamps=place, reference_frame="north", unit="radians")
    module.add(CompassDirection(spatial_series=angle))
    file.add_acquisition(TimeSeries(name="speed", data=TIME_S, unit="cm/s", rate=10.0, starting_time=0.5))
    with NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(file)
    found = read(tmp_path / "a.nwb").covariates
    assert set(found) == {"Position", "head", "speed"}
    np.testing.assert_array_equal(found["Position"].values[:, 1], TIME_S**2)
    np.testing.assert_array_equal(found["head"].time_s, TIME_S)
    assert found["head"].is_angle
    assert found["speed"].unit == "cm/s"
    counts = read(tmp_path / "a.nwb").bin(0.1)
    binned = found["speed"].at(counts)
    inside = np.isfinite(binned.values[:, 0])
    np.testing.assert_allclose(binned.values[inside, 0], counts.time_s[inside], atol=0.1)


@pytest.fixture
def spikes(trains: list[np.ndarray]) -> dict[str, Any]:
    return {f"spike_times/{k}": train for k, train in enumerate(trains)}


def test_hdf5_by_name(h5_file: Build, spikes: dict[str, Any]) -> None:
    path = h5_file(
        spikes
        | {"covariates/speed/values": TIME_S, "covariates/speed/time_s": TIME_S, "covariates/stim": np.zeros((50, 3))}
    )
    with h5py.File(path, "a") as file:
        file["covariates/stim"].attrs.update(rate_hz=20.0, t_start_s=3.0, unit="V")
        file["covariates/speed"].attrs["unit"] = "cm/s"
        file["covariates/broken"] = np.zeros(3)
    found = read(path).covariates
    assert set(found) == {"speed", "stim"}
    assert (found["speed"].unit, found["stim"].unit) == ("cm/s", "V")
    assert found["stim"].columns == ("x", "y", "z")
    assert found["stim"].time_s[[0, -1]].tolist() == [3.0, 3.0 + 49 / 20]
    assert "no times and no rate" in found.left_out[0]


@pytest.mark.parametrize("place", ["/a/b@/a/clock", "/a/b@10Hz+0.5s", "/a/b@0.01kHz+0.5"])
def test_hdf5_where_the_user_points(h5_file: Build, spikes: dict[str, Any], place: str) -> None:
    path = h5_file(spikes | {"a/b": TIME_S**2, "a/clock": TIME_S * 1000})
    with h5py.File(path, "a") as file:
        file["a/clock"].attrs["unit"] = "ms"
    found = read(path, covariates={"mine": place}).covariates["mine"]
    np.testing.assert_allclose(found.time_s, TIME_S)
    np.testing.assert_array_equal(found.values[:, 0], TIME_S**2)


@pytest.mark.parametrize(
    ("place", "error", "words"),
    [
        ("/nowhere", UsageError, "there is nothing at '/nowhere' for the covariate 'mine'"),
        ("/a", UsageError, "/a is a group without values"),
        ("/a/b", RecordingError, "has no times and no rate"),
        ("/a/b@/nowhere", RecordingError, "has no times at '/nowhere'"),
        ("/a/b@0Hz", RecordingError, "taken at 0.0 Hz"),
        ("/nowhere.csv", UsageError, "no such file of covariates"),
    ],
)
def test_where_the_user_points_at_none(
    h5_file: Build, spikes: dict[str, Any], place: str, error: Any, words: str
) -> None:
    path = h5_file(spikes | {"a/b": TIME_S})
    with pytest.raises(error, match=words.replace("(", r"\(")) as caught:
        len(read(path, covariates={"mine": place}).covariates)
    assert caught.value.hint


def test_dangers_are_closed_for_covariates_too(nwb_file: Build) -> None:
    def change(file: h5py.File) -> None:
        file.create_dataset("acquisition/raw/data", shape=(5,), dtype="f8", external=[("/etc/hostname", 0, 40)])
        file["acquisition/raw/starting_time"] = 0.0
        file["acquisition/raw/starting_time"].attrs["rate"] = 1.0
        file.create_dataset("acquisition/vast/data", shape=(10**12,), dtype="f8", chunks=(1000,))
        file["acquisition/vast/timestamps"] = [0.0]
        file["acquisition/round/data"] = h5py.SoftLink("/acquisition/round/data")

    found = read(nwb_file(change=change)).covariates
    assert set(found) == {"raw"}
    with pytest.raises(RecordingError, match="stored in another file"):
        found["raw"].values  # noqa: B018
    assert any("takes 8 TB" in line for line in found.left_out)
    assert any("round in circles" in line for line in found.left_out)


def test_tables_of_text(tmp_path: Path, nwb_file: Build) -> None:
    (tmp_path / "track.csv").write_text("# a comment\ntime (ms),x (cm),y (cm)\n0,1,2\n100,,n/a\n200,3,4\n")
    found = read(nwb_file(), covariates={"track": str(tmp_path / "track.csv")}).covariates["track"]
    assert (found.columns, found.unit, found.shape) == (("x", "y"), "cm", (3, 2))
    assert found.time_s.tolist() == [0.0, 0.1, 0.2]
    np.testing.assert_array_equal(found.values, [[1, 2], [np.nan, np.nan], [3, 4]])
    # Beside spikes that are themselves a table of text, too.
    (tmp_path / "spikes.csv").write_text("time,unit\n" + "".join(f"{t:.4f},{t % 2:.0f}\n" for t in TIME_S))
    trains = read(tmp_path / "spikes.csv", covariates={"track": str(tmp_path / "track.csv")})
    assert list(trains.covariates) == ["track"]
    with pytest.raises(UsageError, match=r"spikes\.csv is no HDF5 file"):
        len(read(tmp_path / "spikes.csv", covariates={"a": "/a"}).covariates)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no samples"),
        ("x,y\n1,2\n", "no column holds the times"),
        ("time_s,x\n1,2\n3\n", "line 3 has 1 columns, the heading has 2"),
        ("time_s,x\n1,fast\n", "line 2 has 'fast' in the column 'x'"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, nwb_file: Build, text: str, words: str) -> None:
    (tmp_path / "track.csv").write_text(text)
    with pytest.raises(RecordingError, match=words) as caught:
        len(read(nwb_file(), covariates={"track": str(tmp_path / "track.csv")}).covariates)
    assert caught.value.hint


def test_reading_spikes_does_not_look_for_covariates(nwb_file: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikefit.loaders import nwb_series

    monkeypatch.setattr(nwb_series, "find", lambda reader: pytest.fail("looked"))
    trains = read(nwb_file(change=behaviour))
    trains.restrict([[0, 20]]).select(["0", "1"]).bin(0.1)
