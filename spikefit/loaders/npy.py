"""NumPy's own files, read without unpickling anything and never larger than they are."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.columns import from_columns
from spikefit.loaders.raw import (
    RawRecording,
    ReadLimits,
    ReadOptions,
    damaged,
    from_trains,
    number_of_bytes,
    unique_ids,
)

SMALL_BYTES = 64 * 2**20

# What NumPy raises on a header that is damaged; it is a text of Python's, taken to pieces but never run.
_HEADER_FAULTS = (ValueError, TypeError, SyntaxError, EOFError, UnicodeDecodeError, tokenize.TokenError)


def recognise(path: Path, head: bytes) -> bool:
    """Whether a file is an archive of NumPy arrays."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return b".npy" in head
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read spike times from an npz file: flat, ragged or as counts, or one array per unit.

    Raises:
        RecordingError: if it is damaged, holds Python objects, or is laid out in no known way.
    """
    arrays = read_npz(path, options.limits)
    found = _spike_interface(arrays, path) or from_columns(arrays, path, "npz")
    if found is not None:
        return found
    if arrays and all(values.ndim == 1 and values.dtype.kind in "fiu" for values in arrays.values()):
        warnings: list[str] = []
        ids = unique_ids(list(arrays), warnings)
        return from_trains(list(arrays.values()), ids, format="npz", where="the arrays", warnings=warnings)
    listed = ", ".join(f"{name} {values.shape}" for name, values in list(arrays.items())[:8]) or "nothing"
    raise RecordingError(
        f"{path.name}: an npz file without spike times in a layout that is known (it holds {listed}).",
        hint="save one array of times per unit, or `times` and `unit` with one entry per spike",
    )


def read_npz(path: Path, limits: ReadLimits) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file by name; no member is unpacked beyond what its size and the limits allow.

    Raises:
        RecordingError: if it is damaged, too large, or holds Python objects.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
            # What the members claim to take up in the file is no better known than what they claim to unpack to.
            packed = path.stat().st_size
            if any(member.compress_size > packed for member in archive.infolist()):
                raise zipfile.BadZipFile("a member is larger than the file")
            if total > limits.max_read_bytes or (total > SMALL_BYTES and total > limits.max_expansion * packed):
                raise RecordingError(
                    f"{path.name}: {number_of_bytes(packed)} that unpack to {number_of_bytes(total)}, more than the limit.",
                    hint="raise max_read_bytes or max_expansion in the section `checks` of the config if this is right",
                )
            for member in archive.infolist():
                with archive.open(member) as file:
                    content = file.read(member.file_size + 1)
                name = member.filename.removesuffix(".npy")
                arrays[name] = read_array(io.BytesIO(content), len(content), path, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as fault:
        raise damaged(path, "", fault) from fault
    return arrays


def read_npy(path: Path, limits: ReadLimits) -> NDArray[Any]:
    """The array in an npy file.

    Raises:
        RecordingError: if it is damaged, too large, or holds Python objects.
    """
    size = path.stat().st_size
    if size > limits.max_read_bytes:
        raise RecordingError(
            f"{path.name}: {number_of_bytes(size)}, more than the limit of {number_of_bytes(limits.max_read_bytes)}.",
            hint="raise max_read_bytes in the section `checks` of the config if this is right",
        )
    try:
        with path.open("rb") as file:
            return read_array(file, size, path, "")
    except OSError as fault:
        raise damaged(path, "", fault) from fault


def read_array(file: IO[bytes], size: int, path: Path, where: str) -> NDArray[Any]:
    """The array that starts at the beginning of an open file of a known size.

    Raises:
        RecordingError: if the header declares another size than the file has, or the array holds Python objects.
    """
    place = f" {where}" if where else ""
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file, max_header_size=10_000)
    except (*_HEADER_FAULTS, MemoryError, RecursionError) as fault:
        raise damaged(path, where, fault) from fault
    if dtype.hasobject:
        raise RecordingError(
            f"{path.name}:{place} holds Python objects, which are never read.",
            hint="save arrays of numbers (dtype float64)",
        )
    declared, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != held or any(n < 0 for n in shape):
        raise RecordingError(
            f"{path.name}:{place} declares {declared} bytes and holds {held}.",
            hint="it was cut short or damaged: copy it again",
        )
    values = np.frombuffer(file.read(declared), dtype=dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _spike_interface(arrays: dict[str, NDArray[Any]], path: Path) -> RawRecording | None:
    """The npz files of SpikeInterface: samples and labels per segment."""
    needed = {"unit_ids", "sampling_frequency", "spike_indexes_seg0", "spike_labels_seg0"}
    if not needed <= arrays.keys():
        return None
    if "spike_indexes_seg1" in arrays:
        raise RecordingError(
            f"{path.name}: the sorting has several segments, each with a clock of its own.",
            hint="save each segment to its own file",
        )
    rate = arrays["sampling_frequency"].ravel()
    samples, labels = arrays["spike_indexes_seg0"].ravel(), arrays["spike_labels_seg0"].ravel()
    if rate.size != 1 or not float(rate[0]) > 0 or samples.size != labels.size:
        raise RecordingError(
            f"{path.name}: the sorting does not fit together.", hint="save it again with SpikeInterface"
        )
    ids = arrays["unit_ids"].ravel()
    warnings: list[str] = []
    return from_trains(
        [samples[labels == unit] for unit in ids],
        unique_ids([str(unit) for unit in ids], warnings),
        format="npz",
        where="spike_indexes_seg0",
        time_unit=f"samples@{float(rate[0])!r}",
        unit_intervals=[np.array([[0.0, np.inf]])],
        warnings=warnings,
    )
