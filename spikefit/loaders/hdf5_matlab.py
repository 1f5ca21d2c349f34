"""MATLAB 7.3 files, which are HDF5: a cell array with the spike times of one unit in each cell."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.h5 import H5Reader
from spikefit.loaders.hdf5_names import PER_UNIT_GROUPS, TIMES, UNIT_NAMES, first_dataset
from spikefit.loaders.raw import RawRecording, from_trains, unique_ids


def cell_array(reader: H5Reader, group: h5py.Group) -> RawRecording | None:
    """`times` or `spikes`, a cell array of vectors, alone or as a field of a struct."""
    wanted = dict.fromkeys((*TIMES, *PER_UNIT_GROUPS))
    members = [name for name in reader.names(group) if name.lower() in wanted]
    for name in members:
        cells = reader.node(name, group)
        if isinstance(cells, h5py.Dataset) and _is_cell(reader, cells):
            trains = _vectors(reader, cells)
            if trains is None:
                continue
            warnings: list[str] = []
            names = _names(reader, group, len(trains))
            ids = unique_ids(names if names is not None else [str(k + 1) for k in range(len(trains))], warnings)
            return from_trains(trains, ids, format="hdf5", where=str(cells.name), warnings=warnings)
    return None


def _is_cell(reader: H5Reader, dataset: h5py.Dataset) -> bool:
    is_reference = h5py.check_ref_dtype(dataset.dtype) is h5py.Reference
    return is_reference and reader.attribute_text(dataset, "MATLAB_class") in ("cell", None)


def _vectors(reader: H5Reader, cells: h5py.Dataset) -> list[NDArray[np.float64]] | None:
    """The numeric vectors in a cell array; None where the cells hold something else."""
    trains = []
    for reference in reader.references(cells).ravel():
        if not reference:
            trains.append(np.empty(0))
            continue
        cell = reader.referred(reference, str(cells.name))
        if not isinstance(cell, h5py.Dataset) or cell.dtype.kind not in "fiu":
            return None
        # MATLAB writes the size of an empty array in place of its values.
        if reader.attribute_number(cell, "MATLAB_empty"):
            trains.append(np.empty(0))
            continue
        values = reader.numbers(cell, expected="spike times")
        if values.ndim > 1 and sorted(values.shape)[-1] != values.size:
            raise RecordingError(
                f"{reader.path.name}: a cell of {cells.name} has shape {values.shape}, expected a vector of spike times.",
                hint="put one vector of times in each cell",
            )
        trains.append(values.astype(np.float64).ravel())
    return trains


def _names(reader: H5Reader, group: h5py.Group, n_units: int) -> list[str] | None:
    """Names of the units, from a numeric array beside the times (`UID`, `cluID`) or a cell array of texts."""
    column = first_dataset(reader, group, (*UNIT_NAMES, "UID", "cluID", "cluster_id", "id"))
    if column is None or column.size != n_units:
        return None
    if column.dtype.kind in "fiu":
        return [f"{value:g}" for value in reader.numbers(column).ravel()]
    if h5py.check_ref_dtype(column.dtype) is not h5py.Reference:
        return None
    names = []
    for reference in reader.references(column).ravel():
        text = reader.referred(reference, str(column.name))
        if not isinstance(text, h5py.Dataset) or text.dtype.kind not in "ui":
            return None
        names.append("".join(chr(int(code)) for code in reader.numbers(text).ravel()))
    return names
