"""The layouts of plain HDF5 files: functions of one group that give a recording, or None where it is another layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError, did_you_mean
from spikefit.loaders.h5 import H5Reader
from spikefit.loaders.hdf5_counts import counts_matrix, counts_of, sparse_triplets
from spikefit.loaders.hdf5_matlab import cell_array
from spikefit.loaders.hdf5_names import INDEX, PER_UNIT_GROUPS, TIMES, UNIT_NAMES, UNITS, first_dataset, time_unit_of
from spikefit.loaders.nwb_columns import row_ends
from spikefit.loaders.raw import RawRecording, from_labels, from_trains, unique_ids
from spikefit.units_of_time import parse_time_s

ROLES = (
    *("times", "units", "index", "unit_names", "counts", "intervals", "observed", "observed_index", "bin_width"),
    "time_unit",
)

Layout = Callable[[H5Reader, h5py.Group], RawRecording | None]


def one_dataset_per_unit(reader: H5Reader, group: h5py.Group) -> RawRecording | None:
    """`/spike_times/<unit>`, or `/units/<unit>/spike_times`: a group whose members are trains."""
    own_name = str(group.name).rsplit("/", 1)[-1].lower()
    wanted = reader.options.units_table
    if own_name not in PER_UNIT_GROUPS and (wanted is None or str(group.name) != "/" + wanted.strip("/")):
        return None
    trains: list[NDArray[np.float64]] = []
    names: list[str] = []
    units: set[str] = set()
    stored: set[str] = set()
    for name in reader.names(group):
        node = reader.node(name, group)
        if isinstance(node, h5py.Group):
            if _looks_flat(reader, node):
                return None
            node = first_dataset(reader, node, TIMES)
        if not isinstance(node, h5py.Dataset) or (node.shape is not None and len(node.shape) != 1):
            return None
        if node.dtype.kind not in "fiu" and not names:
            return None
        trains.append(reader.numbers(node, expected="spike times").astype(np.float64))
        names.append(name)
        stored.add(str(node.dtype))
        unit = time_unit_of(reader, node)
        if unit is not None:
            units.add(unit)
    if not trains or _looks_flat(reader, group):
        return None
    if len(units) > 1:
        raise RecordingError(
            f"{reader.path.name}: the units in {group.name} are in different units of time ({', '.join(sorted(units))}).",
            hint="write them all in seconds",
        )
    # Unless told to keep the order of writing, HDF5 lists names as text; a lab counts unit2 before unit10.
    order = list(range(len(names)))
    if not _keeps_order(reader, group):
        order.sort(key=lambda k: natural_order(names[k]))
    return from_trains(
        [trains[k] for k in order],
        [names[k] for k in order],
        format="hdf5",
        where=str(group.name),
        time_unit=units.pop() if units else None,
        stored_digits=_digits(stored),
    )


def flat_times_and_units(reader: H5Reader, group: h5py.Group) -> RawRecording | None:
    """`times` and `unit`, one of each per spike in any order, with or without `unit_names`."""
    times = first_dataset(reader, group, TIMES)
    units = first_dataset(reader, group, UNITS)
    if times is None or units is None or times.shape is None or units.shape != times.shape or len(times.shape) != 1:
        return None
    names = first_dataset(reader, group, UNIT_NAMES, other_than=units)
    return _flat(reader, group, times, units, names)


def check_lengths(reader: H5Reader, group: h5py.Group) -> None:
    """Where nothing else fits: refuse times and units that would be a list of spikes, were there as many of each.

    Raises:
        RecordingError: saying how many there are.
    """
    times, units = first_dataset(reader, group, TIMES), first_dataset(reader, group, UNITS)
    if times is None or units is None or times.shape is None or units.shape is None:
        return
    if len(times.shape) == len(units.shape) == 1 and times.shape != units.shape:
        raise RecordingError(
            f"{reader.path.name}: {times.name} has {times.shape[0]} times and {units.name} {units.shape[0]} units, expected one unit per time.",
            hint="write both again from the same spikes",
        )


def ragged_with_index(reader: H5Reader, group: h5py.Group) -> RawRecording | None:
    """`spike_times` and where each unit's end in it, as NWB keeps them."""
    times = first_dataset(reader, group, TIMES)
    index = first_dataset(reader, group, INDEX)
    if times is None or index is None or index.shape is None or len(index.shape) != 1:
        return None
    names = first_dataset(reader, group, (*UNIT_NAMES, "id"))
    return _ragged(reader, times, index, names)


