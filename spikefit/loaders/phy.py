"""Folders as Kilosort and Phy write them: spike times in samples, and the cluster of each spike.

`params.py` is a Python file; the one number that is needed is looked for in its text, and nothing in it is ever run.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.npy import read_npy
from spikefit.loaders.raw import NOT_A_NEURON, RawRecording, ReadOptions, damaged, from_labels

_SAMPLE_RATE = re.compile(r"^\s*sample_rate\s*=\s*([0-9][0-9_.eE+-]*)\s*(?:#.*)?$", re.MULTILINE)
LABELS = ("cluster_group.tsv", "cluster_info.tsv", "cluster_KSLabel.tsv", "cluster_groups.csv")
MAX_TEXT_BYTES = 50 * 2**20


def recognise(path: Path, head: bytes) -> bool:
    """Whether a folder holds the files of Phy."""
    return path.is_dir() and (path / "spike_times.npy").is_file() and _clusters_file(path) is not None


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read a folder of Kilosort or Phy; clusters labelled `noise` are marked, so that they are left out unless asked for.

    Raises:
        RecordingError: if its files do not fit together, or the sampling rate is not to be found.
    """
    clusters_file = _clusters_file(path)
    if clusters_file is None or not (path / "spike_times.npy").is_file():
        raise RecordingError(
            f"{path.name}: not a folder of Kilosort or Phy (spike_times.npy or spike_clusters.npy is missing).",
            hint="pass the folder that holds them",
        )
    samples = read_npy(path / "spike_times.npy", options.limits).ravel()
    clusters = read_npy(clusters_file, options.limits).ravel()
    if samples.size != clusters.size:
        raise RecordingError(
            f"{path.name}: {samples.size} spike times and {clusters.size} clusters, expected one cluster per spike.",
            hint="copy the folder again, or export it again",
        )
    if samples.dtype.kind not in "fiu" or clusters.dtype.kind not in "iu":
        raise RecordingError(
            f"{path.name}: spike_times.npy holds {samples.dtype} and {clusters_file.name} {clusters.dtype}, expected numbers.",
            hint="export the folder again",
        )
    present, rows = np.unique(clusters, return_inverse=True)
    times, offsets = from_labels(samples, rows, present.size)
    columns = _columns(path, present)
    warnings = []
    group = columns.get("group")
    if group is not None:
        n_multi = int(sum(text == "mua" for text in group))
        if n_multi:
            warnings.append(
                f"{n_multi} of {present.size} clusters are labelled mua (several neurons); "
                "leave them out with --units \"group == 'good'\"."
            )
        noise = np.array(["noise" if text == "noise" else "" for text in group], dtype=object)
        if any(noise):
            columns[NOT_A_NEURON] = noise
    warnings.append(
        "the folder does not say when the recording ended: its end is taken from the last spike; pass --t-stop if you know better."
    )
    return RawRecording(
        times,
        offsets,
        tuple(str(int(cluster)) for cluster in present),
        format="phy",
        where="spike_times.npy",
        time_unit=f"samples@{_sample_rate(path)!r}",
        # The clock starts with the recording; where it stops, only the spikes tell.
        unit_intervals=[np.array([[0.0, np.inf]])],
        unit_columns=columns,
        warnings=warnings,
    )


def _clusters_file(path: Path) -> Path | None:
    # Phy keeps the clusters as a person left them in the first; the second is the sorter's own.
    for name in ("spike_clusters.npy", "spike_templates.npy"):
        if (path / name).is_file():
            return path / name
    return None


def _sample_rate(path: Path) -> float:
    file = path / "params.py"
    text = _text(file) if file.is_file() else ""
    match = _SAMPLE_RATE.search(text)
    try:
        rate = float(match[1]) if match else math.nan
    except ValueError:
        rate = math.nan
    if not 0 < rate < 1e9:
        raise RecordingError(
            f"{path.name}: params.py {'states no sample_rate' if text else 'is not there'}, so samples cannot be turned into seconds.",
            hint="write the line `sample_rate = 30000.` (with the rate in Hz) into params.py",
        )
    return rate


def _columns(path: Path, clusters: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What the tables of the folder say of each cluster, as unit columns."""
    columns: dict[str, NDArray[Any]] = {}
    known = {int(cluster): row for row, cluster in enumerate(clusters)}
    files = [path / name for name in LABELS] + sorted(path.glob("cluster_*.tsv"))
    for file in dict.fromkeys(file for file in files if file.is_file()):
        lines = _text(file).splitlines()
        if not lines:
            continue
        table = csv.DictReader(lines, delimiter="\t" if "\t" in lines[0] else ",")
        for entry in table:
            identity = entry.get("cluster_id") or entry.get("id")
            if identity is None or not identity.strip().isdigit() or int(identity) not in known:
                continue
            for key, value in entry.items():
                if key in (None, "cluster_id", "id") or not isinstance(value, str):
                    continue
                column = columns.setdefault(key, np.full(clusters.size, "", dtype=object))
                column[known[int(identity)]] = value.strip()
    return {key: _as_numbers(column) for key, column in columns.items()}


def _as_numbers(column: NDArray[Any]) -> NDArray[Any]:
    try:
        return np.array([float(text) if text else math.nan for text in column])
    except ValueError:
        return column


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise RecordingError(f"{file.name}: far too large for a table of clusters.", hint="is it another file?")
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        raise damaged(file, "", fault) from fault
