"""Formats of recording systems that Neo's raw readers know: only spikes are read, signals are left on the disk.

The reader is chosen from the first bytes of the file. A new system is a new line in `SYSTEMS`.
"""

from __future__ import annotations

import importlib
import warnings as python_warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.errors import RecordingError
from spikefit.loaders.neo import with_trains
from spikefit.loaders.raw import NOT_A_NEURON, RawRecording, ReadOptions, number_of_bytes
from spikefit.loaders.segments import Segment, Train, from_segments


@dataclass(frozen=True)
class System:
    """A recording system.

    Attributes:
        name: as messages show it.
        signature: the first bytes of its files.
        reader: the class in `neo.rawio`.
        arguments: further arguments of the class.
        not_a_neuron: what a channel holds besides neurons, told from its name and id; empty text for neurons.
    """

    name: str
    signature: bytes
    reader: str
    arguments: dict[str, Any]
    not_a_neuron: Callable[[str, str, set[str]], str]


def _plexon_leftovers(name: str, channel_id: str, names: set[str]) -> str:
    return "unsorted" if channel_id.endswith("#0") else ""


def _nex_waveforms(name: str, channel_id: str, names: set[str]) -> str:
    return "waveforms of another unit" if name.removesuffix("_wf") in names - {name} else ""


SYSTEMS = (
    System("Plexon (.plx)", b"PLEX", "PlexonRawIO", {"progress_bar": False}, _plexon_leftovers),
    System("NeuroExplorer (.nex)", b"NEX1", "NeuroExplorerRawIO", {}, _nex_waveforms),
)


def recognise(path: Path, head: bytes) -> bool:
    """Whether the first bytes of a file are those of a system that is known."""
    return _system(head) is not None


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read the spikes of a recording system's own file.

    Raises:
        RecordingError: if it is of no system that is known, or cannot be read.
    """
    size = path.stat().st_size
    if size > options.limits.max_read_bytes:
        raise RecordingError(
            f"{path.name}: {number_of_bytes(size)}, more than the limit of {number_of_bytes(options.limits.max_read_bytes)}.",
            hint="raise max_read_bytes in the section `checks` of the config if this is right",
        )
    with path.open("rb") as file:
        system = _system(file.read(16))
    if system is None:
        known = ", ".join(known.name for known in SYSTEMS)
        raise RecordingError(
            f"{path.name}: not a file of a recording system that is known ({known}).", hint="leave --format out"
        )
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            segments, marks = _segments(path, system)
    except Exception as fault:  # Neo's readers raise whatever the code beneath them does
        reason = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise RecordingError(
            f"{path.name}: Neo could not read the file as {system.name} ({type(fault).__name__}: {reason}).",
            hint="the file is probably damaged: copy it again from where it was recorded",
        ) from fault
    raw = from_segments(with_trains(segments, path), path, "neo")
    if any(marks):
        raw.unit_columns[NOT_A_NEURON] = np.array(marks, dtype=object)
    return raw


def _system(head: bytes) -> System | None:
    return next((system for system in SYSTEMS if head.startswith(system.signature)), None)


def _segments(path: Path, system: System) -> tuple[list[Segment], list[str]]:
    reader = getattr(importlib.import_module("neo.rawio"), system.reader)(filename=str(path), **system.arguments)
    reader.parse_header()
    channels = reader.header["spike_channels"]
    names, ids = [str(name) for name in channels["name"]], [str(key) for key in channels["id"]]
    # Names repeat in some systems, ids never do.
    keys = names if all(names) and len(set(names)) == len(names) else ids
    marks = [system.not_a_neuron(name, key, set(names)) for name, key in zip(names, ids, strict=True)]
    segments = []
    for k in range(int(reader.header["nb_segment"][0])):
        start_s, stop_s = float(reader.segment_t_start(0, k)), float(reader.segment_t_stop(0, k))
        trains = []
        for row, key in enumerate(keys):
            stamps = reader.get_spike_timestamps(block_index=0, seg_index=k, spike_channel_index=row)
            times_s = np.asarray(reader.rescale_spike_timestamp(stamps, dtype="float64"), dtype=np.float64)
            trains.append(Train(key, times_s, start_s, stop_s))
        segments.append(Segment(trains))
    return segments, marks
