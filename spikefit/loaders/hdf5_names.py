"""Names that labs give to the parts of a recording in plain HDF5 files, and looking for them."""

from __future__ import annotations

from typing import Any

import h5py

from spikefit.loaders.h5 import H5Reader

TIMES = ("times", "spike_times", "spike_times_s", "spiketimes", "timestamps", "spike_time", "t")
UNITS = (
    "unit", "units", "unit_ids", "unit_id", "spike_clusters", "clusters", "cluster", "cluster_ids", "neuron", "neurons",
    "neuron_ids", "node_ids", "gids", "senders", "sender", "ids", "spike_units",
)  # fmt: skip
UNIT_NAMES = ("unit_names", "names", "unit_name", "labels", "unit_labels", "unit_ids", "cluster_names")
INDEX = ("spike_times_index", "times_index", "index", "unit_index", "offsets")
PER_UNIT_GROUPS = (
    "spike_times",
    "spikes",
    "spiketrains",
    "spike_trains",
    "trains",
    "units",
    "neurons",
    "cells",
    "times",
)


def first_dataset(
    reader: H5Reader, group: h5py.Group, names: tuple[str, ...], *, other_than: h5py.Dataset | None = None
) -> h5py.Dataset | None:
    """The first of some members that is a dataset."""
    for name in names:
        node = reader.node(name, group)
        if isinstance(node, h5py.Dataset) and (other_than is None or node.name != other_than.name):
            return node
    return None


def time_unit_of(reader: H5Reader, dataset: h5py.Dataset) -> str | None:
    """The unit of time that a dataset's attributes state, or None."""
    for name in ("time_unit", "unit", "units"):
        text = reader.attribute_text(dataset, name)
        if text is not None:
            return text
    return None


def first_text(reader: H5Reader, node: Any, names: tuple[str, ...]) -> str | None:
    """The first of some attributes that is there, as text."""
    for name in names:
        text = reader.attribute_text(node, name)
        if text is not None:
            return text
    return None


def first_number(reader: H5Reader, node: Any, names: tuple[str, ...]) -> float | None:
    """The first of some attributes that is there, as a number."""
    for name in names:
        number = reader.attribute_number(node, name)
        if number is not None:
            return number
    return None
