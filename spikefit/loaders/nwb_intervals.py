"""Epochs, trials and other intervals of NWB files."""

from __future__ import annotations

import itertools

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.intervals import Intervals
from spikefit.loaders.h5 import H5_FAULTS, H5Reader
from spikefit.loaders.nwb_columns import column_values, row_ends

# Columns whose text names an interval; `tags` may hold several per interval.
LABEL_COLUMNS = ("tags", "label", "labels", "epoch_name", "name", "trial_type", "condition", "state", "state_name")
# Tables with more different labels than this are described by numbers, not by names.
MAX_LABELS = 50


def read_epochs(reader: H5Reader, warnings: list[str]) -> dict[str, Intervals]:
    """Named intervals: epochs by their tags, every other table by its name, and by `table/label` where it has labels.

    A table that cannot be read costs a warning, not the recording.
    """
    epochs: dict[str, Intervals] = {}
    for table in _tables(reader):
        name = str(table.name).rsplit("/", 1)[-1]
        if name == "invalid_times":
            continue
        try:
            rows, labels = _read(reader, table)
        except RecordingError as fault:
            warnings.append(f"the intervals in {table.name} were not read: {fault.message}")
            continue
        if not len(rows):
            continue
        named = {
            label: rows[[label in row for row in labels]]
            for label in dict.fromkeys(itertools.chain.from_iterable(labels))
        }
        if name == "epochs" and named:
            epochs.update(named)
            continue
        epochs[name] = rows
        if len(named) <= MAX_LABELS:
            epochs.update({f"{name}/{label}": part for label, part in named.items()})
    return epochs


def read_invalid_times(reader: H5Reader, warnings: list[str]) -> Intervals:
    """Times that were recorded but must not be used; shape (n, 2)."""
    for place in ("/intervals/invalid_times", "/invalid_times"):
        table = reader.group(place)
        if table is not None:
            rows, _ = _read(reader, table)
            good = np.isfinite(rows).all(axis=1) & (rows[:, 1] > rows[:, 0])
            if not good.all():
                warnings.append(f"{int((~good).sum())} invalid times do not run forward in time and were not used.")
            return rows[good]
    return np.empty((0, 2))


def _tables(reader: H5Reader) -> list[h5py.Group]:
    intervals = reader.group("/intervals")
    places = [] if intervals is None else [(intervals, name) for name in reader.names(intervals)]
    processing = reader.group("/processing")
    for module in [] if processing is None else reader.names(processing):
        inside = reader.group(module, processing)
        if inside is not None:
            places += [(inside, name) for name in reader.names(inside)]
    tables = []
    for parent, name in places:
        table = reader.group(name, parent)
        if table is None:
            continue
        is_intervals = reader.attribute_text(table, "neurodata_type") == "TimeIntervals" or parent is intervals
        if is_intervals and reader.node("start_time", table) is not None:
            tables.append(table)
    return tables


def _read(reader: H5Reader, table: h5py.Group) -> tuple[Intervals, list[list[str]]]:
    """Intervals of a table, and the labels of each."""
    ends: list[NDArray[np.float64]] = []
    for column in ("start_time", "stop_time"):
        dataset = reader.dataset(column, table)
        if dataset is None:
            raise RecordingError(
                f"{reader.path.name}: {table.name} has no column {column}.", hint="write the table again with pynwb"
            )
        ends.append(reader.numbers(dataset, expected="times in seconds").astype(np.float64).ravel())
    start, stop = ends
    if start.size != stop.size:
        raise RecordingError(
            f"{reader.path.name}: {table.name} has {start.size} starts and {stop.size} stops.",
            hint="write the table again with pynwb",
        )
    for column in LABEL_COLUMNS:
        labels = _labels(reader, table, column, start.size)
        if labels is not None:
            return np.stack([start, stop], axis=1), labels
    return np.stack([start, stop], axis=1), [[] for _ in range(start.size)]


def _labels(reader: H5Reader, table: h5py.Group, column: str, n_rows: int) -> list[list[str]] | None:
    try:
        node = reader.node(column, table)
        if not isinstance(node, h5py.Dataset) or h5py.check_string_dtype(node.dtype) is None:
            return None
        if reader.node(f"{column}_index", table) is None:
            values = column_values(reader, table, column, n_rows)
            return None if values is None else [[text] if text else [] for text in map(str, values)]
        texts = reader.texts(node)
        ends = row_ends(reader, table, column, n_rows, len(texts))
    except (RecordingError, *H5_FAULTS):
        return None
    starts = [0, *ends[:-1]]
    return [[text for text in texts[int(a) : int(b)] if text] for a, b in zip(starts, ends, strict=True)]
