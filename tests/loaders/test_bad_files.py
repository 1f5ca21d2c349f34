"""Files that cannot be read: each gets one message that names the fault and the way on, with exit code 4."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefit.errors import SpikefitError, UsageError
from spikefit.loaders import read

Build = Callable[..., Path]


def refused(path: Path, *words: str, exit_code: int = 4, **options: Any) -> SpikefitError:
    """Read a file that must be refused in these words; gives the error for further looks."""
    with pytest.raises(SpikefitError) as caught:
        read(path, **options)
    error = caught.value
    print(f"{error.message}\n    try: {error.hint}")  # shown by `pytest -rP`, to be read as a user would
    assert error.exit_code == exit_code
    assert error.hint, "every refusal says what to do next"
    for word in words:
        assert word in str(error)
    return error


# -- the file itself -----------------------------------------------------------------------------------------------


def test_no_such_file_names_the_nearest(nwb_file: Build) -> None:
    path = nwb_file()
    refused(path.with_name("sesion.nwb"), "there is no such file", "did you mean 'session.nwb'?")
    refused(path.parent / "nowhere" / "session.nwb", "there is no folder")


def test_a_folder(nwb_file: Build) -> None:
    refused(nwb_file().parent, "this is a folder", "session.nwb")


def test_a_zarr_folder_and_an_address(tmp_path: Path) -> None:
    (tmp_path / "session.nwb.zarr").mkdir()
    (tmp_path / "session.nwb.zarr" / ".zgroup").write_text("{}")
    refused(tmp_path / "session.nwb.zarr", "a Zarr folder, but not NWB")
    refused(Path("https://dandiarchive.org/session.nwb"), "a path is no address", "pass the address as text")


def test_zero_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty.nwb"
    path.touch()
    refused(path, "the file is empty (0 bytes)")


@pytest.mark.parametrize("content", [b"not a recording\n", bytes(range(256)) * 40, b"\x89PNG\r\n\x1a\n" + b"0" * 100])
def test_not_a_recording(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.nwb"
    path.write_bytes(content)
    refused(path, "session.nwb", "the recording")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    for name in ("session.pkl", "session.nwb", "session.pickle"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        refused(tmp_path / name, "Python pickle")
    assert not ran.exists()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
def test_cut_short(nwb_file: Build, share: float) -> None:
    path = nwb_file()
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "cut short" if share > 0.1 else "session.nwb", "copy it again")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nwb")
    refused(tmp_path / "pipe.nwb", "not a regular file")


def test_no_permission(nwb_file: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nwb_file()

    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # root may read whatever its mode says
    refused(path, "no permission to read it")


def test_locked_by_another_process(nwb_file: Build) -> None:
    import subprocess
    import sys

    path = nwb_file()
    writer = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", writer, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "open\n"
        refused(path, "another program has the file open for writing", "read a copy")
        process.stdin.close()
    assert read(path).n_units == 3


def test_the_writer_died(nwb_file: Build) -> None:
    import subprocess
    import sys

    path = nwb_file()
    code = "import h5py, os, sys; f = h5py.File(sys.argv[1], 'a', libver='latest'); f.swmr_mode = True; f.flush(); os._exit(1)"
    made = path.with_name("swmr.nwb")
    with h5py.File(path) as old, h5py.File(made, "w", libver="latest") as new:
        new.attrs["nwb_version"] = "2.7.0"
        old.copy("units", new)
    assert subprocess.run([sys.executable, "-c", code, str(made)], check=False).returncode == 1
    refused(made, "did not close it", "h5clear")


# -- NWB -------------------------------------------------------------------------------------------------------------


def test_no_units_table(nwb_file: Build) -> None:
    refused(nwb_file(change=lambda f: f.move("units", "elsewhere")), "no units table", "/elsewhere/spike_times")


def test_no_spike_times(nwb_file: Build) -> None:
    def spoil(file: h5py.File) -> None:
        del file["units/spike_times"], file["units/spike_times_index"]
        file["units/quality"] = np.ones(3)

    refused(nwb_file(change=spoil), "/units has no column spike_times", "quality")


def test_no_rows(nwb_file: Build) -> None:
    refused(nwb_file([]), "there are no units")


def test_all_units_empty(nwb_file: Build) -> None:
    refused(nwb_file([[], [], []]), "all 3 units", "without spikes")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_times_that_are_no_numbers(nwb_file: Build, trains: list[np.ndarray], value: float) -> None:
    trains[1][[5, 7]] = value
    refused(
        nwb_file(trains),
        "2 of 240 spike times in /units/spike_times are NaN or infinite",
        "unit '1', spike 5",
        "--drop-unit 1",
    )
    assert read(nwb_file(trains, name="again.nwb"), drop_units=["1"]).unit_ids == ("0", "2")


def test_times_that_go_back(nwb_file: Build, trains: list[np.ndarray]) -> None:
    np.random.default_rng(1).shuffle(trains[2])
    error = refused(nwb_file(trains), "go back", "unit '2'", "--drop-unit 2")
    assert "in 1 of 3 units" in error.message


def test_a_clock_that_starts_again(nwb_file: Build, trains: list[np.ndarray]) -> None:
    again = [np.concatenate([train, train]) for train in trains]
    refused(nwb_file(again), "the clock seems to have started again", "split the file")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([b"0.1", b"0.2"]), "text"),
        (np.array([1 + 2j, 3j]), "complex numbers"),
        (np.zeros(2, dtype=[("t", float)]), "compound records"),
    ],
)
def test_times_of_another_kind(nwb_file: Build, values: np.ndarray, found: str) -> None:
    def spoil(file: h5py.File) -> None:
        del file["units/spike_times"]
        file["units/spike_times"] = values

    refused(nwb_file(change=spoil), f"/units/spike_times holds {found}, expected spike times in seconds")


def test_times_in_two_dimensions(nwb_file: Build) -> None:
    def spoil(file: h5py.File) -> None:
        del file["units/spike_times"]
        file["units/spike_times"] = np.zeros((3, 80))

    refused(nwb_file(change=spoil), "shape (3, 80)", "expected one dimension")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (np.array([160, 80, 240], np.uint8), "must never fall, but does in 1 rows (first: row 1, from 160 to 80)"),
        (np.array([80, 160, 500], np.uint16), "runs past the end of spike_times (500 of 240 values)"),
        (np.array([-5, 160, 240], np.int32), "must never fall"),
        (np.array([80, 160, 2**63 + 5], np.uint64), "runs past the end"),
        (np.array([80.5, 160.0, 240.0]), "holds fractions"),
        (np.array([80.0, np.nan, 240.0]), "holds fractions"),
        (np.array([80, 160], np.uint8), "has 2 rows, expected 3"),
        (np.array([b"80", b"160", b"240"]), "holds text, expected whole numbers"),
    ],
)
def test_an_index_that_cannot_be(nwb_file: Build, index: np.ndarray, words: str) -> None:
    def spoil(file: h5py.File) -> None:
        del file["units/spike_times_index"]
        file["units/spike_times_index"] = index

    refused(nwb_file(change=spoil), "/units/spike_times_index", words)


def test_no_index(nwb_file: Build) -> None:
    def spoil(file: h5py.File) -> None:
        del file["units/spike_times_index"]

    refused(nwb_file(change=spoil), "240 values for 3 rows and no index")


def test_a_table_that_does_not_exist(nwb_file: Build) -> None:
    with pytest.raises(UsageError, match=r"no units table at 'unit'.*'/units'"):
        read(nwb_file(), units_table="unit")


def test_several_tables(nwb_file: Build) -> None:
    def add(file: h5py.File) -> None:
        file.copy("sorted", "processing/b/units")
        del file["sorted"]

    path = nwb_file(where="sorted")
    with h5py.File(path, "a") as file:
        file.create_group("processing/a")
        file.create_group("processing/b")
        file.copy("sorted", "processing/a/units")
        add(file)
    refused(path, "there are 2 units tables (/processing/a/units, /processing/b/units)", "--units-table")
    assert read(path, units_table="/processing/b/units").n_units == 3


def test_a_formal_argument_that_does_not_exist(nwb_file: Build) -> None:
    path = nwb_file()
    refused(path, "'nbw' is not known", "did you mean 'nwb'?", exit_code=2, format="nbw")
    refused(path, "there is no unit '7'", exit_code=2, drop_units=["7"])
    refused(path, "the time unit 'weeks' is not known", exit_code=2, time_unit="weeks")
    refused(path, "all 3 units were left out", exit_code=2, drop_units=["0", "1", "2"])


# -- spikes where nothing was recorded -------------------------------------------------------------------------------


def test_spikes_behind_the_end(nwb_file: Build, trains: list[np.ndarray]) -> None:
    path = nwb_file(trains, obs=[[[0, 50]]] * 3)
    last = max(float(train[-1]) for train in trains)
    error = refused(path, "of 3 of 3 units lie outside the observed time (0 s to 50 s", "--clip")
    assert error.hint is not None
    given = float(error.hint.split("--t-stop ")[1].split()[0])
    assert given > last
    assert read(path, t_stop_s=given).t_stop_s == given  # the hint leads on
    clipped = read(path, clip=True)
    assert clipped.t_stop_s == 50
    assert float(clipped.spike_times_s.max()) <= 50
    assert any("they were left out" in doubt for doubt in clipped.warnings)


def test_spikes_in_a_gap(nwb_file: Build, trains: list[np.ndarray]) -> None:
    path = nwb_file(trains, obs=[[[0, 20], [30, 70]]] * 3)
    error = refused(path, "in 2 intervals", "the first at 2", "pass --clip")
    assert "--t-stop" not in str(error)
    clipped = read(path, clip=True)
    inside = sum(int(np.count_nonzero((t < 20) | (t >= 30))) for t in trains)
    assert clipped.n_spikes == inside


def test_a_stop_in_front_of_the_start(nwb_file: Build) -> None:
    refused(nwb_file(), "cannot stop at 5 s when it starts at 9 s", exit_code=2, t_start_s=9, t_stop_s=5)
    refused(nwb_file(name="b.nwb"), "cannot start at 1000 s", exit_code=2, t_start_s=1000)


def test_a_start_behind_the_end(nwb_file: Build) -> None:
    path = nwb_file(obs=[[[0, 70]]] * 3)
    refused(path, "nothing was observed after --t-start", "0 s to 70 s", exit_code=2, t_start_s=100)


def test_units_never_seen_together(nwb_file: Build, trains: list[np.ndarray]) -> None:
    halves = [trains[0][trains[0] < 30], trains[1][trains[1] >= 30]]
    path = nwb_file(halves, obs=[[[0, 30]], [[30, 70]]])
    refused(path, "no observed time in common", "--drop-unit", observed="common")


# -- times that are not seconds --------------------------------------------------------------------------------------


def test_milliseconds(nwb_file: Build, trains: list[np.ndarray]) -> None:
    path = nwb_file([np.unique(np.rint(1000 * train)) for train in trains])
    refused(path, "whole numbers", "look like milliseconds", "--time-unit ms")
    assert read(path, time_unit="ms").t_stop_s == pytest.approx(61, abs=1.5)
    assert read(path, time_unit="s").t_stop_s > 50_000  # the user insists


def test_samples(nwb_file: Build) -> None:
    random = np.random.default_rng(2)
    samples = [np.cumsum(random.integers(60, 60_000, 400)) for _ in range(3)]
    path = nwb_file(samples)
    refused(path, "look like samples of an amplifier", "--time-unit samples@30000")
    read_back = read(path, time_unit="samples@20000")
    assert np.array_equal(read_back["0"], samples[0] / 20_000)


def test_fractions_of_milliseconds(nwb_file: Build, trains: list[np.ndarray]) -> None:
    minutes = [np.concatenate([1000 * (train + 60 * k) for k in range(30)]) for train in trains]
    path = nwb_file([np.sort(times) for times in minutes])
    refused(path, "would last", "days", "--time-unit ms")


# -- dangers of HDF5 ---------------------------------------------------------------------------------------------------


def replace_times(file: h5py.File) -> np.ndarray:
    times: np.ndarray = file["units/spike_times"][()]
    del file["units/spike_times"]
    return times


def test_a_link_to_another_file(nwb_file: Build) -> None:
    def spoil(file: h5py.File) -> None:
        with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
            other["t"] = replace_times(file)
        file["units/spike_times"] = h5py.ExternalLink("other.h5", "/t")

    path = nwb_file(change=spoil)
    refused(path, "/units/spike_times is a link into another file ('other.h5')", "--follow-links")
    assert read(path, follow_links=True).n_spikes == 240
    path.with_name("other.h5").unlink()
    refused(path, "which is not there", follow_links=True)


@pytest.mark.parametrize("target", ["/etc/hostname", "../other.h5"])
def test_a_link_out_of_the_folder(nwb_file: Build, target: str) -> None:
    def spoil(file: h5py.File) -> None:
        replace_times(file)
        file["units/spike_times"] = h5py.ExternalLink(target, "/t")

    refused(nwb_file(change=spoil), "outside the recording's own folder", follow_links=True)


def test_bytes_of_another_file(nwb_file: Build) -> None:
    def spoil(file: h5py.File) -> None:
        replace_times(file)
        file["units"].create_dataset("spike_times", (2,), "f8", external=[("/etc/hostname", 0, 16)])

    path = nwb_file(change=spoil)
    refused(path, "/units/spike_times is stored in another file ('/etc/hostname')")
    refused(path, "outside the recording's own folder", follow_links=True)


def test_a_virtual_dataset_without_its_source(nwb_file: Build) -> None:
    def spoil(file: h5py.File, source: str = "gone.h5") -> None:
        n = replace_times(file).size
        layout = h5py.VirtualLayout((n,), "f8")
        layout[:] = h5py.VirtualSource(source, "/t", (n,))
        file["units"].create_virtual_dataset("spike_times", layout)

    refused(nwb_file(change=spoil), "assembled from another file ('gone.h5')")
    refused(nwb_file(change=spoil, name="b.nwb"), "which is not there", follow_links=True)
    refused(nwb_file(change=lambda f: spoil(f, "."), name="c.nwb"), "assembled from '/t', which is not there")


def test_a_virtual_dataset_with_its_source(nwb_file: Build) -> None:
    def rearrange(file: h5py.File) -> None:
        file["t"] = replace_times(file)
        layout = h5py.VirtualLayout((240,), "f8")
        layout[:] = h5py.VirtualSource(file["t"])
        file["units"].create_virtual_dataset("spike_times", layout)

    assert read(nwb_file(change=rearrange)).n_spikes == 240


def test_links_in_circles_and_links_to_nothing(nwb_file: Build) -> None:
    def circle(file: h5py.File) -> None:
        replace_times(file)
        file["units/spike_times"] = h5py.SoftLink("/units/b")
        file["units/b"] = h5py.SoftLink("/units/spike_times")

    def broken(file: h5py.File) -> None:
        replace_times(file)
        file["units/spike_times"] = h5py.SoftLink("/gone")

    refused(nwb_file(change=circle), "round in circles")
    refused(nwb_file(change=broken, name="b.nwb"), "a link to '/gone', which is not there")


def test_a_soft_link_that_holds(nwb_file: Build) -> None:
    def move(file: h5py.File) -> None:
        file.move("units/spike_times", "data")
        file["units/spike_times"] = h5py.SoftLink("/data")

    assert read(nwb_file(change=move)).n_spikes == 240


def test_a_dataset_that_declares_the_world(nwb_file: Build) -> None:
    def spoil(file: h5py.File, n: int) -> None:
        replace_times(file)
        file["units"].create_dataset("spike_times", (n,), "f8", chunks=(1024,), compression="gzip")

    refused(nwb_file(change=lambda f: spoil(f, 10**14)), "declares 800 TB", "limit of 17.2 GB")
    refused(
        nwb_file(change=lambda f: spoil(f, 10**9), name="b.nwb"), "declares 8 GB but the file holds only 0 bytes of it"
    )


def test_chunks_of_no_size(tmp_path: Path) -> None:
    """HDF5 2.0 crashes when it reads them; found by damaging files at random."""
    path = tmp_path / "session.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "times", data=np.arange(240.0), chunks=(100,), compression="gzip", shuffle=True, fletcher32=True
        )
        file.create_dataset("unit", data=np.zeros(240, int))
        file.create_dataset("unwritten", (240,), "f8", chunks=(100,), compression="gzip")
    content = bytearray(path.read_bytes())
    tree = content.find(b"TREE\x01\x00")  # the index of the chunks, of which each entry begins with a size
    assert tree > 0
    for entry in range(3):
        content[tree + 24 + 32 * entry : tree + 28 + 32 * entry] = bytes(4)
    path.write_bytes(content)
    refused(path, "/times has 3 damaged chunks")


def test_a_filter_that_is_not_installed(nwb_file: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(file: h5py.File) -> None:
        times = replace_times(file)
        file["units"].create_dataset("spike_times", data=times, chunks=(240,), compression="gzip")

    path = nwb_file(change=spoil)
    assert read(path).n_spikes == 240
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda code: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(path, "is compressed with", "not installed", "pip install hdf5plugin")


def test_a_group_in_place_of_a_dataset(nwb_file: Build) -> None:
    def spoil(file: h5py.File) -> None:
        replace_times(file)
        file["units"].create_group("spike_times")

    refused(nwb_file(change=spoil), "/units/spike_times is a group, expected a dataset")


def test_an_empty_dataspace(nwb_file: Build) -> None:
    def spoil(file: h5py.File) -> None:
        replace_times(file)
        file["units/spike_times"] = h5py.Empty("f8")

    refused(nwb_file(change=spoil), "runs past the end of spike_times")


def test_a_thousand_groups_deep(h5_file: Build) -> None:
    refused(h5_file({"/".join(["g"] * 1000) + "/x": [1.0]}), "not laid out in a way that is known")


# -- plain HDF5 --------------------------------------------------------------------------------------------------------


def test_an_unknown_layout_lists_what_is_there(h5_file: Build) -> None:
    path = h5_file({"layer/kernel": np.zeros((3, 4)), "layer/bias": np.zeros(4)})
    refused(
        path,
        "/layer/bias (4, numbers)",
        "/layer/kernel (3 × 4, numbers)",
        "--units-table GROUP",
        "recording: {mapping:",
    )


def test_a_place_that_does_not_exist(h5_file: Build) -> None:
    refused(h5_file({"a/spike_times/u": [1.0, 2.5]}), "no group 'b'", exit_code=2, units_table="b")


def test_rows_without_a_name(h5_file: Build) -> None:
    path = h5_file({"times": [0.5, 1.0, 1.5], "unit": [0, 2, 1], "unit_names": [b"a", b"b"]})
    refused(path, "(0 to 1)", "first: spike 1, 2")


def test_units_and_times_of_unequal_number(h5_file: Build) -> None:
    refused(h5_file({"times": [0.5, 1.0, 1.5], "unit": [0, 2]}), "/times has 3 times and /unit 2 units")


def test_units_in_two_units_of_time(h5_file: Build) -> None:
    path = h5_file({"spike_times/a": [0.5, 1.0], "spike_times/b": [500.0, 1000.0]})
    with h5py.File(path, "a") as file:
        file["spike_times/a"].attrs["unit"] = "s"
        file["spike_times/b"].attrs["unit"] = "ms"
    refused(path, "different units of time (ms, s)")


# -- what a first guess got wrong ---------------------------------------------------------------------------------------


def test_a_spike_in_the_wrong_place_is_no_restart(nwb_file: Build) -> None:
    def swap(file: h5py.File) -> None:
        times = file["units/spike_times"][()]
        times[[5, 70]] = times[[70, 5]]
        file["units/spike_times"][...] = times

    error = refused(nwb_file(change=swap), "go back at 2 places in 1 of 3 units", "sort the times of each unit")
    assert "the clock" not in error.message


def test_a_lone_late_spike_is_not_taken_for_milliseconds(nwb_file: Build) -> None:
    def late(file: h5py.File) -> None:
        file["units/spike_times"][79] = 9e6

    found = read(nwb_file(change=late))
    assert any("a few spikes of" in text and "--t-stop" in text for text in found.warnings)


def test_spikes_and_intervals_on_different_clocks(nwb_file: Build) -> None:
    def since_1970(file: h5py.File) -> None:
        file["units/spike_times"][...] = file["units/spike_times"][()] + 1.6e9

    refused(
        nwb_file(obs=[[[0, 70]]] * 3, change=since_1970), "no spike lies inside", "do not count from the same moment"
    )
