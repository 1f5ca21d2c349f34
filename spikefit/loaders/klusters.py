"""Klusters, KlustaKwik and NeuroScope: a text per shank with the samples of its spikes, and one with their clusters.

`base.clu.N` holds the number of clusters and then one cluster per spike, `base.res.N` one sample per spike; where `.res` is
missing, the last number of each line of `base.fet.N` is the sample. The sampling rate stands in `base.xml`, of which only that
number is looked for. Neo's own reader knows neither `.res` nor the rate, so these few lines of text are read here.

Source: http://klusters.sourceforge.net/UserManual/data-files.html
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.raw import (
    NOT_A_NEURON,
    RawRecording,
    ReadOptions,
    from_trains,
    read_head,
    refuse_much_text,
)

_NAME = re.compile(r"(?P<base>.+)\.(?P<kind>clu|res|fet)\.(?P<shank>\d{1,6})")
_RATE = re.compile(rb"<\s*samplingRate\s*>\s*([0-9][0-9.eE+]*)\s*<")
# What Klusters keeps in its first two clusters.
_LEFTOVERS = {0: "artefacts", 1: "unsorted"}
MAX_XML_BYTES = 2**20


def recognise(path: Path, head: bytes) -> bool:
    """Whether a folder, or the folder of a file that is named so, holds clusters and the times that belong to them."""
    return bool(_sessions(path))


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read the clusters of all shanks of a session; the first two of each shank are marked as no neurons.

    Raises:
        RecordingError: if there are several sessions, or the files of a shank do not fit together.
    """
    sessions = _sessions(path)
    if len(sessions) != 1:
        found = (
            f"sessions {', '.join(sorted(sessions)[:6])}" if sessions else "no .clu.N with a .res.N or .fet.N beside it"
        )
        raise RecordingError(
            f"{path.name}: {found}, expected the files of one session of Klusters.",
            hint="pass one of its .clu files, as in rat1.clu.1" if sessions else "pass the folder that holds them",
        )
    ((base, shanks),) = sessions.items()
    folder = path if path.is_dir() else path.parent
    trains: list[NDArray[np.float64]] = []
    ids: list[str] = []
    groups: list[int] = []
    marks: list[str] = []
    for shank in shanks:
        samples, clusters = _shank(folder, base, shank, options)
        for cluster in np.unique(clusters).tolist():
            trains.append(np.sort(samples[clusters == cluster]))
            ids.append(f"{shank}.{cluster}")
            groups.append(shank)
            marks.append(_LEFTOVERS.get(cluster, ""))
    raw = from_trains(
        trains,
        ids,
        format="klusters",
        where=f"{base}.clu.N",
        # The clock starts with the recording; where it stops, only the spikes tell.
        unit_intervals=[np.array([[0.0, np.inf]])],
        unit_columns={"shank": np.array(groups)},
    )
    raw.warnings.append(
        "the files do not say when the recording ended: its end is taken from the last spike; pass --t-stop if you know better."
    )
    rate_hz = _rate_hz(folder / f"{base}.xml")
    if rate_hz is None:
        raw.warnings.append(
            f"{base}.xml with the sampling rate is not there; pass --time-unit 20kHz, say, unless the times are seconds."
        )
    else:
        raw.time_unit = f"samples@{rate_hz!r}"
    if any(marks):
        raw.unit_columns[NOT_A_NEURON] = np.array(marks, dtype=object)
    return raw


def _sessions(path: Path) -> dict[str, list[int]]:
    """Shanks by session; of a single file, those of its own session."""
    if path.is_dir():
        wanted, folder = None, path
    else:
        match = _NAME.fullmatch(path.name)
        if match is None:
            return {}
        wanted, folder = match["base"], path.parent
    names = {file.name for file in folder.iterdir()}
    found: dict[str, list[int]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or match["kind"] != "clu" or (wanted is not None and match["base"] != wanted):
            continue
        if {f"{match['base']}.{kind}.{match['shank']}" for kind in ("res", "fet")} & names:
            found.setdefault(match["base"], []).append(int(match["shank"]))
    return {base: sorted(shanks) for base, shanks in found.items()}


def _shank(folder: Path, base: str, shank: int, options: ReadOptions) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Samples and clusters of the spikes of one shank."""
    clusters = _numbers(folder / f"{base}.clu.{shank}", options)
    times = folder / f"{base}.res.{shank}"
    if times.is_file():
        samples = _numbers(times, options)
    else:
        times = folder / f"{base}.fet.{shank}"
        rows = _lines(times, options)[1:]
        samples = _as_numbers([row.split()[-1] for row in rows], times)
    clusters = clusters[1:]
    if samples.size != clusters.size:
        raise RecordingError(
            f"{times.name} has {samples.size} spikes and {base}.clu.{shank} {clusters.size} clusters, expected one cluster per spike.",
            hint="copy both again; they belong together",
        )
    if not (
        np.isfinite(clusters).all() and np.array_equal(clusters, np.rint(clusters)) and (abs(clusters) < 2**31).all()
    ):
        raise RecordingError(f"{base}.clu.{shank}: clusters must be whole numbers.", hint="copy the file again")
    return samples, clusters.astype(np.int64)


def _numbers(file: Path, options: ReadOptions) -> NDArray[np.float64]:
    return _as_numbers(_lines(file, options), file)


def _lines(file: Path, options: ReadOptions) -> list[str]:
    refuse_much_text(file, options.limits)
    return [
        line for line in read_head(file, file.stat().st_size).decode("ascii", "replace").splitlines() if line.strip()
    ]


def _as_numbers(cells: list[str], file: Path) -> NDArray[np.float64]:
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        row = next(k for k, cell in enumerate(cells) if not _is_number(cell))
        raise RecordingError(
            f"{file.name}: {cells[row][:40]!r} stands where a number was expected (line {row + 1}).",
            hint="copy the file again",
        ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _rate_hz(file: Path) -> float | None:
    if not file.is_file():
        return None
    match = _RATE.search(read_head(file, MAX_XML_BYTES))
    try:
        rate_hz = float(match[1]) if match else 0.0
    except ValueError:
        rate_hz = 0.0
    return rate_hz if 0 < rate_hz < 1e9 else None
