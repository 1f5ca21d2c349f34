"""Files of recording systems: the same spikes whatever wrote them, one key per unit, and what is no neuron left out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefit.errors import RecordingError
from spikefit.inspection import choose_units
from spikefit.loaders import read, recognise

_SPEC = importlib.util.spec_from_file_location("systems", Path(__file__).with_name("systems.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
systems = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(systems)

SPIKES = {(1, 0): [0.3, 3.75], (1, 1): [0.5, 1.25, 2.0], (1, 2): [0.75], (2, 1): [0.1, 3.5], (2, 3): [0.1, 3.0]}
# Where a file tells nothing of its length, the spikes do.
FROM_SPIKES = (0.1, 3.75)
SYSTEMS: list[tuple[Callable[[Path, Any], Path], str, str, tuple[float, float]]] = [
    (systems.blackrock, "ch{}#{}", "ch{}#0", FROM_SPIKES),
    (systems.plexon, "ch{}#{}", "ch{}#0", (0.0, 3.75)),
    (systems.spike2, "ch{}#{}", "ch{}#0", (0.0, 3.75)),
    (systems.tdt, "eNe1/ch{}#{}", "eNe1/ch{}#0", (0.0, 4.0)),
]


def key(pattern: str, channel: int, unit: int, make: Any) -> str:
    return pattern.format(channel - 1 if make is systems.spike2 else channel, unit)


@pytest.mark.parametrize(("make", "pattern", "unsorted", "span_s"), SYSTEMS)
def test_every_system_gives_the_same_spikes(
    tmp_path: Path, make: Any, pattern: str, unsorted: str, span_s: tuple[float, float]
) -> None:
    path = make(tmp_path / "session.bin", SPIKES)
    found = read(path)
    assert found.format == recognise(path) == "neo"
    expected = {key(pattern, *unit, make): times for unit, times in SPIKES.items()}
    assert set(found.unit_ids) == set(expected)
    for unit, times in expected.items():
        np.testing.assert_allclose(found[unit], times, atol=1e-6 if make is systems.tdt else 1e-12)
    kept = {choice.id for choice in choose_units(found) if choice.kept}
    assert kept == set(expected) - {key(pattern, 1, 0, make)}
    assert found.intervals_s[[0, -1], [0, 1]] == pytest.approx(span_s, abs=1e-6)
    assert len(found.intervals_s) == 1
    said = any("does not say when the recording was on" in text for text in found.warnings)
    assert said == (span_s == FROM_SPIKES)


@pytest.mark.parametrize(("wires", "ending"), [(1, "nse"), (4, "ntt")])
def test_neuralynx(tmp_path: Path, wires: int, ending: str) -> None:
    own = {(0, unit): [4397 + t for t in times] for (channel, unit), times in SPIKES.items() if channel == 1}
    path = systems.neuralynx(tmp_path / f"TT1.{ending}", own, wires=wires)
    found = read(path)
    assert found.unit_ids == ("TT1#0", "TT1#1", "TT1#2")  # once, not once per wire
    assert found["TT1#1"].tolist() == [4397.5, 4398.25, 4399.0]  # on the clock of the machine
    assert [choice.kept for choice in choose_units(found)] == [False, True, True]
    systems.neuralynx(tmp_path / f"TT2.{ending}", {(4, 1): [4397.6]}, wires=wires)
    (tmp_path / "CSC1.ncs").write_bytes(path.read_bytes()[:16384] + b"\xff" * 99)  # signals are left alone
    folder = read(tmp_path)
    assert folder.unit_ids == ("TT1#0", "TT1#1", "TT1#2", "TT2#1")
    assert folder["TT2#1"].tolist() == [4397.6]
    assert folder["TT1#2"].tolist() == found["TT1#2"].tolist()
    bare = tmp_path / "without_ending"
    bare.write_bytes(path.read_bytes())
    assert read(bare).unit_ids == ("without_ending#0", "without_ending#1", "without_ending#2")


def test_neuralynx_files_without_sorted_spikes(tmp_path: Path) -> None:
    content = systems.neuralynx(tmp_path / "TT1.ntt", SPIKES, wires=4).read_bytes()
    for size, words in (
        (176, "stereotrode spikes, which Neo does not read"),
        (1044, "continuous signals"),
        (184, "of events"),
    ):
        path = tmp_path / "a.dat"
        path.write_bytes(content.replace(b"-RecordSize 304", b"-RecordSize %d" % size))
        with pytest.raises(RecordingError, match=words):
            read(path)


def test_open_ephys(tmp_path: Path) -> None:
    own = {(0, unit): times for (channel, unit), times in SPIKES.items() if channel == 1}
    systems.open_ephys(tmp_path / "SE0.spikes", own)
    systems.open_ephys(tmp_path / "SE1.spikes", {(1, 1): [0.1, 3.5]})
    (tmp_path / "100_CH1.continuous").write_bytes(b"broken")  # signals are left alone
    for path, ids in ((tmp_path, ("SE0#0", "SE0#1", "SE0#2", "SE1#1")), (tmp_path / "SE1.spikes", ("SE1#1",))):
        found = read(path)
        assert found.unit_ids == ids
        assert found["SE1#1"].tolist() == pytest.approx([0.1, 3.5], abs=1e-12)
    assert [choice.kept for choice in choose_units(read(tmp_path))] == [False, True, True, True]


def test_a_block_of_tdt_that_was_not_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = systems.tdt(tmp_path / "block", SPIKES)
    index = folder / "block.tsq"
    index.write_bytes(index.read_bytes()[:-40])
    found = read(folder)
    assert found.intervals_s.tolist() == [[pytest.approx(0.1, abs=1e-6), pytest.approx(3.75, abs=1e-6)]]
    assert any("does not say when the recording was on" in text for text in found.warnings)
    assert capsys.readouterr().out == ""  # Neo prints here


def test_two_blocks_of_tdt_in_one_folder(tmp_path: Path) -> None:
    folder = systems.tdt(tmp_path / "block", SPIKES)
    (folder / "other.tsq").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"2 files end in \.tsq, expected one"):
        read(folder)


def test_a_spike2_file_that_claims_too_much(tmp_path: Path) -> None:
    path = systems.spike2(tmp_path / "a.smr", SPIKES)
    content = bytearray(path.read_bytes())
    content[512 + 14 : 512 + 16] = (30_000).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="channel 0 claims 30000 blocks, more than the file holds"):
        read(path)
    path.write_bytes(content[:600])
    with pytest.raises(RecordingError, match=r"claims 2 channels, and ends before channel 0"):
        read(path)


@pytest.mark.parametrize(
    "make", [systems.blackrock, systems.plexon, systems.spike2, systems.tdt, systems.neuralynx, systems.open_ephys]
)
def test_a_file_cut_short_or_without_spikes(tmp_path: Path, make: Any) -> None:
    whole = make(tmp_path / "TT1.spikes", SPIKES if make is not systems.neuralynx else {(0, 1): [0.5]})
    file = whole if whole.is_file() else whole / "TT1.spikes.tsq"
    content = file.read_bytes()
    for size in (len(content) // 3, 70):
        file.write_bytes(content[:size])
        with pytest.raises(RecordingError) as caught:
            read(whole)
        assert caught.value.hint
        assert "/tmp" not in caught.value.message


# -- formats that are read without Neo ---------------------------------------------------------------------------------


@pytest.mark.parametrize("times", ["res", "fet"])
def test_klusters(tmp_path: Path, times: str) -> None:
    folder = systems.klusters(tmp_path / "rat1", SPIKES, times=times)
    expected = {f"{shank}.{unit}": train for (shank, unit), train in SPIKES.items()}
    for path in (folder, folder / "rat1.clu.2"):
        found = read(path)
        assert found.format == recognise(path) == "klusters"
        assert {unit: found[unit].tolist() for unit in found} == expected
        assert found.unit_columns["shank"].tolist() == [1, 1, 1, 2, 2]
        assert found.t_start_s == 0
        kept = {choice.id for choice in choose_units(found) if choice.kept}
        assert kept == {"1.2", "2.3"}  # clusters 0 and 1 are artefacts and what was not sorted


def test_klusters_without_a_sampling_rate(tmp_path: Path) -> None:
    spikes = {(1, 2): np.arange(40) * 0.05 + 0.001, (1, 3): np.arange(40) * 0.07 + 0.002}
    folder = systems.klusters(tmp_path / "rat1", spikes, rate_hz=None)
    with pytest.raises(RecordingError, match="all spike times are whole numbers"):
        read(folder)
    found = read(folder, time_unit="20kHz")
    np.testing.assert_allclose(found["1.2"], spikes[1, 2], atol=1e-12)


def test_klusters_that_do_not_fit(tmp_path: Path) -> None:
    folder = systems.klusters(tmp_path / "a", SPIKES)
    (folder / "rat1.res.1").write_text("12\n13\n")
    with pytest.raises(RecordingError, match=r"rat1\.res\.1 has 2 spikes and rat1\.clu\.1 6 clusters"):
        read(folder)
    (folder / "rat1.res.1").write_text("12\nlate\n")
    with pytest.raises(RecordingError, match=r"'late' stands where a number was expected \(line 2\)"):
        read(folder)
    systems.klusters(folder, SPIKES, base="rat2")
    with pytest.raises(RecordingError, match="sessions rat1, rat2, expected the files of one session"):
        read(folder)


def save_sorting(folder: Path, segments: int = 1, **info: Any) -> Path:
    """As SpikeInterface 0.105 writes a sorting; the class it names must never be imported."""
    (folder / "properties").mkdir(parents=True)
    (folder / "si_folder.json").write_text('{"class": "os.system", "module": "os", "kwargs": {}}')
    known = {"sampling_frequency": 10_000.0, "unit_ids": ["a", 7, "c"], "num_segments": segments} | info
    (folder / "numpysorting_info.json").write_text(json.dumps(known))
    rows = [(1000, 2, 0), (5000, 0, 0), (7500, 1, 0), (12500, 0, 0), (20000, 0, segments - 1), (35000, 2, segments - 1)]
    kind = [("sample_index", "<i8"), ("unit_index", "<i8"), ("segment_index", "<i8")]
    np.save(folder / "spikes.npy", np.array(rows, dtype=kind))
    np.save(folder / "properties" / "quality.npy", np.array(["good", "mua", "noise"]))
    np.save(folder / "properties" / "place.npy", np.zeros((3, 2)))
    np.save(folder / "properties" / "objects.npy", np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    return folder


@pytest.mark.parametrize("inside", [".", "sorting"])
def test_a_folder_of_spikeinterface(tmp_path: Path, inside: str) -> None:
    save_sorting(tmp_path / "saved" / inside)
    found = read(tmp_path / "saved")
    assert found.format == recognise(tmp_path / "saved") == "spikeinterface"
    assert {unit: found[unit].tolist() for unit in found} == {"a": [0.5, 1.25, 2.0], "7": [0.75], "c": [0.1, 3.5]}
    assert found.unit_columns["quality"].tolist() == ["good", "mua", "noise"]
    assert set(found.unit_columns) == {"quality", "not_a_neuron"}
    assert [choice.kept for choice in choose_units(found)] == [True, True, False]
    assert found.t_start_s == 0


def test_an_archive_of_spikeinterface_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "properties").mkdir()
    np.save(tmp_path / "properties" / "depth.npy", [10.0, 20.0])
    np.savez(
        tmp_path / "sorting_cached.npz", unit_ids=["x", "y"], num_segment=[1], sampling_frequency=[1e4],
        spike_indexes_seg0=[5000, 7500, 12500], spike_labels_seg0=["x", "y", "x"],
    )  # fmt: skip
    found = read(tmp_path)
    assert {unit: found[unit].tolist() for unit in found} == {"x": [0.5, 1.25], "y": [0.75]}
    assert found.unit_columns["depth"].tolist() == [10, 20]


def test_folders_of_spikeinterface_that_do_not_fit(tmp_path: Path) -> None:
    for number, (info, words) in enumerate(
        [
            ({"segments": 2}, "has 2 segments, each with a clock of its own"),
            (
                {"unit_ids": ["a"]},
                r"3 spikes in spikes\.npy are of units that .* does not list \(first: spike 0, unit 2 of 1\)",
            ),
            ({"sampling_frequency": 0}, "a sampling rate of 0"),
            ({"unit_ids": None}, "must state unit_ids and sampling_frequency"),
        ]
    ):
        with pytest.raises(RecordingError, match=words):
            read(save_sorting(tmp_path / str(number), **info))
    np.save(tmp_path / "3" / "spikes.npy", np.arange(6))
    (tmp_path / "3" / "numpysorting_info.json").write_text('{"unit_ids": [1], "sampling_frequency": 1e4}')
    with pytest.raises(RecordingError, match="expected sample_index, unit_index, segment_index"):
        read(tmp_path / "3")


def test_kwik(tmp_path: Path) -> None:
    path = systems.kwik(tmp_path / "a.bin", SPIKES)
    found = read(path)
    assert found.format == recognise(path) == "kwik"
    assert {unit: found[unit].tolist() for unit in found} == {f"{g}.{u}": t for (g, u), t in SPIKES.items()}
    assert found.unit_columns["group"].tolist() == ["noise", "mua", "good", "mua", "unsorted"]
    assert [choice.kept for choice in choose_units(found)] == [False, True, True, True, False]
    systems.kwik(path, SPIKES, recordings=(0, 1))
    with pytest.raises(RecordingError, match="come from 2 recordings"):
        read(path)
    systems.kwik(path, SPIKES, rate_hz=None)
    with pytest.raises(RecordingError, match="states no sample_rate"):
        read(path)


def test_brainware_f32_as_neo_reads_it(tmp_path: Path) -> None:
    from neo.io import BrainwareF32IO

    trials = [[0.01, 0.25], [], [0.125, 0.25, 0.375], [0.5]]
    path = systems.brainware_f32(tmp_path / "a.bin", trials)
    found = read(path)
    assert found.format == recognise(path) == "brainware"
    np.testing.assert_allclose(found.epochs["trials"], [[0, 0.5], [0.5, 1.0], [1.0, 1.5], [1.5, 2.0]])
    block = BrainwareF32IO(str(path)).read_block()
    expected = [
        0.5 * k + t for k, s in enumerate(block.segments) for t in s.spiketrains[0].rescale("s").magnitude.tolist()
    ]
    np.testing.assert_allclose(found["0"], expected, rtol=1e-6)
    assert found.n_spikes == len(expected) == 6
    path.write_bytes(path.read_bytes()[:16] + b"\xff" * 8)
    with pytest.raises(RecordingError):
        read(path)


def test_a_unit_per_line(tmp_path: Path) -> None:
    import neo

    trains = [np.sort(np.random.default_rng(k).uniform(0, 9, 5 + k)).astype(np.float32) for k in range(3)]
    segment = neo.Segment()
    for train in trains:
        segment.spiketrains.append(neo.SpikeTrain(train, units="s", t_start=0, t_stop=10))
    path = tmp_path / "spikes.bin"
    neo.io.AsciiSpikeTrainIO(str(path)).write_segment(segment)
    path.write_text(path.read_text().replace(" s", ""))  # some versions of Neo write the unit behind every number
    found = read(path)
    assert found.format == recognise(path) == "trains"
    for k, train in enumerate(trains):
        np.testing.assert_allclose(found[str(k)], train, rtol=1e-6)
    path.write_text(path.read_text().replace(".", "x", 1))
    with pytest.raises(RecordingError, match="line 1 has"):
        read(path, format="trains")


@pytest.mark.parametrize(
    "text",
    [
        "# NEST version: 3.6\n# RecordingBackendASCII version: 2\nsender\ttime_ms\n3\t500.0\n7\t750.0\n3\t1250.5\n",
        "3 500.0\n7 750.0\n3 1250.5\n",
    ],
)
def test_nest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spikes-9-0.gdf"
    path.write_text(text)
    found = read(path, time_unit=None if "sender" in text else "ms")
    assert {unit: found[unit].tolist() for unit in found} == {"3": [0.5, 1.2505], "7": [0.75]}


def test_mearec(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "a.bin"
    with h5py.File(path, "w") as file:
        for k, times in enumerate(list(SPIKES.values())):
            file[f"spiketrains/{k}/times"] = times
            file[f"spiketrains/{k}/t_stop"] = 4.0
        file["recordings"] = np.zeros((4, 100), np.float32)
        file["channel_positions"] = np.zeros((4, 3))
        file["info/recordings/fs"] = 32000.0
    found = read(path)
    assert [found[unit].tolist() for unit in found] == list(SPIKES.values())


# -- what is refused, and why ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.ns5", b"NEURALCD" + bytes(300), "continuous signals of Blackrock"),
        ("a.rhd", b"\x02\x27\x91\xc6" + bytes(300), "raw signals of Intan"),
        ("a.edf", b"0       X X X X", "European Data Format"),
        ("a.abf", b"ABF2" + bytes(300), "signals of Axon"),
        ("a.mcd", b"MCSSTRM " + bytes(300), "read by a library of its maker only"),
        ("a.dat", b"\x0bDAC2objects" + bytes(300), "nobody gave us to test a reader with"),
        ("a.set", b"trial_date Friday, 1 Jan 2020\r\ntrial_time 10:00\r\n", "tetrodes that are not sorted"),
        ("a.smrx", b"S64" + bytes(300), "closed library of its maker"),
        ("a.pl2", bytes(range(256)), "fetched from the internet"),
        ("a.continuous", b"header.format = 'Open Ephys Data Format'; \n".ljust(1100), "signals or events of Open Ephys"),
        ("a.npy", b"\x93NUMPY" + bytes(100), "does not say which unit fired"),
        ("a.nwb", b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page, not a recording"),
        ("a.nwb", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "only a note of Git LFS"),
        ("a.nwb", bytes(5000), "begins with 4096 zero bytes"),
        ("a.csv.gz", b"\x1f\x8b\x08" + bytes(40), "compressed with gzip"),
        ("a.pickle", b"\x80\x04\x95" + bytes(40), "a Python pickle"),
    ],
)  # fmt: skip
def test_what_is_not_read_says_why(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=words) as caught:
        read(path)
    assert caught.value.hint


def test_a_spreadsheet_and_a_folder_of_raw_signals(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(RecordingError, match="a spreadsheet"):
        read(tmp_path / "a.xlsx")
    (tmp_path / "oe").mkdir()
    (tmp_path / "oe" / "structure.oebin").write_text("{}")
    with pytest.raises(RecordingError, match=r"Open Ephys wrote raw signals here"):
        read(tmp_path / "oe")


def test_every_reader_of_neo_is_read_or_refused_with_a_reason() -> None:
    """A new version of Neo with a new reader fails here, so that somebody decides."""
    import neo

    elsewhere = {"NWBIO", "NixIO", "NeoMatlabIO", "PhyIO"}
    by_neo = {"PlexonIO", "NeuroExplorerIO", "BlackrockIO", "NeuralynxIO", "Spike2IO", "CedIO", "OpenEphysIO", "TdtIO"}
    by_us = {"KlustaKwikIO", "KwikIO", "NestIO", "AsciiSpikeTrainIO", "BrainwareF32IO", "MEArecIO"}
    refused = {"PickleIO", "Plexon2IO", "ElphyIO", "BrainwareSrcIO", "AlphaOmegaIO", "AxonaIO", "NeurosharectypesIO"}
    without_spikes = {
        "AsciiImageIO", "AsciiSignalIO", "AxographIO", "AxonIO", "BCI2000IO", "BiocamIO", "BlkIO", "BrainVisionIO", "BrainwareDamIO",
        "EDFIO", "ElanIO", "ExampleIO", "IgorIO", "IntanIO", "MaxwellIO", "MedIO", "MicromedIO", "NeuroNexusIO", "NeuroScopeIO",
        "OpenEphysBinaryIO", "RawBinarySignalIO", "RawMCSIO", "SpikeGadgetsIO", "SpikeGLXIO", "StimfitIO", "TiffIO", "WinEdrIO",
        "WinWcpIO",
    }  # fmt: skip
    assert {reader.__name__ for reader in neo.io.iolist} == elsewhere | by_neo | by_us | refused | without_spikes