LAYOUTS: tuple[Layout, ...] = (
    flat_times_and_units,
    ragged_with_index,
    counts_matrix,
    sparse_triplets,
    cell_array,
    one_dataset_per_unit,
)


def from_mapping(reader: H5Reader, mapping: Mapping[str, Any]) -> RawRecording:
    """Read the datasets that a mapping of roles to paths names.

    Raises:
        UsageError: for a role that is not known, or a path that does not exist.
    """
    for role in mapping:
        if role not in ROLES:
            raise UsageError(f"mapping: the key {role!r} is not known.", hint=did_you_mean(str(role), ROLES))
    found = {}
    for role, place in mapping.items():
        if role in ("time_unit", "bin_width"):
            continue
        node = reader.dataset(str(place))
        if node is None:
            raise UsageError(
                f"mapping: {role}: {reader.path.name} has no dataset {place!r}.", hint=f"it holds {reader.listing()}"
            )
        found[role] = node
    if "counts" in found:
        try:
            width = parse_time_s(mapping["bin_width"]) if "bin_width" in mapping else None
        except ValueError as fault:
            raise UsageError(f"mapping: bin_width: {fault}.", hint="write a time such as 10ms") from fault
        return counts_of(reader, reader.file, found["counts"], width)
    if "times" not in found:
        raise UsageError(
            "mapping: the key `times` is missing.", hint="say which dataset holds the spike times, or the `counts`"
        )
    times = found["times"]
    if "units" in found:
        raw = _flat(reader, reader.file, times, found["units"], found.get("unit_names"))
    elif "index" in found:
        raw = _ragged(reader, times, found["index"], found.get("unit_names"))
    else:
        raise UsageError(
            "mapping: `times` needs `units` (a unit per spike) or `index` (where each unit ends).",
            hint="name one of the two",
        )
    if ("observed" in found) != ("observed_index" in found):
        raise UsageError(
            "mapping: `observed` and `observed_index` go together.",
            hint="the first holds when each unit was observed, unit after unit, the second where each unit's rows end",
        )
    if "observed" in found:
        raw.unit_intervals = intervals_by_unit(reader, found["observed"], found["observed_index"], raw.n_units)
    elif "intervals" in found:
        raw.unit_intervals = [reader.numbers(found["intervals"]).astype(np.float64).reshape(-1, 2)]
    if mapping.get("time_unit") is not None:
        raw.time_unit = str(mapping["time_unit"])
    return raw


def intervals_by_unit(
    reader: H5Reader, observed: h5py.Dataset, index: h5py.Dataset, n_units: int
) -> list[NDArray[np.float64]]:
    """When each unit was observed, from rows of two times, unit after unit, and where each unit's rows end.

    Raises:
        RecordingError: if the two do not fit each other or the units.
    """
    rows = reader.numbers(observed, expected="intervals of two times each").astype(np.float64)
    ends = reader.numbers(index, expected="whole numbers").astype(np.int64).ravel()
    fits = rows.ndim == 2 and rows.shape[1] == 2 and ends.size == n_units
    if not fits or np.any(np.diff(ends, prepend=0) < 0) or (ends.size and ends[-1] > len(rows)):
        raise RecordingError(
            f"{reader.path.name}: {observed.name} {rows.shape} and {index.name} {ends.shape} do not say when each of {n_units} units was "
            "observed.",
            hint="write one row of start and stop per interval, unit after unit, and for each unit where its rows end",
        )
    return list(np.split(rows, ends))[:n_units]


