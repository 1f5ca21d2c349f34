"""Columns of NWB tables: ragged ones, and those with one value per row."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.h5 import H5_FAULTS, H5Reader

# Columns that hold anything but a property of the unit, some of them enormous.
NOT_PROPERTIES = {"id", "spike_times", "obs_intervals", "waveforms", "waveform_mean", "waveform_sd", "electrodes"}

# Names that NWB keeps for columns of a type of its own; see `spikefit.exporters.nwb_session`.
KEPT_BY_NWB = {"electrode_group", "electrodes", "waveform_mean", "waveform_sd", "waveforms"}


def has_column(reader: H5Reader, table: h5py.Group, name: str) -> bool:
    """Whether a table has a column of that name."""
    return reader.node(name, table) is not None


def row_ends(reader: H5Reader, table: h5py.Group, name: str, n_rows: int, n_values: int) -> NDArray[np.int64]:
    """Where in a ragged column each row ends; shape (n_rows,).

    NWB stores the running total of values per row in the smallest unsigned type that holds it, so differences wrap round
    on a damaged index; all checks are made in int64.

    Raises:
        RecordingError: if the index does not divide the values among the rows.
    """
    index = reader.dataset(f"{name}_index", table)
    file = reader.path.name
    where = f"{table.name}/{name}_index"
    if index is None:
        if n_rows == 1:
            return np.array([n_values], dtype=np.int64)
        if n_rows == n_values:
            return np.arange(1, n_rows + 1, dtype=np.int64)
        raise RecordingError(
            f"{file}: {table.name}/{name} has {n_values} values for {n_rows} rows and no index says which belong to which.",
            hint="write the table again with pynwb or MatNWB",
        )
    with reader.guarded(where):
        kind = index.dtype.kind
    if kind == "O":
        return _region_ends(reader, index, where)
    ends = reader.numbers(index, expected="whole numbers").ravel()
    if ends.dtype.kind not in "iu":
        whole = ends.astype(np.float64)
        if not (np.isfinite(whole).all() and np.array_equal(whole, np.rint(whole))):
            raise RecordingError(f"{file}: {where} holds fractions, expected whole numbers.", hint=_REWRITE)
    if ends.size and float(ends.max()) > np.iinfo(np.int64).max:
        raise RecordingError(f"{file}: {where} runs past the end ({ends.max():g} of {n_values}).", hint=_REWRITE)
    ends = ends.astype(np.int64)
    if ends.size != n_rows:
        raise RecordingError(f"{file}: {where} has {ends.size} rows, expected {n_rows}, one per id.", hint=_REWRITE)
    falls = np.flatnonzero(np.diff(ends, prepend=0) < 0)
    if falls.size:
        row = int(falls[0])
        raise RecordingError(
            f"{file}: {where} must never fall, but does in {falls.size} rows (first: row {row}, from "
            f"{int(ends[row - 1]) if row else 0} to {int(ends[row])}).",
            hint=_REWRITE,
        )
    if ends.size and ends[-1] > n_values:
        raise RecordingError(
            f"{file}: {where} runs past the end of {name} ({int(ends[-1])} of {n_values} values).",
            hint="the file is damaged or was not written to the end: copy it again, or write it again",
        )
    return ends


_REWRITE = "the table is damaged: write it again from its source"


def _region_ends(reader: H5Reader, index: h5py.Dataset, where: str) -> NDArray[np.int64]:
    """Row ends from region references, as the first NWB 2 files wrote them."""
    references = reader.references(index).ravel()
    ends = np.zeros(references.size, dtype=np.int64)
    total = 0
    with reader.guarded(where):
        for row, reference in enumerate(references):
            if reference:
                target = reader.file[reference]
                region = h5py.h5r.get_region(reference, target.id)
                low, high = region.get_select_bounds() if region.get_select_npoints() else ((total,), (total - 1,))
                if low[0] != total:
                    raise RecordingError(
                        f"{reader.path.name}: {where} row {row} starts at value {low[0]}, expected {total}.",
                        hint=_REWRITE,
                    )
                total = int(high[0]) + 1
            ends[row] = total
    return ends


def simple_columns(reader: H5Reader, table: h5py.Group, n_rows: int) -> dict[str, NDArray[Any]]:
    """Columns with one number, truth value or text per row, in the order of the table; others are passed over."""
    members = set(reader.names(table))
    names = [name for name in reader.names(table) if not name.endswith("_index")]
    order = reader.attribute(table, "colnames")
    if order is not None:
        wanted = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in np.ravel(order)]
        names.sort(key=lambda name: wanted.index(name) if name in wanted else len(wanted))
    columns: dict[str, NDArray[Any]] = {}
    for name in names:
        if name in NOT_PROPERTIES or f"{name}_index" in members:
            continue
        values = column_values(reader, table, name, n_rows)
        if values is not None:
            columns[_own_name(name, members)] = values
    return columns


def _own_name(name: str, members: set[str]) -> str:
    """`unit_electrode_group`, as our own copies call a column whose name NWB keeps for itself, is `electrode_group` again."""
    own = name.removeprefix("unit_")
    return own if own != name and own in KEPT_BY_NWB and own not in members else name


def column_values(reader: H5Reader, table: h5py.Group, name: str, n_rows: int) -> NDArray[Any] | None:
    """One number, truth value or text per row; None where the column holds something else.

    A column of references to groups (`electrode_group`) becomes the names of those groups. A damaged column is passed over:
    spikes without their location are still spikes.
    """
    try:
        node = reader.node(name, table)
    except RecordingError:
        return None
    if not isinstance(node, h5py.Dataset):
        return None
    try:
        if node.shape != (n_rows,):
            return None
        if node.dtype.kind in "fiu":
            return reader.numbers(node)
        if node.dtype.kind == "b":
            return reader.numbers(node).astype(bool)
        if h5py.check_ref_dtype(node.dtype) is h5py.Reference:
            return np.array([_target_name(reader, ref) for ref in reader.references(node)], dtype=object)
        if h5py.check_enum_dtype(node.dtype) or node.dtype.kind == "V":
            return None
        if h5py.check_string_dtype(node.dtype) is not None:
            return np.array(reader.texts(node), dtype=object)
    except (RecordingError, *H5_FAULTS):
        return None
    return None


def _target_name(reader: H5Reader, reference: Any) -> str:
    name = reader.file[reference].name if reference else ""
    return str(name).rsplit("/", 1)[-1]


def referenced_text(reader: H5Reader, table: h5py.Group, name: str, attribute: str, n_rows: int) -> NDArray[Any] | None:
    """For a column of references, the text attribute of each thing referred to; None where there is none."""
    try:
        node = reader.dataset(name, table)
        if node is None or node.shape != (n_rows,) or h5py.check_ref_dtype(node.dtype) is not h5py.Reference:
            return None
        found = [
            reader.attribute_text(reader.file[ref], attribute) or "" if ref else "" for ref in reader.references(node)
        ]
    except (RecordingError, *H5_FAULTS):
        return None
    return np.array(found, dtype=object) if any(found) else None
