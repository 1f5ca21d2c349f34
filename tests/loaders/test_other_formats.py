"""MATLAB, NIX, NumPy, Phy and text files, written as the programs of labs write them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikefit.errors import RecordingError, UsageError
from spikefit.inspection import choose_units
from spikefit.loaders import read
from spikefit.loaders.mat5 import read_variables
from spikefit.loaders.neo import check_unit_texts
from spikefit.loaders.raw import in_seconds, parse_time_unit, unique_ids
from spikefit.spikes import SpikeTrains

A, B, C = [0.5, 1.25, 2.0], [0.75], [0.1, 3.5]
TIMES, UNITS = np.array([0.1, 0.5, 0.75, 1.25, 2.0, 3.5]), np.array([2, 0, 1, 0, 0, 2])


def assert_holds(found: SpikeTrains, trains: Sequence[Sequence[float]], ids: Sequence[str], format_name: str) -> None:
    assert found.unit_ids == tuple(ids)
    assert [found[unit].tolist() for unit in ids] == [list(train) for train in trains]
    assert found.format == format_name


# -- MATLAB --------------------------------------------------------------------------------------------------------


def save_mat(path: Path, compress: bool = False, **variables: Any) -> Path:
    from scipy.io import savemat

    savemat(path, variables, do_compression=compress)
    return path


def cells(*trains: Sequence[float]) -> np.ndarray:
    array = np.empty(len(trains), dtype=object)
    for k, train in enumerate(trains):
        array[k] = np.array(train, dtype=float)
    return array


@pytest.mark.parametrize("compress", [False, True])
def test_matlab_cells(tmp_path: Path, compress: bool) -> None:
    assert_holds(read(save_mat(tmp_path / "a.mat", compress, spike_times=cells(A, [], C))), [A, [], C], "123", "matlab")
    nested = {"times": cells(A, B), "UID": np.array([4.0, 9.0])}
    assert_holds(read(save_mat(tmp_path / "b.mat", compress, spikes=nested)), [A, B], "49", "matlab")


def test_matlab_columns_and_counts(tmp_path: Path) -> None:
    found = read(
        save_mat(tmp_path / "a.mat", times=TIMES[:, None] * 1000, unit=UNITS[:, None], time_unit="ms", t_stop=4000.0)
    )
    assert_holds(found, [A, B, C], "012", "matlab")
    assert found.t_stop_s == 4
    counts = np.array([[1, 0], [0, 3], [2, 0]])
    assert (
        read(save_mat(tmp_path / "c.mat", counts=counts, bin_width=0.02)).bin(0.02).counts.tolist() == counts.tolist()
    )


def test_matlab_without_spikes_says_what_it_holds(tmp_path: Path) -> None:
    path = save_mat(tmp_path / "a.mat", kernel=np.zeros((3, 4)), note="hello")
    with pytest.raises(RecordingError, match=r"kernel \(3 × 4 numbers\), note \(text\)"):
        read(path)


def test_matlab_values_are_those_of_scipy(tmp_path: Path) -> None:
    from scipy.io import loadmat

    from spikefit.config import ChecksConfig

    values: dict[str, Any] = {
        "doubles": np.arange(6.0).reshape(2, 3), "bytes": np.arange(5, dtype=np.uint8), "single": np.float32([1.5, 2.5]),
        "big": np.array([2**40], np.int64), "text": "käse", "empty": np.zeros((0, 3)), "flag": np.array([True, False]),
    }  # fmt: skip
    path = save_mat(tmp_path / "a.mat", True, **values, nested={"inner": {"x": 3.0}, "list": cells(A, B)})
    ours, theirs = read_variables(path, ChecksConfig()), loadmat(path)
    for name in values:
        if name == "text":
            assert ours[name] == str(theirs[name][0])
        else:
            assert np.array_equal(ours[name], theirs[name]), name
    assert ours["nested"]["inner"]["x"].item() == 3.0
    assert [cell.ravel().tolist() for cell in ours["nested"]["list"]] == [A, B]


def test_matlab_that_unpacks_to_the_world(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(70 * 2**20), 9)
    path = tmp_path / "bomb.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed)
    from spikefit.config import ChecksConfig

    with pytest.raises(RecordingError, match="expands to more than"):
        read(path, checks=ChecksConfig(max_expansion=100))


# -- NIX -------------------------------------------------------------------------------------------------------------


def save_nix(
    path: Path,
    segments: Sequence[Sequence[tuple[str, Sequence[float], float, float]]],
    unit: str = "s",
    blocks: int = 1,
) -> Path:
    import neo

    made = []
    for _ in range(blocks):
        block = neo.Block()
        for trains in segments:
            segment = neo.Segment()
            for name, times, start, stop in trains:
                segment.spiketrains.append(
                    neo.SpikeTrain(times, units=unit, t_start=start, t_stop=stop, name=name, area="CA1")
                )
            block.segments.append(segment)
        made.append(block)
    source = neo.io.NixIO(str(path), "ow")
    source.write_all_blocks(made)
    source.close()
    return path


def test_nix_in_milliseconds(tmp_path: Path) -> None:
    found = read(save_nix(tmp_path / "a.nix", [[("u", [500.0, 1250.0], 0, 2000), ("v", [700.5], 0, 2000)]], unit="ms"))
    assert_holds(found, [[0.5, 1.25], [0.7005]], "uv", "nix")
    assert found.intervals_s.tolist() == [[0, 2]]
    assert found.unit_columns["area"].tolist() == ["CA1", "CA1"]


def test_nix_segments_are_observed_intervals(tmp_path: Path) -> None:
    late = [("u", [12.5], 10, 20), ("v", [13.0], 10, 20)]
    early = [("u", [0.5], 0, 5), ("v", [], 0, 5)]
    found = read(save_nix(tmp_path / "a.nix", [late, early]))
    assert_holds(found, [[0.5, 12.5], [13.0]], "uv", "nix")
    assert found.intervals_s.tolist() == [[0, 5], [10, 20]]
    assert "2 segments; each is taken as an observed interval" in found.warnings[0]


def test_segments_that_all_start_at_zero_are_trials(tmp_path: Path) -> None:
    first, second = [("u", [0.5], 0, 5), ("v", [1.0], 0, 5)], [("u", [0.25, 5.75], 0, 6), ("v", [], 0, 6)]
    found = read(save_nix(tmp_path / "a.nix", [first, second]))
    assert_holds(found, [[0.5, 5.25, 10.75], [1.0]], "uv", "nix")
    assert found.intervals_s.tolist() == found.epochs["trials"].tolist() == [[0, 5], [5, 11]]
    assert "laid one behind the other, as trials" in found.warnings[0]


def test_nix_units_by_name_where_segments_differ(tmp_path: Path) -> None:
    found = read(save_nix(tmp_path / "a.nix", [[("u", [0.5], 0, 5), ("v", [1.0], 0, 5)], [("v", [12.0], 10, 20)]]))
    assert_holds(found, [[0.5], [1.0, 12.0]], "uv", "nix")


@pytest.mark.parametrize(
    ("segments", "blocks", "words"),
    [
        ([[("u", [0.5], 0, 5)], [("u", [3.5], 3, 8)]], 1, "2 segments overlap in time"),
        ([[("u", [0.5], 0, 5), ("u", [], 0, 5)], [("u", [12], 10, 20)]], 1, "names repeat"),
        ([[]], 1, "holds no spike trains"),
        ([[("u", [0.5], 0, 5)]], 2, "2 blocks with data, expected one"),
    ],
)
def test_nix_that_does_not_fit(tmp_path: Path, segments: Any, blocks: int, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        read(save_nix(tmp_path / "a.nix", segments, blocks=blocks))


def test_names_that_repeat_or_are_missing(tmp_path: Path) -> None:
    found = read(save_nix(tmp_path / "a.nix", [[("SPK01", [0.5], 0, 5), ("SPK01", [1.0], 0, 5), ("", [2.0], 0, 5)]]))
    assert found.unit_ids == ("SPK01", "SPK01-2", "unit2")


def test_channels_of_noise_are_marked(tmp_path: Path) -> None:
    found = read(save_nix(tmp_path / "a.nix", [[("ch1#1", [0.5], 0, 5), ("ch1 unsorted", [1.0], 0, 5)]]))
    assert [choice.kept for choice in choose_units(found)] == [True, False]


def test_units_of_measurement_are_no_formulas(tmp_path: Path) -> None:
    check_unit_texts({"s", "mV", "1/s", "kHz", "uV**2", "m/s**2", "dimensionless", "µs", "°C", "%"}, tmp_path)
    for text in ("9**9**9**9", "__import__('os')", "a" * 100, "s;t"):
        with pytest.raises(RecordingError, match="is not a unit of measurement"):
            check_unit_texts({text}, tmp_path)


# -- recording systems -----------------------------------------------------------------------------------------------


def fill(dtype: Any, **values: Any) -> bytes:
    record = np.zeros(1, dtype=dtype)
    for name, value in values.items():
        record[name] = value
    return record.tobytes()


def test_neuro_explorer(tmp_path: Path) -> None:
    from neo.rawio.neuroexplorerrawio import EntityHeader, GlobalHeader

    # Two units, and the waveforms of the first, which hold its spikes once more.
    variables = [("sig1a", 0, A, 0), ("sig1b", 0, B, 0), ("sig1a_wf", 3, A, 8)]
    place = 544 + 208 * len(variables)
    headers, data = b"", b""
    for name, kind, times, points in variables:
        values = {
            "type": kind,
            "name": name.encode(),
            "offset": place + len(data),
            "n": len(times),
            "NPointsWave": points,
        }
        headers += fill(EntityHeader, **values, WFrequency=40_000.0, ADtoMV=1.0).ljust(208, b"\0")
        data += (np.array(times) * 40_000).astype(np.int32).tobytes() + bytes(2 * points * len(times))
    start = fill(GlobalHeader, signature=b"NEX1", version=104, freq=40_000.0, tend=160_000, nvar=len(variables)).ljust(
        544, b"\0"
    )
    path = tmp_path / "a.bin"
    path.write_bytes(start + headers + data)
    found = read(path)
    assert_holds(found, [A, B, A], ["sig1a", "sig1b", "sig1a_wf"], "neo")
    assert found.intervals_s.tolist() == [[0, 4]]
    assert [choice.kept for choice in choose_units(found)] == [True, True, False]
    path.write_bytes((start + headers + data)[:700])
    with pytest.raises(RecordingError, match="Neo could not read the file as NeuroExplorer"):
        read(path)


def test_plexon(tmp_path: Path) -> None:
    from neo.rawio.plexonrawio import DataBlockHeader, DspChannelHeader, GlobalHeader

    content = fill(
        GlobalHeader, MagicNumber=0x58454C50, Version=106, ADFrequency=10_000, NumDSPChannels=2, Year=2020, Month=1, Day=1,
        WaveformFreq=10_000, LastTimestamp=40_000, SpikeMaxMagnitudeMV=3000, BitsPerSpikeSample=12, SpikePreAmpGain=1000,
    )  # fmt: skip
    for channel in (1, 2):
        content += fill(DspChannelHeader, Name=b"SPK01", Channel=channel, Gain=1)
    spikes = sorted([*((t, 1, 1) for t in A), *((t, 1, 0) for t in B), *((t, 2, 1) for t in C)])
    for time_s, channel, unit in spikes:
        header = fill(
            DataBlockHeader,
            Type=1,
            TimeStamp=round(10_000 * time_s),
            Channel=channel,
            Unit=unit,
            NumberOfWaveforms=1,
            NumberOfWordsInWaveform=4,
        )
        content += header + bytes(8)
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    found = read(path)
    assert sorted(found.unit_ids) == ["ch1#0", "ch1#1", "ch2#1"]  # their names are all the same
    assert (found["ch1#1"].tolist(), found["ch1#0"].tolist(), found["ch2#1"].tolist()) == (A, B, C)
    assert {choice.id: choice.kept for choice in choose_units(found)} == {"ch1#0": False, "ch1#1": True, "ch2#1": True}


def test_plexon_2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pl2"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(RecordingError, match="fetched from the internet"):
        read(path)


# -- NumPy -----------------------------------------------------------------------------------------------------------


def test_npz(tmp_path: Path) -> None:
    def save(name: str, **arrays: Any) -> Path:
        np.savez_compressed(tmp_path / name, **arrays)
        return tmp_path / name

    assert_holds(read(save("a.npz", a=A, b=B, c=C)), [A, B, C], "abc", "npz")
    assert_holds(read(save("b.npz", times=TIMES, unit=UNITS, unit_names=["x", "y", "z"])), [A, B, C], "xyz", "npz")
    assert_holds(read(save("c.npz", spike_times=A + B + C, index=[3, 4, 6])), [A, B, C], "012", "npz")
    counts = np.array([[1, 0], [0, 3], [2, 0]])
    assert read(save("d.npz", counts=counts, bin_width_s=0.02)).bin(0.02).counts.tolist() == counts.tolist()
    sorting = save(
        "e.npz", unit_ids=[7, 3], num_segment=[1], sampling_frequency=[1e4], spike_indexes_seg0=[5000, 7500, 12500],
        spike_labels_seg0=[7, 3, 7],
    )  # fmt: skip
    assert_holds(read(sorting), [[0.5, 1.25], [0.75]], "73", "npz")


def test_npz_with_python_objects_is_not_unpickled(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    np.savez(tmp_path / "a.npz", times=np.array([Trap()], dtype=object), unit=[0])
    with pytest.raises(RecordingError, match="holds Python objects, which are never read"):
        read(tmp_path / "a.npz")
    assert not ran.exists()


def test_npz_that_unpacks_to_the_world(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**23 + 2**20,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("times.npy", header.getvalue() + bytes(2**26 + 2**23))
    from spikefit.config import ChecksConfig

    with pytest.raises(RecordingError, match=r"unpack to 75.5 MB, more than the limit"):
        read(tmp_path / "a.npz", checks=ChecksConfig(max_expansion=100))


def test_npz_that_lies_about_its_size(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("times.npy", header.getvalue() + bytes(80))
    with pytest.raises(RecordingError, match="declares 8000000000000 bytes and holds 80"):
        read(tmp_path / "a.npz")


# -- Phy -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def phy_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sorted"
    folder.mkdir()
    np.save(folder / "spike_times.npy", np.array([[1000], [5000], [7500], [12500], [20000], [35000]], dtype=np.uint64))
    np.save(folder / "spike_clusters.npy", np.array([9, 2, 5, 2, 2, 9], dtype=np.int32))
    (folder / "params.py").write_text(
        "dat_path = 'x.dat'\nn_channels_dat = 4\nsample_rate = 10000.  # Hz\nraise SystemExit(7)\n"
    )
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n2\tgood\n5\tmua\n9\tnoise\n77\tgood\n")
    (folder / "cluster_info.tsv").write_text("cluster_id\tAmplitude\tch\n2\t10.5\t1\n9\t3.5\t2\n")
    return folder


def test_a_phy_folder(phy_folder: Path) -> None:
    found = read(phy_folder)
    assert_holds(found, [A, B, C], "259", "phy")
    assert found.name == "sorted"
    assert found.t_start_s == 0
    assert found.unit_columns["group"].tolist() == ["good", "mua", "noise"]
    assert np.array_equal(found.unit_columns["Amplitude"], [10.5, np.nan, 3.5], equal_nan=True)
    assert [(c.kept, c.reason) for c in choose_units(found)][2] == (False, "noise, not a sorted neuron")
    assert any("1 of 3 clusters are labelled mua" in w for w in found.warnings)
    assert [c.kept for c in choose_units(found, units="group == 'good'")] == [True, False, False]


def test_a_phy_folder_without_its_rate(phy_folder: Path) -> None:
    (phy_folder / "params.py").write_text("sample_rate = get_rate()\n")
    with pytest.raises(RecordingError, match=r"params\.py states no sample_rate"):
        read(phy_folder)
    (phy_folder / "params.py").unlink()
    with pytest.raises(RecordingError, match=r"params\.py is not there"):
        read(phy_folder)


def test_a_phy_folder_that_does_not_fit(phy_folder: Path) -> None:
    np.save(phy_folder / "spike_clusters.npy", np.array([1, 2]))
    with pytest.raises(RecordingError, match="6 spike times and 2 clusters"):
        read(phy_folder)
    content = (phy_folder / "spike_times.npy").read_bytes()
    (phy_folder / "spike_times.npy").write_bytes(content[:-9])
    with pytest.raises(RecordingError, match="declares 48 bytes and holds 39"):
        read(phy_folder)


# -- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "time,unit\n0.5,a\n0.75,b\n0.1,c\n1.25,a\n2.0,a\n3.5,c\n",
        "unit;spike_time_ms\na;500\nb;750\nc;100\na;1250\na;2000\nc;3500\n",
        "\ufefftime (ms)\tneuron\textra\n500\ta\tx\n750\tb\tx\n100\tc\tx\n1250\ta\tx\n2000\ta\tx\n3500\tc\tx\n",
        "time;unit\n0,5;a\n0,75;b\n0,1;c\n1,25;a\n2,0;a\n3,5;c\n",
        "# made by hand\na 0.5\nb 0.75\nc 0.1\n\na 1.25\na 2.0\nc 3.5\n",
        '"times","unit"\r\n0.5,"a"\r\n0.75,"b"\r\n0.1,"c"\r\n1.25,"a"\r\n2.0,"a"\r\n3.5,"c"\r\n',
    ],
)
def test_tables_of_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spikes.csv"
    path.write_bytes(text.encode())
    assert_holds(read(path), [A, B, C], "abc", "text")


def test_columns_of_numbers_without_a_heading(tmp_path: Path) -> None:
    path = tmp_path / "spikes.gdf"
    path.write_text("10 0.5\n2 0.75\n33 0.1\n10 1.25\n10 2.0\n33 3.5\n")
    found = read(path)
    assert_holds(found, [B, A, C], ["2", "10", "33"], "text")
    assert "column 2 is taken for the times and column 1 for the units" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,unit\n0.5,a\n0.7\n", "line 3 has 1 columns, the first has 2"),
        ("time,unit\n0.5,a\n0.7,a\nlate,b\n", "line 4 has 'late' where a time was expected"),
        ("x,y,z\n1,2,3\n1,2,3\n", "which columns hold the times and the units (found: x, y, z)"),
        ("time,unit\n0.5,a\nnan,a\n", "1 of 2 spike times in column 1 are NaN"),
        ("<html>\n<body>404</body>\n", "a web page, not a recording"),
        ("time,unit\n\0\0\0", "this is no text"),
        ("words and words\nand more words\n", "neither HDF5 nor any other format"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "spikes.csv"
    path.write_text(text)
    with pytest.raises(RecordingError) as caught:
        read(path, format="text" if words.startswith(("line 3", "this is")) else None)
    assert words in caught.value.message


# -- shared parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "value", "seconds"),
    [
        ("s", 0.1, 0.1), ("ms", 1234.5, 1.2345), ("us", 1.0, 1e-6), ("µs", 3.0, 3e-6), ("min", 2.0, 120.0), ("seconds", 1.0, 1.0),
        ("samples@30000", 45_000.0, 1.5), ("30kHz", 45_000.0, 1.5), ("20000Hz", 20_000.0, 1.0),
    ],
)  # fmt: skip
def test_units_of_time(unit: str, value: float, seconds: float) -> None:
    assert in_seconds(np.array([value]), unit).tolist() == [seconds]


@pytest.mark.parametrize("unit", ["weeks", "samples@0", "samples@", "0kHz", "mss", "samples@1e999"])
def test_units_of_time_that_are_none(unit: str) -> None:
    with pytest.raises(UsageError, match="is not known"):
        parse_time_unit(unit)


def test_seconds_are_left_as_they_are() -> None:
    times = np.array([0.1, 0.30000000000000004])
    assert in_seconds(times, "s") is times


@given(st.lists(st.sampled_from(["", "a", "a-2", "b", "unit1"]), max_size=8))
def test_ids_become_unique(names: list[str]) -> None:
    warnings: list[str] = []
    ids = unique_ids(names, warnings)
    assert len(set(ids)) == len(ids) == len(names)
    assert all(ids)
    assert bool(warnings) == (list(ids) != names)
    for name, unit in zip(names, ids, strict=True):
        assert not name or unit.startswith(name)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(-1e5, 1e5), max_size=6).map(sorted), min_size=1, max_size=5))
def test_any_trains_survive_npz_and_text(tmp_path: Path, trains: list[list[float]]) -> None:
    if not any(trains):
        return
    np.savez(tmp_path / "a.npz", **{f"u{k}": train for k, train in enumerate(trains)})
    found = read(tmp_path / "a.npz", time_unit="s")
    assert [found[f"u{k}"].tolist() for k in range(len(trains))] == trains
    if sum(map(len, trains)) < 2:
        return
    lines = [f"{time!r},u{k}" for k, train in enumerate(trains) for time in train]
    (tmp_path / "a.csv").write_text("\n".join(["time,unit", *lines]) + "\n")
    found = read(tmp_path / "a.csv", time_unit="s")
    assert [found[f"u{k}"].tolist() for k, train in enumerate(trains) if train] == [train for train in trains if train]
