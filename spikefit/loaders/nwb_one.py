"""Spike times of NWB version 1, which kept them per cell in processing modules."""

from __future__ import annotations

import h5py
import numpy as np

from spikefit.errors import RecordingError
from spikefit.loaders.h5 import H5Reader, as_text
from spikefit.loaders.raw import RawRecording, from_trains


def has_unit_times(reader: H5Reader) -> bool:
    """Whether a file holds a `UnitTimes` interface of version 1."""
    return bool(_interfaces(reader))


def read_unit_times(reader: H5Reader) -> RawRecording:
    """Read `processing/<module>/UnitTimes/<cell>/times`.

    Raises:
        RecordingError: if several modules hold units, or none holds times.
    """
    interfaces = _interfaces(reader)
    wanted = reader.options.units_table
    if wanted is not None:
        interfaces = [i for i in interfaces if i.name.startswith("/" + wanted.strip("/"))]
    if len(interfaces) != 1:
        raise RecordingError(
            f"{reader.path.name}: {len(interfaces)} modules hold units ({', '.join(i.name for i in interfaces)}).",
            hint="choose one with --units-table",
        )
    (interface,) = interfaces
    trains, names, sources = [], [], []
    for name in reader.names(interface):
        cell = reader.group(name, interface)
        times = None if cell is None else reader.dataset("times", cell)
        if cell is None or times is None:
            continue
        trains.append(reader.numbers(times, expected="spike times in seconds").astype(np.float64).ravel())
        names.append(name)
        sources.append(_text(reader, cell, "source"))
    if not trains:
        raise RecordingError(
            f"{reader.path.name}: {interface.name} holds no cell with times.", hint="convert the file to NWB 2"
        )
    return from_trains(
        trains,
        names,
        format="nwb",
        where=f"{interface.name}/<unit>/times",
        unit_columns={"source": np.array(sources, dtype=object)} if any(sources) else {},
    )


def _interfaces(reader: H5Reader) -> list[h5py.Group]:
    processing = reader.group("/processing")
    if processing is None:
        return []
    found = [reader.group(f"{module}/UnitTimes", processing) for module in reader.names(processing)]
    return [interface for interface in found if interface is not None]


def _text(reader: H5Reader, group: h5py.Group, name: str) -> str:
    node = reader.node(name, group)
    if not isinstance(node, h5py.Dataset) or node.shape not in ((), (1,)):
        return ""
    texts = reader.texts(node)
    return as_text(texts[0]) if texts else ""