def _flat(
    reader: H5Reader, group: h5py.Group, times: h5py.Dataset, units: h5py.Dataset, names: h5py.Dataset | None
) -> RawRecording:
    file = reader.path.name
    values = reader.numbers(times, expected="spike times").ravel()
    if units.shape != times.shape:
        raise RecordingError(
            f"{file}: {times.name} has {values.size} spikes and {units.name} has shape {units.shape}, expected one unit per spike.",
            hint="write both again from the same spikes",
        )
    warnings: list[str] = []
    labels = reader.numbers(units).ravel() if units.dtype.kind in "fiu" else None
    if (
        labels is not None
        and labels.dtype.kind == "f"
        and np.isfinite(labels).all()
        and np.array_equal(labels, np.rint(labels))
    ):
        labels = labels.astype(np.int64)  # MATLAB writes every number as a float
    if labels is not None and labels.dtype.kind in "iu":
        known = None if names is None else reader.texts(names)
        if known is not None and labels.size and (int(labels.min()) < 0 or int(labels.max()) >= len(known)):
            bad = (labels < 0) | (labels >= len(known))
            raise RecordingError(
                f"{file}: {units.name} must hold rows of {names.name if names is not None else ''} (0 to {len(known) - 1}), but "
                f"{int(bad.sum())} spikes have others (first: spike {int(np.argmax(bad))}, {int(labels[np.argmax(bad)])}).",
                hint="count units from 0, or leave the names out",
            )
        if known is not None:
            rows, ids = labels.astype(np.int64), unique_ids(known, warnings)
        else:
            present, rows = np.unique(labels, return_inverse=True)
            ids = tuple(str(int(label)) for label in present)
    else:
        texts, rows = np.unique(np.array(reader.texts(units)), return_inverse=True)
        ids = tuple(str(text) for text in texts)
    flat, offsets = from_labels(values, rows, len(ids))
    return RawRecording(
        flat,
        offsets,
        ids,
        format="hdf5",
        where=str(times.name),
        time_unit=time_unit_of(reader, times),
        stored_digits=_digits({str(times.dtype)}),
        warnings=warnings,
    )


def _ragged(reader: H5Reader, times: h5py.Dataset, index: h5py.Dataset, names: h5py.Dataset | None) -> RawRecording:
    values = reader.numbers(times, expected="spike times").ravel()
    n_units = int(index.shape[0])
    ends = reader.numbers(index, expected="whole numbers").ravel()
    # Both habits occur: where each unit ends, and the same with a leading zero.
    leading_zero = ends.size > 1 and ends[0] == 0 and (names is None or names.shape == (n_units - 1,))
    if leading_zero and (names is not None or ends[-1] == values.size):
        offsets = _checked_offsets(reader, index, ends, values.size)
    else:
        parent = index.parent
        short = str(index.name).rsplit("/", 1)[-1].removesuffix("_index")
        own = str(index.name).endswith("_index")
        row = row_ends(reader, parent, short, n_units, values.size) if own else None
        offsets = (
            np.concatenate([[0], row]).astype(np.int64)
            if row is not None
            else _checked_offsets(reader, index, np.concatenate([[0], ends]), values.size)
        )
    warnings: list[str] = []
    known = reader.texts(names) if names is not None and names.shape == (offsets.size - 1,) else []
    ids = unique_ids(known or [str(k) for k in range(offsets.size - 1)], warnings)
    return RawRecording(
        values[: offsets[-1]].astype(np.float64),
        offsets,
        ids,
        format="hdf5",
        where=str(times.name),
        time_unit=time_unit_of(reader, times),
        stored_digits=_digits({str(times.dtype)}),
        warnings=warnings,
    )


def _checked_offsets(reader: H5Reader, index: h5py.Dataset, offsets: NDArray[Any], n_values: int) -> NDArray[np.int64]:
    whole = offsets.astype(np.int64)
    if np.any(np.diff(whole) < 0) or whole[0] < 0 or whole[-1] > n_values:
        raise RecordingError(
            f"{reader.path.name}: {index.name} does not divide {n_values} spikes (it must rise from 0 to {n_values}).",
            hint="write it again from its source",
        )
    return whole


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A sort key under which `unit2` comes before `unit10`."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for char in name + "\0":
        if char.isascii() and char.isdigit():
            digits += char
            continue
        if digits:
            parts.append((0, int(digits[:300]), digits))
            digits = ""
        parts.append((1, 0, char))
    return parts


def _keeps_order(reader: H5Reader, group: h5py.Group) -> bool:
    with reader.guarded(str(group.name)):
        return bool(group.id.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED)


def _looks_flat(reader: H5Reader, group: h5py.Group) -> bool:
    """Whether members that could be trains are named like columns of one table."""
    names = {name.lower() for name in reader.names(group)}
    return bool(names & set(TIMES)) and bool(names & (set(UNITS) | set(INDEX)))


def _digits(stored: set[str]) -> str | None:
    small = sorted(name for name in stored if name.strip("<>") in ("f4", "f2", "float32", "float16"))
    return "float32" if small else None
