"""NWB files (version 2, and spike times of version 1) through h5py.

h5py opens a file in a tenth of the time that pynwb needs to be imported, reads files whose extensions are not installed,
and one bulk read of `spike_times` is far faster than one per unit. All checks of the content are ours: neither
library minds an index that falls, NaN, or unsorted times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError, did_you_mean
from spikefit.intervals import Intervals
from spikefit.loaders.h5 import H5_FAULTS, H5Reader, opened
from spikefit.loaders.nwb_columns import column_values, has_column, referenced_text, row_ends, simple_columns
from spikefit.loaders.nwb_intervals import read_epochs, read_invalid_times
from spikefit.loaders.nwb_one import has_unit_times, read_unit_times
from spikefit.loaders.raw import RawRecording, ReadOptions, SourceFile, unique_ids

# Columns that may hold the names by which the lab knows its units, the likeliest first.
NAME_COLUMNS = (
    "unit_name", "unit_names", "name", "label", "unit_label", "neuron_name", "cell_name", "unit_id", "original_cluster_id",
    "cluster_id", "cluster_name", "cluster_label",
)  # fmt: skip


def recognise(reader: H5Reader) -> bool:
    """Whether an open HDF5 file is NWB: version 2 says so in an attribute, version 1 in a dataset."""
    return reader.has_attribute(reader.file, "nwb_version") or isinstance(reader.node("nwb_version"), h5py.Dataset)


def read(path: SourceFile, options: ReadOptions) -> RawRecording:
    """Read spike times, observed intervals, epochs and unit columns of an NWB file.

    Raises:
        RecordingError: if there is no units table, it holds no spike times, or its index is broken.
        UsageError: if `options.units_table` is not a units table.
    """
    with opened(path, options) as reader:
        table = _units_table(reader)
        if table is None:
            if has_unit_times(reader):
                return read_unit_times(reader)
            raise RecordingError(
                f"{path.name}: the file has no units table, so no sorted spikes (it holds {reader.listing(8)}).",
                hint="save the sorted units to the file, or point at another table with --units-table",
            )
        return _read_table(reader, table)


def _units_table(reader: H5Reader) -> h5py.Group | None:
    wanted = reader.options.units_table
    if wanted is not None:
        table = reader.group(wanted)
        if table is None or not has_column(reader, table, "spike_times"):
            raise UsageError(
                f"{reader.path.name}: there is no units table at {wanted!r}.",
                hint=did_you_mean(wanted, [t.name for t in _all_tables(reader)]),
            )
        return table
    root = reader.group("/units")
    if root is not None:
        return root
    tables = _all_tables(reader)
    if len(tables) > 1:
        raise RecordingError(
            f"{reader.path.name}: there are {len(tables)} units tables ({', '.join(t.name for t in tables)}).",
            hint=f"choose one with --units-table {tables[0].name}",
        )
    return tables[0] if tables else None


def _all_tables(reader: H5Reader) -> list[h5py.Group]:
    """Units tables at the root, in processing modules, acquisition, analysis and scratch."""
    tables = []
    root = reader.group("/units")
    if root is not None:
        tables.append(root)
    places = [reader.group(place) for place in ("/acquisition", "/analysis", "/scratch")]
    processing = reader.group("/processing")
    if processing is not None:
        places += [reader.group(module, processing) for module in reader.names(processing)]
    for place in places:
        if place is None:
            continue
        for name in reader.names(place):
            child = reader.group(name, place)
            if child is not None and reader.attribute_text(child, "neurodata_type") == "Units":
                tables.append(child)
    return tables


def _read_table(reader: H5Reader, table: h5py.Group) -> RawRecording:
    file = reader.path.name
    warnings: list[str] = []
    ours = [place for place in reader.left_out if place.startswith(f"{table.name}/") and "waveform" not in place]
    if ours:
        warnings.append(f"columns that cannot be read safely were left out: {', '.join(ours[:6])}.")
    times_set = reader.dataset("spike_times", table)
    if times_set is None:
        raise RecordingError(
            f"{file}: {table.name} has no column spike_times (it has {', '.join(reader.names(table)[:12]) or 'no columns'}).",
            hint="save the spike times of the sorted units to the file",
        )
    with reader.guarded(times_set.name):
        if times_set.shape is not None and len(times_set.shape) != 1:
            raise RecordingError(
                f"{file}: {times_set.name} has shape {times_set.shape}, expected one dimension, unit after unit.",
                hint="write it as a ragged column with an index",
            )
        stored = times_set.dtype
    times = reader.numbers(times_set, expected="spike times in seconds")
    n_rows = _n_rows(reader, table)
    ends = row_ends(reader, table, "spike_times", n_rows, times.size)
    if ends.size and int(ends[-1]) < times.size:
        warnings.append(f"{times.size - int(ends[-1])} spike times at the end of {times_set.name} belong to no unit.")
        times = times[: int(ends[-1])]
    ids = _numbers_as_ids(reader, table, n_rows)
    columns = simple_columns(reader, table, n_rows)
    unit_ids = _unit_ids(ids, columns, warnings)
    if list(unit_ids) != ids:
        columns["nwb_id"] = np.array([int(i) if i.lstrip("-").isdigit() else -1 for i in ids], dtype=np.int64)
    _add_places(reader, table, columns, n_rows)
    return RawRecording(
        times=np.asarray(times, dtype=np.float64),
        offsets=np.concatenate([[0], ends]).astype(np.int64),
        unit_ids=unit_ids,
        format="nwb",
        where=str(times_set.name),
        unit_intervals=_observed(reader, table, n_rows, warnings),
        invalid_intervals=read_invalid_times(reader, warnings),
        epochs=read_epochs(reader, warnings),
        unit_columns=columns,
        stored_digits=stored.name if stored.kind == "f" and stored.itemsize < 8 else None,
        warnings=warnings,
        session=_session(reader),
    )


# What is known of the session, by the name it has in an NWB file.
SESSION = {
    "session_start_time": "/session_start_time",
    "session_id": "/general/session_id",
    "session_description": "/session_description",
    "subject_id": "/general/subject/subject_id",
    "species": "/general/subject/species",
    "sex": "/general/subject/sex",
    "age": "/general/subject/age",
}


def _session(reader: H5Reader) -> dict[str, str]:
    """What the file says of the session; what cannot be read is left out, it is no part of the spikes."""
    found: dict[str, str] = {}
    for name, place in SESSION.items():
        try:
            dataset = reader.node(place)
            if isinstance(dataset, h5py.Dataset) and dataset.shape in ((), (1,)):
                (text,) = reader.texts(dataset)
                if text.strip():
                    found[name] = text.strip()
        except (RecordingError, ValueError, *H5_FAULTS):
            continue
    return found


def _n_rows(reader: H5Reader, table: h5py.Group) -> int:
    for name in ("id", "spike_times_index"):
        column = reader.dataset(name, table)
        if column is not None:
            with reader.guarded(column.name):
                return int(column.shape[0]) if column.shape else 0
    return 1


def _numbers_as_ids(reader: H5Reader, table: h5py.Group, n_rows: int) -> list[str]:
    values = column_values(reader, table, "id", n_rows)
    if values is None:
        return [str(row) for row in range(n_rows)]
    return [str(int(v)) if isinstance(v, np.floating) and float(v).is_integer() else str(v) for v in values]


def _unit_ids(ids: list[str], columns: dict[str, NDArray[Any]], warnings: list[str]) -> tuple[str, ...]:
    """Names that the lab gave, where a column holds one for each unit; else the ids of the table."""
    for column in NAME_COLUMNS:
        values = columns.get(column)
        if values is None or values.dtype.kind not in "OiuSU":
            continue
        names = [str(value).strip() for value in values]
        if all(names) and len(set(names)) == len(names):
            return tuple(names)
    return unique_ids(ids, warnings)


def _observed(reader: H5Reader, table: h5py.Group, n_rows: int, warnings: list[str]) -> list[Intervals] | None:
    column = reader.dataset("obs_intervals", table)
    if column is None:
        return None
    rows = reader.numbers(column, expected="intervals in seconds")
    if rows.ndim != 2 or rows.shape[1] != 2:
        if rows.size:
            warnings.append(f"{column.name} has shape {rows.shape}, expected (n, 2), and was not used.")
        return None
    ends = row_ends(reader, table, "obs_intervals", n_rows, len(rows))
    return list(np.split(rows.astype(np.float64), ends))[:n_rows]


def _add_places(reader: H5Reader, table: h5py.Group, columns: dict[str, NDArray[Any]], n_rows: int) -> None:
    """Where each unit was recorded, from its electrode group or its first electrode, where no column says it."""
    if "location" in columns:
        return
    found = referenced_text(reader, table, "electrode_group", "location", n_rows)
    if found is None:
        found = _location_of_first_electrode(reader, table, n_rows)
    if found is not None:
        columns["location"] = found


def _location_of_first_electrode(reader: H5Reader, table: h5py.Group, n_rows: int) -> NDArray[Any] | None:
    electrodes = reader.group("/general/extracellular_ephys/electrodes")
    rows_set = reader.node("electrodes", table)
    if electrodes is None or not isinstance(rows_set, h5py.Dataset) or not rows_set.shape:
        return None
    try:
        rows = reader.numbers(rows_set).astype(np.int64).ravel()
        ends = row_ends(reader, table, "electrodes", n_rows, rows.size)
    except RecordingError:
        return None
    place = reader.node("location", electrodes)
    if not isinstance(place, h5py.Dataset) or not place.shape:
        return None
    places = column_values(reader, electrodes, "location", int(place.shape[0]))
    if places is None:
        return None
    return np.array([_first(places, rows[a:b]) for a, b in _pairs(ends)], dtype=object)


def _first(places: NDArray[Any], rows: NDArray[np.int64]) -> str:
    return str(places[rows[0]]) if rows.size and 0 <= rows[0] < places.size else ""


def _pairs(ends: Sequence[int] | NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
