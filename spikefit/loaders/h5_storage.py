"""Where the bytes of an HDF5 dataset are, looked at before any of them is read.

A virtual dataset whose source is missing reads as zeros; external raw storage turns the bytes of any file into numbers; a
file of a few bytes can declare terabytes; a filter that is not installed is reported as a missing folder.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from spikefit.errors import RecordingError
from spikefit.loaders.raw import number_of_bytes

if TYPE_CHECKING:
    from spikefit.loaders.h5 import H5Reader

# Below this, a dataset may be as sparse as it likes: nobody runs out of memory.
SMALL_BYTES = 64 * 2**20
MAX_ASSEMBLY_DEPTH = 8
_FILTERS = {
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}


def check_storage(reader: H5Reader, dataset: h5py.Dataset, depth: int = MAX_ASSEMBLY_DEPTH) -> int:
    """Refuse a dataset that is stored elsewhere, declares too much, or needs a filter that is not installed.

    Args:
        reader: the open file.
        dataset: the dataset; nothing of it is read.
        depth: how often a dataset may be assembled from another that is itself assembled.

    Returns:
        How many bytes the file holds of it.

    Raises:
        RecordingError: saying which.
    """
    where, file = str(dataset.name), reader.path.name
    limits = reader.options.limits
    with reader.guarded(where):
        external = dataset.external
        sources = dataset.virtual_sources() if dataset.is_virtual else []
        declared = int(dataset.size or 0) * int(dataset.dtype.itemsize)
        stored = int(dataset.id.get_storage_size())
        creation = dataset.id.get_create_plist()
        filters = [creation.get_filter(k)[0] for k in range(creation.get_nfilters())]
    for name, *_ in external or []:
        shown = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        reader.refuse_other_file(where, shown, "stored in")
    for source in sources:
        if source.file_name != ".":
            reader.refuse_other_file(where, source.file_name, "assembled from")
            stored = declared
            continue
        part = reader.node("/" + source.dset_name.lstrip("/")) if depth else None
        if not isinstance(part, h5py.Dataset):
            raise RecordingError(
                f"{file}: {where} is assembled from {source.dset_name!r}, which is not there.",
                hint="the data were left behind: find the file they are in",
            )
        stored += check_storage(reader, part, depth - 1)
    if declared > limits.max_read_bytes:
        raise RecordingError(
            f"{file}: {where} declares {number_of_bytes(declared)}, more than the limit of "
            f"{number_of_bytes(limits.max_read_bytes)}.",
            hint="raise max_read_bytes in the section `checks` of the config if this is right",
        )
    if not external and declared > SMALL_BYTES and declared > limits.max_expansion * stored:
        raise RecordingError(
            f"{file}: {where} declares {number_of_bytes(declared)} but the file holds only {number_of_bytes(stored)} of it.",
            hint="the file is damaged or was never filled; raise max_expansion in the section `checks` of the config "
            "if this is right",
        )
    for code in filters:
        _need_filter(code, where, file)
    # Only an h5py built against HDF5 1.12.3 or later can list chunks; the wheels on PyPI all are.
    # Chunks that claim to be of no size at all sum up to nothing stored, and HDF5 crashes on them all the same.
    if filters and hasattr(dataset.id, "chunk_iter"):
        _check_chunks(reader, dataset, len(filters))
    return stored


def check_text_lengths(reader: H5Reader, dataset: h5py.Dataset) -> None:
    """Refuse texts that claim to be longer than the file; HDF5 makes room for them before it looks.

    Each text of variable length is stored as its length (4 bytes), the place of its heap (8) and a number (4).

    Raises:
        RecordingError: saying which dataset.
    """
    where, file = str(dataset.name), reader.path
    with reader.guarded(where):
        info = h5py.check_string_dtype(dataset.dtype)
        place = dataset.id.get_offset()
        n_texts = int(dataset.size or 0)
        if info is None or info.length is not None or place is None or not n_texts:
            return
        with file.open("rb") as content:
            content.seek(place)
            stored = content.read(16 * n_texts)
    lengths = np.frombuffer(stored[: len(stored) // 16 * 16], dtype=[("length", "<u4"), ("rest", "V12")])["length"]
    if np.any(lengths > file.stat().st_size):
        raise RecordingError(
            f"{file.name}: {where} holds texts longer than the file.",
            hint="copy the file again from where it was recorded",
        )


def _check_chunks(reader: H5Reader, dataset: h5py.Dataset, n_filters: int) -> None:
    """Refuse chunks of no bytes, or beyond the end of the file; the checksum filter of HDF5 crashes on them."""
    where = str(dataset.name)
    end = reader.path.stat().st_size
    bad: list[int] = []

    def look(chunk: Any) -> None:
        inside = chunk.size > 4 and chunk.byte_offset is not None and chunk.byte_offset + chunk.size <= end
        if not inside or chunk.filter_mask >> n_filters:
            bad.append(1)

    with reader.guarded(where):
        dataset.id.chunk_iter(look)
    if bad:
        raise RecordingError(
            f"{reader.path.name}: {where} has {len(bad)} damaged chunks.",
            hint="copy the file again from where it was recorded",
        )


def _need_filter(code: int, where: str, file: str) -> None:
    if h5py.h5z.filter_avail(code):
        return
    # The package of filters that h5py recommends is used where somebody installed it; nothing else is looked for.
    if importlib.util.find_spec("hdf5plugin") is not None:
        importlib.import_module("hdf5plugin")
        if h5py.h5z.filter_avail(code):
            return
    raise RecordingError(
        f"{file}: {where} is compressed with {_FILTERS.get(code, 'a filter')} (HDF5 filter {code}), which is not installed.",
        hint="run `pip install hdf5plugin`, then try again",
    )
