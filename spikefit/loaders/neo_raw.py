"""Files of recording systems, through Neo's raw readers: only spikes are read, signals are left on the disk.

Which reader is decided from the content, in `spikefit.loaders.neo_systems`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import os
import tempfile
import warnings as python_warnings
from pathlib import Path

import numpy as np

from spikefit.errors import RecordingError
from spikefit.loaders.neo import with_trains
from spikefit.loaders.neo_systems import SYSTEMS, System, spike_seconds, system_of
from spikefit.loaders.raw import NOT_A_NEURON, RawRecording, ReadOptions, number_of_bytes, read_head
from spikefit.loaders.segments import Segment, Train, from_segments

HEAD_BYTES = 64


def recognise(path: Path, head: bytes) -> bool:
    """Whether a file or a folder is of a system that is known."""
    return system_of(path, head) is not None


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read the spikes of a recording system's own file or folder.

    Raises:
        RecordingError: if it is of no system that is known, or cannot be read.
    """
    system = system_of(path, b"" if path.is_dir() else read_head(path, HEAD_BYTES))
    if system is None:
        known = ", ".join(known.name for known in SYSTEMS)
        raise RecordingError(
            f"{path.name}: not a file of a recording system that is known ({known}).", hint="leave --format out"
        )
    _check_size(path, options)
    with tempfile.TemporaryDirectory(prefix="spikefit-") as folder:
        try:
            # Some of Neo's readers print; what stands on the screen is for our results.
            with python_warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                python_warnings.simplefilter("ignore")
                segments, marks, states_length = _segments(path, system, Path(folder))
        except RecordingError:
            raise
        except Exception as fault:  # Neo's readers raise whatever the code beneath them does
            reason = " ".join(str(fault).split()).replace(f"{folder}{os.sep}", "")[:200] or type(fault).__name__
            raise RecordingError(
                f"{path.name}: Neo could not read the file as {system.name} ({type(fault).__name__}: {reason}).",
                hint="the file is probably damaged: copy it again from where it was recorded",
            ) from fault
    raw = from_segments(with_trains(segments, path), path, "neo", states_length=states_length)
    if any(marks):
        raw.unit_columns[NOT_A_NEURON] = np.array(marks, dtype=object)
    return raw


def _check_size(path: Path, options: ReadOptions) -> None:
    limit = options.limits.max_read_bytes
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    # Signals are left where they are, however large.
    size = sum(
        file.stat().st_size for file in files if file.suffix.lower() not in (".sev", ".tev", ".continuous", ".ncs")
    )
    if size > limit:
        raise RecordingError(
            f"{path.name}: {number_of_bytes(size)}, more than the limit of {number_of_bytes(limit)}.",
            hint="raise max_read_bytes in the section `checks` of the config if this is right",
        )


def _segments(path: Path, system: System, folder: Path) -> tuple[list[Segment], list[str], bool]:
    """Segments with their trains, for each train what it holds besides a neuron, and whether starts and ends are known."""
    readers = []
    for arguments in system.stage(path, folder):
        reader = getattr(importlib.import_module("neo.rawio"), system.reader)(**arguments)
        reader.parse_header()
        readers.append(reader)
    n_segments = max(int(reader.header["nb_segment"][0]) for reader in readers)
    segments: list[Segment] = [Segment([]) for _ in range(n_segments)]
    marks: list[str] = []
    met: set[str] = set()
    for reader in readers:
        for row, channel in enumerate(system.channels(reader)):
            if channel.key in met:
                continue
            met.add(channel.key)
            marks.append(channel.not_a_neuron)
            for k, segment in enumerate(segments):
                segment.trains.append(Train(channel.key, spike_seconds(reader, k, row), 0.0, 0.0))
    states_length = system.states_length
    for k, segment in enumerate(segments):
        start_s, stop_s = math.nan, math.nan
        if system.states_length:
            start_s, stop_s = float(readers[0].segment_t_start(0, k)), float(readers[0].segment_t_stop(0, k))
        if not (math.isfinite(start_s) and math.isfinite(stop_s)):
            states_length = False
            filled = [train.times_s for train in segment.trains if train.times_s.size]
            start_s = float(min((times.min() for times in filled), default=0.0))
            stop_s = float(np.nextafter(max((times.max() for times in filled), default=0.0), np.inf))
        for train in segment.trains:
            train.start_s, train.stop_s = start_s, stop_s
    return segments, marks, states_length
