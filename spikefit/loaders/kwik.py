"""KlustaSuite's `.kwik` files, which are HDF5: samples and clusters of each group of channels.

Neo's reader of them needs a package that no longer installs, and refuses today's NumPy; the layout is plain enough to read.

Source: https://github.com/klusta-team/kwiklib/wiki/Kwik-format (version 2)
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.h5 import H5Reader, opened
from spikefit.loaders.raw import NOT_A_NEURON, RawRecording, ReadOptions, SourceFile, from_trains

# What the numbers of a cluster's group mean.
GROUPS = {0: "noise", 1: "mua", 2: "good", 3: "unsorted"}


def recognise(reader: H5Reader) -> bool:
    """Whether an open HDF5 file is laid out as KlustaSuite does."""
    return bool(_groups(reader)) and isinstance(reader.node("/recordings"), h5py.Group)


def read(path: SourceFile, options: ReadOptions) -> RawRecording:
    """Read the clusters of all groups of channels; noise and what was not sorted are marked as no neurons.

    Raises:
        RecordingError: if there are several recordings in the file, no sampling rate, or the datasets do not fit together.
    """
    with opened(path, options) as reader:
        trains: list[NDArray[np.float64]] = []
        ids: list[str] = []
        groups: list[str] = []
        recordings: set[int] = set()
        found = _groups(reader)
        for channels in found:
            samples, clusters, recording = _spikes(reader, channels)
            recordings |= set(np.unique(recording).tolist())
            for cluster in np.unique(clusters).tolist():
                trains.append(np.sort(samples[clusters == cluster]))
                ids.append(f"{channels}.{cluster}" if len(found) > 1 else str(cluster))
                groups.append(_group_of(reader, channels, cluster))
        if len(recordings) > 1:
            raise RecordingError(
                f"{path.name}: the spikes come from {len(recordings)} recordings, each with a clock of its own.",
                hint="write each recording to a file of its own",
            )
        raw = from_trains(
            trains,
            ids,
            format="kwik",
            where="/channel_groups/<n>/spikes",
            time_unit=f"samples@{_rate_hz(reader, min(recordings, default=0))!r}",
            unit_intervals=[np.array([[0.0, np.inf]])],
            unit_columns={"group": np.array(groups, dtype=object)},
        )
        raw.unit_columns[NOT_A_NEURON] = np.array(
            [g if g in ("noise", "unsorted") else "" for g in groups], dtype=object
        )
        raw.warnings.append(
            "the file does not say when the recording ended: its end is taken from the last spike; pass --t-stop if you know better."
        )
        return raw


def _groups(reader: H5Reader) -> list[str]:
    parent = reader.node("/channel_groups")
    if not isinstance(parent, h5py.Group):
        return []
    names = reader.names(parent)
    return [name for name in names if isinstance(reader.node(f"{name}/spikes/time_samples", parent), h5py.Dataset)]


def _spikes(reader: H5Reader, channels: str) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[Any]]:
    """Samples, clusters and recordings of the spikes of one group of channels."""
    where = f"/channel_groups/{channels}/spikes"
    columns: list[NDArray[Any]] = []
    for name in ("time_samples", "clusters/main", "recording"):
        dataset = reader.dataset(f"{where}/{name}")
        if dataset is None and name == "recording":
            columns.append(np.zeros(columns[0].size, dtype=np.int64))
            continue
        if dataset is None:
            raise RecordingError(f"{reader.path.name}: {where}/{name} is not there.", hint="was the file sorted?")
        columns.append(reader.numbers(dataset, expected="whole numbers").ravel())
    samples, clusters, recording = columns
    if not samples.size == clusters.size == recording.size:
        raise RecordingError(
            f"{reader.path.name}: {where} has {samples.size} times, {clusters.size} clusters and {recording.size} recordings, "
            "expected as many of each.",
            hint="copy the file again",
        )
    if clusters.dtype.kind not in "iu" or recording.dtype.kind not in "iu":
        raise RecordingError(f"{reader.path.name}: {where}/clusters/main holds fractions.", hint="copy the file again")
    fraction = reader.node(f"{where}/time_fractional")
    whole = samples.astype(np.float64)
    if isinstance(fraction, h5py.Dataset) and fraction.shape == samples.shape and fraction.dtype.kind in "iu":
        whole = whole + reader.numbers(fraction) / 256.0
    return whole, clusters, recording


def _group_of(reader: H5Reader, channels: str, cluster: int) -> str:
    node = reader.node(f"/channel_groups/{channels}/clusters/main/{cluster}")
    number = None if node is None else reader.attribute_number(node, "cluster_group")
    return GROUPS.get(3 if number is None else int(number), "unsorted")


def _rate_hz(reader: H5Reader, recording: int) -> float:
    for place in (f"/recordings/{recording}", "/application_data/spikedetekt"):
        node = reader.node(place)
        rate_hz = None if node is None else reader.attribute_number(node, "sample_rate")
        if rate_hz is not None and 0 < rate_hz < 1e9:
            return rate_hz
    raise RecordingError(
        f"{reader.path.name}: /recordings/{recording} states no sample_rate, so samples cannot be turned into seconds.",
        hint="write the attribute sample_rate (in Hz) to it",
    )
