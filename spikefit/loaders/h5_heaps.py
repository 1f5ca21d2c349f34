"""A check that HDF5 itself leaves out: damaged heaps of texts send it into a loop that nothing can stop.

HDF5 keeps texts of variable length in "global heap collections". It walks through the objects of a collection by adding up
their sizes, and a size of zero keeps it in place for ever. So the sizes are added up here first.

Layout: HDF5 File Format Specification, version 3, III.E "Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from spikefit.errors import RecordingError
from spikefit.loaders.raw import SourceFile

SIGNATURE = b"GCOL\x01"
HEADER_BYTES = 16
OBJECT_HEADER_BYTES = 16
SMALLEST_COLLECTION = 4096
# Larger files hold raw data, and looking through all of it would take longer than reading the spikes.
LARGEST_FILE = 2**30


def check_heaps(path: Path) -> None:
    """Look through the global heaps of an HDF5 file.

    Raises:
        RecordingError: if one would keep HDF5 busy for ever.
    """
    size = path.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(SIGNATURE)
        while place >= 0:
            check_heap(lambda start, n: content[start : start + n], size, place, path)
            place = content.find(SIGNATURE, place + len(SIGNATURE))


def check_heap(read_at: Callable[[int, int], bytes], size: int, place: int, path: SourceFile) -> None:
    """Look through one heap.

    Args:
        read_at: gives so many bytes from a place in the file, fewer where it ends.
        size: of the file, in bytes.
        place: where the signature of the heap stands.
        path: the file.

    Raises:
        RecordingError: if it would keep HDF5 busy for ever.
    """
    if not _is_walkable(read_at, size, place):
        raise RecordingError(
            f"{path.name}: the texts stored {place} bytes into the file are damaged.",
            hint="copy it again from where it was recorded",
        )


def _is_walkable(read_at: Callable[[int, int], bytes], size: int, start: int) -> bool:
    """Whether adding up the sizes of the objects in a collection leads to its end."""
    if start + HEADER_BYTES > size:
        return True
    (length,) = struct.unpack("<Q", read_at(start + 8, 8))
    # Of another size it is no collection (the signature may stand in other data by chance), or HDF5 refuses it itself.
    if not SMALLEST_COLLECTION <= length <= size - start:
        return True
    place, end = start + HEADER_BYTES, start + length
    while place + OBJECT_HEADER_BYTES <= end:
        index, _, _, stored = struct.unpack("<HHIQ", read_at(place, OBJECT_HEADER_BYTES))
        # The last object, number 0, is the free space; its size includes its header.
        needed = stored if index == 0 else OBJECT_HEADER_BYTES + (stored + 7) // 8 * 8
        if needed == 0 or place + needed > end:
            return False
        place += needed
    return True
