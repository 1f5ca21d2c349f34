"""Recording systems whose own files Neo's raw readers know: how each is told, what its reader is given, and what it calls a unit.

A reader never sees the folder of a recording: what it needs is linked into an empty folder under the name that it expects. So
files that have lost their ending open, and nothing that stands beside the spikes is read, followed or in the way.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.neo_guards import check_spike2
from spikefit.loaders.raw import read_head

NEURALYNX = b"######## Neuralynx"
TSQ_RECORD_BYTES = 40
OPEN_EPHYS = b"header.format = 'Open Ephys Data Format'"


@dataclass(frozen=True)
class Channel:
    """What a reader calls a spike channel.

    Attributes:
        key: the unit, unique in the file; channels of the same key are the same unit, and only the first is read.
        not_a_neuron: what it holds besides a neuron; empty text for neurons.
    """

    key: str
    not_a_neuron: str = ""


@dataclass(frozen=True)
class System:
    """A recording system.

    Attributes:
        name: as messages show it.
        reader: the class in `neo.rawio`.
        is_it: tells from a path and its first bytes (none for a folder).
        stage: links what the reader needs into an empty folder, and gives the arguments of its constructor; where a recording
            is read by several readers, those of each.
        channels: the spike channels, from a reader that has read its header.
        states_length: whether the file says when the recording began and ended; elsewhere only the spikes tell.
    """

    name: str
    reader: str
    is_it: Callable[[Path, bytes], bool]
    stage: Callable[[Path, Path], list[dict[str, Any]]]
    channels: Callable[[Any], list[Channel]]
    states_length: bool = True


def system_of(path: Path, head: bytes) -> System | None:
    """The system that a file or a folder is of, or None."""
    return next((system for system in SYSTEMS if system.is_it(path, head)), None)


# -- how they are told -------------------------------------------------------------------------------------------------


def _begins(*signatures: bytes) -> Callable[[Path, bytes], bool]:
    return lambda path, head: head.startswith(signatures)


def _is_spike2(path: Path, head: bytes) -> bool:
    return head[2:12] == b"(C) CED 87" and 0 < int.from_bytes(head[:2], "little") < 10


def _holds(path: Path, endings: Iterable[str], signature: bytes) -> list[Path]:
    """Files of a folder with one of these endings that begin with a signature, by name."""
    if not path.is_dir():
        return []
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in endings and file.is_file())
    return [file for file in files if read_head(file, len(signature)) == signature]


def _is_neuralynx(path: Path, head: bytes) -> bool:
    return head.startswith(NEURALYNX) or bool(_holds(path, (".nse", ".ntt"), NEURALYNX))


def _is_open_ephys(path: Path, head: bytes) -> bool:
    return bool(_holds(path, (".spikes",), OPEN_EPHYS)) or (head.startswith(OPEN_EPHYS) and path.suffix == ".spikes")


def _is_tdt(path: Path, head: bytes) -> bool:
    endings = {file.suffix.lower() for file in path.iterdir()} if path.is_dir() else set()
    return {".tbk", ".tsq"} <= endings


# -- what their readers are given --------------------------------------------------------------------------------------


def link(source: Path, target: Path) -> None:
    """Make a file appear under another name; where links are not allowed it is copied."""
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def _as(name: str, **arguments: Any) -> Callable[[Path, Path], list[dict[str, Any]]]:
    def stage(path: Path, folder: Path) -> list[dict[str, Any]]:
        link(path, folder / name)
        return [{"filename": str(folder / name), **arguments}]

    return stage


def _stage_spike2(path: Path, folder: Path) -> list[dict[str, Any]]:
    check_spike2(path)
    return _as("session.smr", try_signal_grouping=False)(path, folder)


def _stage_neuralynx(path: Path, folder: Path) -> list[dict[str, Any]]:
    arguments = []
    for file in [path] if path.is_file() else _holds(path, (".nse", ".ntt"), NEURALYNX):
        # One reader per file: Neo takes files whose channels have the same name for one, and loses all but the last.
        own = folder / file.name
        own.mkdir()
        link(file, own / f"{file.stem}.{_kind_of_neuralynx(file)}")
        # Times since the machine was switched on; Neo would count from the first spike of this very file.
        arguments.append({"dirname": str(own), "keep_original_times": True})
    return arguments


def _kind_of_neuralynx(file: Path) -> str:
    stated = re.search(rb"-RecordSize\s+(\d+)", read_head(file, 16384))
    ending = file.suffix.lower().lstrip(".")
    kind = {112: "nse", 304: "ntt", 176: "nst", 1044: "ncs", 184: "nev"}.get(int(stated[1]) if stated else 0, ending)
    if kind in ("nse", "ntt"):
        return kind
    what = {"nst": "stereotrode spikes, which Neo does not read", "nev": "events", "ncs": "continuous signals"}
    raise RecordingError(
        f"{file.name}: a Neuralynx file of {what.get(kind, 'another kind')}, expected sorted spikes (.nse or .ntt).",
        hint="pass the .nse or .ntt file, or the folder that holds them",
    )


def _stage_open_ephys(path: Path, folder: Path) -> list[dict[str, Any]]:
    for file in [path] if path.is_file() else _holds(path, (".spikes",), OPEN_EPHYS):
        link(file, folder / file.name)
    return [{"dirname": str(folder)}]


def _stage_tdt(path: Path, folder: Path) -> list[dict[str, Any]]:
    by_ending: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        by_ending.setdefault(file.suffix.lower(), []).append(file)
    for ending in (".tbk", ".tsq"):
        if len(by_ending[ending]) != 1:
            raise RecordingError(
                f"{path.name}: {len(by_ending[ending])} files end in {ending}, expected one: a block of TDT is one recording.",
                hint="put each block into a folder of its own",
            )
    size = by_ending[".tsq"][0].stat().st_size
    if size % TSQ_RECORD_BYTES:
        raise RecordingError(
            f"{by_ending['.tsq'][0].name}: the index of spikes ends in the middle of a record ({size} bytes).",
            hint="copy it again from where it was recorded",
        )
    link(by_ending[".tbk"][0], folder / "block.Tbk")
    link(by_ending[".tsq"][0], folder / "block.tsq")
    # The reader asks for these two, though signals are all they hold.
    for name in ("block.tev", "block.tdx"):
        (folder / name).write_bytes(b"\0")
    for file in by_ending.get(".sev", []):
        link(file, folder / file.name)
    return [{"dirname": str(folder / "block.Tbk")}]


# -- what they call a unit -----------------------------------------------------------------------------------------------


def _names(reader: Any) -> list[str]:
    return [str(name) for name in reader.header["spike_channels"]["name"]]


def _by_id(reader: Any) -> list[Channel]:
    """`ch1#2`; number 0 holds what was not sorted, 255 what was called noise."""
    ids = [str(key) for key in reader.header["spike_channels"]["id"]]
    return [Channel(key, _sorted_as(key)) for key in ids]


def _by_name(reader: Any) -> list[Channel]:
    return [Channel(name, _sorted_as(name)) for name in _names(reader)]


def _sorted_as(key: str) -> str:
    number = key.rpartition("#")[2]
    return {"0": "unsorted", "255": "noise"}.get(number, "")


def _nex_channels(reader: Any) -> list[Channel]:
    names = _names(reader)
    ids = [str(key) for key in reader.header["spike_channels"]["id"]]
    # Names repeat in some files, ids never do.
    keys = names if all(names) and len(set(names)) == len(names) else ids
    marks = ["waveforms of another unit" if n.removesuffix("_wf") in set(names) - {n} else "" for n in names]
    return [Channel(key, mark) for key, mark in zip(keys, marks, strict=True)]


def _neuralynx_channels(reader: Any) -> list[Channel]:
    """`TT1#3`: the file and the number of the unit; the wires of a tetrode have the same spikes, of which one copy is enough."""
    found = []
    for wire, number in reader.internal_unit_ids:
        file = Path(reader.nse_ntt_filenames[wire]).stem
        found.append(Channel(f"{file}#{number}", "unsorted" if int(number) == 0 else ""))
    return found


def _tdt_channels(reader: Any) -> list[Channel]:
    found = []
    for row in range(len(_names(reader))):
        store, channel, code = reader.internal_unit_ids[row]
        mark = {0: "unsorted", 31: "outliers"}.get(int(code), "")
        found.append(Channel(f"{store.decode('ascii', 'replace')}/ch{channel}#{code}", mark))
    return found


SYSTEMS = (
    System("Plexon (.plx)", "PlexonRawIO", _begins(b"PLEX"), _as("session.plx", progress_bar=False), _by_id),
    System("NeuroExplorer (.nex)", "NeuroExplorerRawIO", _begins(b"NEX1"), _as("session.nex"), _nex_channels),
    System(
        "Blackrock (.nev)", "BlackrockRawIO", _begins(b"NEURALEV", b"BREVENTS"), _as("session.nev"), _by_name, states_length=False,
    ),
    System("Spike2 (.smr)", "Spike2RawIO", _is_spike2, _stage_spike2, _by_id),
    System("Neuralynx (.nse, .ntt)", "NeuralynxRawIO", _is_neuralynx, _stage_neuralynx, _neuralynx_channels, states_length=False),
    System("Open Ephys (.spikes)", "OpenEphysRawIO", _is_open_ephys, _stage_open_ephys, _by_name, states_length=False),
    System("TDT (a folder with .tbk and .tsq)", "TdtRawIO", _is_tdt, _stage_tdt, _tdt_channels),
)  # fmt: skip


def spike_seconds(reader: Any, segment: int, row: int) -> NDArray[np.float64]:
    """The spikes of one channel in one segment, in seconds."""
    if type(reader).__name__ == "OpenEphysRawIO":
        # Left to itself this reader takes the first sample for a second, and finds nothing.
        stamps = reader.get_spike_timestamps(0, segment, row, t_start=0.0, t_stop=1e10)
    else:
        stamps = reader.get_spike_timestamps(block_index=0, seg_index=segment, spike_channel_index=row)
    return np.asarray(reader.rescale_spike_timestamp(stamps, dtype="float64"), dtype=np.float64)
