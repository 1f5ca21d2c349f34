"""Plain HDF5 files in the layouts that labs use; each layout is told by what the file holds.

A layout is a function that looks at one group and gives a recording, or None where the group is laid out otherwise; see
`spikefit.loaders.hdf5_layouts`. A mapping of roles to paths points at the data of any other file.
"""

from __future__ import annotations

import h5py
import numpy as np

from spikefit.errors import RecordingError, UsageError
from spikefit.intervals import Intervals
from spikefit.loaders.h5 import H5Reader, opened
from spikefit.loaders.hdf5_layouts import LAYOUTS, check_lengths, from_mapping, intervals_by_unit
from spikefit.loaders.hdf5_names import first_number, first_text
from spikefit.loaders.nwb_columns import column_values
from spikefit.loaders.raw import RawRecording, ReadOptions, SourceFile

# Groups looked at, from the root down; a file that hides its spikes deeper is pointed at with --units-table.
MAX_GROUPS = 200
MAX_DEPTH = 3
HOW_TO_POINT = (
    "pass --units-table GROUP if the spikes are in one of its groups, or name the datasets in the config: "
    "`recording: {mapping: {times: /a, units: /b}, time_unit: ms}`"
)


def recognise(reader: H5Reader) -> bool:
    """Whether this reader may try an open HDF5 file: always, after the formats that sign their files."""
    return True


def read(path: SourceFile, options: ReadOptions) -> RawRecording:
    """Read spike times of a plain HDF5 file, with start, end and epochs where it states them.

    Raises:
        RecordingError: if no layout, or more than one, fits; the message lists what was found.
        UsageError: if `options.units_table` does not exist.
    """
    with opened(path, options) as reader:
        raw = _find(reader)
        _add_time(reader, raw)
        return raw


def _find(reader: H5Reader) -> RawRecording:
    if reader.options.mapping:
        return from_mapping(reader, reader.options.mapping)
    wanted = reader.options.units_table
    if wanted is not None:
        group = reader.group(wanted)
        if group is None:
            raise UsageError(f"{reader.path.name}: there is no group {wanted!r}.", hint=f"it holds {reader.listing()}")
        found = _fitting(reader, [group])
    else:
        found = _fitting(reader, _groups(reader))
    if not found:
        for group in _groups(reader) if wanted is None else []:
            check_lengths(reader, group)
        raise RecordingError(
            f"{reader.path.name}: an HDF5 file, but not laid out in a way that is known; it holds {reader.listing()}.",
            hint=HOW_TO_POINT,
        )
    if len(found) > 1:
        places = ", ".join(str(raw.where) for raw in found[:6])
        raise RecordingError(
            f"{reader.path.name}: spikes were found in {len(found)} places ({places}).",
            hint="choose one with --units-table GROUP",
        )
    return found[0]


def _fitting(reader: H5Reader, groups: list[h5py.Group]) -> list[RawRecording]:
    found = []
    for group in groups:
        for layout in LAYOUTS:
            raw = layout(reader, group)
            if raw is not None:
                found.append(raw)
                break
        # What a group holds as a recording its sub-groups hold as parts of it.
        if found and group.name == "/":
            break
    return found


def _groups(reader: H5Reader) -> list[h5py.Group]:
    """The root and the groups below it, breadth first; links to other files are left alone here."""
    groups: list[h5py.Group] = [reader.file]
    level = [reader.file]
    for _ in range(MAX_DEPTH):
        below = []
        for group in level:
            for name in reader.names(group)[:MAX_GROUPS]:
                # Where MATLAB keeps what its cells point at, and what was measured beside the spikes.
                if name.startswith("#") or (name == "covariates" and group.name == "/"):
                    continue
                with reader.guarded(f"{group.name}/{name}"):
                    hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
                child = reader.node(name, group) if hard else None
                if isinstance(child, h5py.Group):
                    below.append(child)
                if len(groups) + len(below) >= MAX_GROUPS:
                    return groups + below
        groups += below
        level = below
    return groups


def _add_time(reader: H5Reader, raw: RawRecording) -> None:
    """Start, end, unit of time, observed intervals and epochs from the root of the file."""
    root = reader.file
    if raw.time_unit is None:
        raw.time_unit = first_text(reader, root, ("time_unit", "time_units", "unit", "units"))
    intervals = reader.node("/intervals")
    start = first_number(reader, root, ("t_start", "t_start_s", "start_time", "start"))
    stop = first_number(reader, root, ("t_stop", "t_stop_s", "stop_time", "stop", "t_end", "duration"))
    observed, ends = reader.node("/observed"), reader.node("/observed_index")
    if raw.unit_intervals is None and isinstance(observed, h5py.Dataset) and isinstance(ends, h5py.Dataset):
        raw.unit_intervals = intervals_by_unit(reader, observed, ends, raw.n_units)
    if raw.unit_intervals is None:
        if isinstance(intervals, h5py.Dataset):
            raw.unit_intervals = [_rows(reader, intervals)]
        elif start is not None or stop is not None:
            # One end alone still says something: the other is then taken from the spikes.
            raw.unit_intervals = [np.array([[-np.inf if start is None else start, np.inf if stop is None else stop]])]
    columns = reader.node("/unit_columns")
    if isinstance(columns, h5py.Group):
        for name in reader.names(columns):
            values = column_values(reader, columns, name, raw.n_units)
            if values is not None:
                raw.unit_columns[name] = values
    epochs = reader.node("/epochs")
    if isinstance(epochs, h5py.Group):
        for name in reader.names(epochs):
            child = reader.node(name, epochs)
            if isinstance(child, h5py.Dataset) and child.dtype.kind in "fiu":
                raw.epochs[name] = _rows(reader, child)


def _rows(reader: H5Reader, dataset: h5py.Dataset) -> Intervals:
    values = reader.numbers(dataset, expected="intervals of two times each").astype(np.float64)
    if values.size % 2 or (values.ndim == 2 and values.shape[1] != 2) or values.ndim > 2:
        raise RecordingError(
            f"{reader.path.name}: {dataset.name} has shape {values.shape}, expected (n, 2): start and stop of each interval.",
            hint="write it again with one row per interval",
        )
    return values.reshape(-1, 2)
