"""BrainWare's F32 files: the spikes of one unit, sweep after sweep, as plain numbers of four bytes.

-2 begins a condition (its length in ms, how many parameters, the parameters), -1 a sweep, and its spikes follow in ms. Each sweep
has a clock of its own. Neo reads number by number; the tests hold this reader to the same spikes.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from spikefit.errors import RecordingError
from spikefit.loaders.raw import RawRecording, ReadOptions, number_of_bytes, read_head
from spikefit.loaders.segments import Segment, Train, from_segments

CONDITION, SWEEP = -2.0, -1.0


def recognise(path: Path, head: bytes) -> bool:
    """Whether the first numbers are those of a condition and its first sweep."""
    if path.is_dir() or len(head) < 12 or path.stat().st_size % 4:
        return False
    numbers = np.frombuffer(head[: len(head) // 4 * 4], dtype="<f4")
    n_parameters = float(numbers[2])
    if numbers[0] != CONDITION or not 0 < float(numbers[1]) < 1e9 or not n_parameters.is_integer():
        return False
    return 0 <= n_parameters < 200 and numbers.size > 3 + n_parameters and numbers[3 + int(n_parameters)] == SWEEP


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read the sweeps of a file as trials, one behind the other.

    Raises:
        RecordingError: if the numbers are none of BrainWare's.
    """
    size = path.stat().st_size
    # Each sweep becomes objects of many times its size.
    if size > options.limits.max_read_bytes / 32:
        raise RecordingError(
            f"{path.name}: {number_of_bytes(size)} are too much for such a file.", hint="is it damaged?"
        )
    numbers = np.frombuffer(read_head(path, size // 4 * 4), dtype="<f4").astype(np.float64)
    begins = np.flatnonzero((numbers == CONDITION) | (numbers == SWEEP))
    segments: list[Segment] = []
    length_s, behind = 0.0, 0
    for at, following in itertools.pairwise([*begins.tolist(), numbers.size]):
        if at < behind:
            continue  # a parameter that happens to be -1 or -2
        if numbers[at] == CONDITION:
            head = numbers[at + 1 : at + 3]
            if head.size < 2 or not (np.isfinite(head).all() and head[0] > 0 and 0 <= head[1] < 200):
                raise _broken(path, at)
            length_s, behind = float(head[0]) / 1e3, at + 3 + int(head[1])
            continue
        if not length_s:
            raise _broken(path, at)
        segments.append(Segment([Train("0", numbers[at + 1 : following] / 1e3, 0.0, length_s)]))
    if not segments:
        raise RecordingError(f"{path.name}: the file holds no sweep.", hint="copy it again from where it was recorded")
    return from_segments(segments, path, "brainware")


def _broken(path: Path, at: int) -> RecordingError:
    return RecordingError(
        f"{path.name}: the numbers {4 * at} bytes into the file are none of BrainWare's.",
        hint="copy it again from where it was recorded",
    )
