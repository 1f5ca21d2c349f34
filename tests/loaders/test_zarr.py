"""NWB in Zarr folders: the same recording as in HDF5, nothing unpickled, nothing silently filled with zeros."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefit.errors import RecordingError
from spikefit.loaders import read, recognise

TRAINS = {f"u{k}": np.sort(np.random.default_rng(k).uniform(1, 59, 60 + k)) for k in range(3)}


def save(group: Any, path: str, values: Any, **more: Any) -> Any:
    data = np.asarray(values)
    return group.create_array(path, data=data, **more)


def make(folder: Path, version: int) -> Path:
    """A folder as `hdmf_zarr` lays it out, with the numbers in several pieces."""
    zarr = pytest.importorskip("zarr", minversion="3")
    root = zarr.open_group(str(folder), mode="w", zarr_format=version)
    root.attrs.update(nwb_version="2.7.0", neurodata_type="NWBFile", namespace="core")
    units = root.create_group("units")
    units.attrs.update(neurodata_type="Units", colnames=["spike_times", "obs_intervals", "depth"])
    save(units, "id", np.arange(3))
    save(units, "spike_times", np.concatenate(list(TRAINS.values())), chunks=(50,))
    save(units, "spike_times_index", np.cumsum([t.size for t in TRAINS.values()]).astype(np.uint16))
    save(units, "obs_intervals", [[0.0, 60.0]] * 3)
    save(units, "obs_intervals_index", [1, 2, 3])
    save(units, "depth", [0.0, 20.0, 40.0])
    save(units, "waveforms", np.zeros((4, 8)))
    root.create_group("intervals").create_group("trials")
    save(root, "intervals/trials/start_time", [1.0, 5.0])
    save(root, "intervals/trials/stop_time", [2.0, 6.0])
    behaviour = root.create_group("processing").create_group("behavior")
    place = behaviour.create_group("place")
    place.attrs["neurodata_type"] = "SpatialSeries"
    save(place, "data", np.arange(40.0).reshape(20, 2))
    save(place, "timestamps", np.arange(20) * 3.0)
    speed = behaviour.create_group("speed")
    link = {"name": "timestamps", "source": ".", "path": "/processing/behavior/place/timestamps"}
    speed.attrs.update(neurodata_type="TimeSeries", zarr_link=[link, {**link, "name": "video", "source": "../other"}])
    save(speed, "data", np.arange(20.0))
    if version == 2:
        write_texts(folder / "units" / "unit_name", list(TRAINS))
    return folder


def write_texts(folder: Path, texts: list[str]) -> None:
    """As zarr 2 wrote texts, byte for byte; zarr 3 cannot open these."""
    folder.mkdir()
    content = len(texts).to_bytes(4, "little")
    for text in texts:
        content += len(text.encode()).to_bytes(4, "little") + text.encode()
    (folder / "0").write_bytes(content)
    known = {
        "chunks": [len(texts)], "compressor": None, "dtype": "|O", "fill_value": 0, "filters": [{"id": "vlen-utf8"}], "order": "C",
        "shape": [len(texts)], "zarr_format": 2,
    }  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(known))


@pytest.mark.parametrize("version", [2, 3])
def test_a_folder_of_either_version(tmp_path: Path, version: int) -> None:
    path = make(tmp_path / "session.nwb.zarr", version)
    found = read(path)
    assert found.format == recognise(path) == "nwb-zarr"
    assert found.unit_ids == (tuple(TRAINS) if version == 2 else ("0", "1", "2"))
    for unit, train in zip(found, TRAINS.values(), strict=True):
        np.testing.assert_array_equal(found[unit], train)
    assert found.intervals_s.tolist() == [[0, 60]]
    assert found.epochs["trials"].tolist() == [[1, 2], [5, 6]]
    assert found.unit_columns["depth"].tolist() == [0, 20, 40]
    assert sorted(found.covariates) == ["place", "speed"]
    assert found.covariates["speed"].time_s.tolist() == (np.arange(20) * 3.0).tolist()
    assert found.covariates["place"].values.tolist() == np.arange(40.0).reshape(20, 2).tolist()


def test_pickles_are_left_alone(tmp_path: Path) -> None:
    path, ran = make(tmp_path / "session.nwb.zarr", 2), tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    trapped = path / "units" / "electrode_group"
    write_texts(trapped, ["a", "b", "c"])
    known = json.loads((trapped / ".zarray").read_text()) | {"filters": [{"id": "pickle", "protocol": 5}]}
    (trapped / ".zarray").write_text(json.dumps(known))
    (trapped / "0").write_bytes(pickle.dumps(np.array([Trap()] * 3, dtype=object)))
    found = read(path)
    assert any("electrode_group (stored as pickle, which may run code)" in text for text in found.warnings)
    # Metadata gathered in one place may say something else than those beside the array; they are not asked.
    gathered = {".zgroup": {"zarr_format": 2}, "units/spike_times/.zarray": known}
    (path / ".zmetadata").write_text(json.dumps({"metadata": gathered, "zarr_consolidated_format": 1}))
    assert read(path).n_spikes == found.n_spikes
    times = path / "units" / "spike_times" / ".zarray"
    times.write_text(json.dumps(json.loads(times.read_text()) | {"filters": [{"id": "pickle"}]}))
    with pytest.raises(RecordingError, match=r"/units/spike_times cannot be read \(stored as pickle"):
        read(path)
    assert not ran.exists()


def test_missing_and_damaged_pieces(tmp_path: Path) -> None:
    path = make(tmp_path / "session.nwb.zarr", 2)
    piece = path / "units" / "spike_times" / "1"
    content = piece.read_bytes()
    piece.unlink()
    with pytest.raises(RecordingError, match="1 of 4 pieces of /units/spike_times are missing"):
        read(path)
    piece.write_bytes(content[:20])
    with pytest.raises(RecordingError, match="cannot be read"):
        read(path)
    piece.write_bytes(content)
    times = path / "units" / "spike_times" / ".zarray"
    whole = json.loads(times.read_text())
    for change, words in (
        ({"shape": [10**12]}, "in too many pieces"),
        ({"shape": [10**12], "chunks": [10**12]}, "8 TB"),
    ):
        times.write_text(json.dumps(whole | change))
        with pytest.raises(RecordingError, match=words):
            read(path)
    times.write_text(json.dumps(whole))
    names = path / "units" / "unit_name" / "0"
    texts = names.read_bytes()
    for claimed in (b"\xff\xff\xff\x7f", b"\x01\0\0\0"):  # the codec itself would make room for 2e9 texts
        names.write_bytes(claimed + texts[4:] if claimed[1] == 0 else texts[:4] + claimed + texts[8:])
        with pytest.raises(RecordingError, match="cannot be read"):
            read(path)
    names.write_bytes(b"\xff\xff\xff\x7f" + texts[4:])
    assert read(path).unit_ids == tuple(TRAINS)
    times.write_text("{")
    with pytest.raises(RecordingError, match="cannot be read"):
        read(path)


def test_a_folder_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.nwb.zarr"
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text('{"nwb_version": "2.7.0"}')
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(RecordingError, match="reading a Zarr folder needs zarr") as caught:
        read(path)
    assert "spikefit[zarr]" in str(caught.value.hint)


def test_what_hdmf_zarr_writes(tmp_path: Path) -> None:
    hdmf_zarr = pytest.importorskip("hdmf_zarr")
    import datetime

    from pynwb import NWBFile

    file = NWBFile("x", "y", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), session_id="s1")
    group = file.create_electrode_group("shank0", "d", "CA1", file.create_device("probe"))
    file.add_electrode(location="CA1", group=group)
    file.add_unit_column("quality", "how good")
    for k, train in enumerate(TRAINS.values()):
        file.add_unit(
            spike_times=train,
            obs_intervals=[[0.0, 60.0]],
            quality="good" if k else "mua",
            electrodes=[0],
            electrode_group=group,
        )
    file.add_epoch(0.0, 20.0, ["run"])
    path = tmp_path / "session.nwb.zarr"
    with hdmf_zarr.NWBZarrIO(str(path), mode="w") as io:
        io.write(file)
    found = read(path)
    for unit, train in zip(found, TRAINS.values(), strict=True):
        np.testing.assert_array_equal(found[unit], train)
    assert found.unit_columns["quality"].tolist() == ["mua", "good", "good"]
    assert found.unit_columns["location"].tolist() == ["CA1"] * 3
    assert found.epochs["run"].tolist() == [[0, 20]]
    assert found.session["session_id"] == "s1"
