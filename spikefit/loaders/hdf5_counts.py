"""Layouts of plain HDF5 files that hold counts per bin instead of spike times."""

from __future__ import annotations

import h5py

from spikefit.loaders.binned import BIN_WIDTHS, from_counts, from_triplets
from spikefit.loaders.h5 import H5Reader
from spikefit.loaders.hdf5_names import UNIT_NAMES, UNITS, first_dataset, first_number
from spikefit.loaders.raw import RawRecording, unique_ids

COUNTS = ("counts", "spike_counts", "binned_spikes", "count", "spikes")
BINS = ("bin", "bins", "bin_index", "time_bin")


def counts_matrix(reader: H5Reader, group: h5py.Group) -> RawRecording | None:
    """`counts`, bins × units or trials × bins × units, with the bin width in an attribute or a dataset beside it."""
    counts = first_dataset(reader, group, COUNTS)
    if counts is None or counts.shape is None or len(counts.shape) not in (2, 3) or counts.dtype.kind not in "fiub":
        return None
    return counts_of(reader, group, counts, bin_width_of(reader, group, counts))


def sparse_triplets(reader: H5Reader, group: h5py.Group) -> RawRecording | None:
    """`bin`, `unit` and `count`: the bins that are not empty."""
    counts, bins, units = (first_dataset(reader, group, names) for names in (COUNTS, BINS, UNITS))
    if (
        counts is None
        or bins is None
        or units is None
        or any(d.shape is None or len(d.shape) != 1 for d in (counts, bins, units))
    ):
        return None
    return from_triplets(
        reader.numbers(bins),
        reader.numbers(units),
        reader.numbers(counts),
        bin_width_of(reader, group, counts),
        reader.path,
        str(counts.name),
        format_name="hdf5",
        unit_ids=_names(reader, group, units),
    )


def counts_of(reader: H5Reader, group: h5py.Group, counts: h5py.Dataset, bin_width_s: float | None) -> RawRecording:
    """The recording in a dataset of counts whose bin width is known."""
    start = first_number(reader, counts, ("t_start", "t_start_s")) or first_number(
        reader, reader.file, ("t_start", "t_start_s")
    )
    ids = _names(reader, group, counts)
    return from_counts(
        reader.numbers(counts, expected="counts of spikes"),
        bin_width_s,
        reader.path,
        str(counts.name),
        format_name="hdf5",
        unit_ids=ids if ids is not None and len(ids) in counts.shape[-2:] else None,
        t_start_s=start or 0.0,
    )


def bin_width_of(reader: H5Reader, group: h5py.Group, counts: h5py.Dataset) -> float | None:
    """The bin width in seconds, from an attribute of the counts, their group or the file, or from a dataset beside them."""
    for node in (counts, group, reader.file):
        for name, seconds in BIN_WIDTHS.items():
            number = reader.attribute_number(node, name)
            if number is not None:
                return number * seconds
    for name, seconds in BIN_WIDTHS.items():
        width = reader.node(name, group)
        if isinstance(width, h5py.Dataset) and width.size == 1 and width.dtype.kind in "fiu":
            return float(reader.numbers(width).ravel()[0]) * seconds
    return None


def _names(reader: H5Reader, group: h5py.Group, other_than: h5py.Dataset) -> tuple[str, ...] | None:
    names = first_dataset(reader, group, UNIT_NAMES, other_than=other_than)
    return None if names is None or names.shape is None else unique_ids(reader.texts(names), [])
