"""Zarr folders as HDF5 in memory, so that one reader of NWB serves both.

Only what may be read without running anything is copied: Zarr can store Python objects as pickles, and `hdmf_zarr` does so with
references, so arrays with any codec that is not known to hold plain numbers or texts are left alone. So are links to other files,
and arrays too large to be anything but signals.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spikefit.errors import RecordingError
from spikefit.loaders.raw import ReadOptions, damaged, number_of_bytes

HOW_TO_INSTALL = 'run `pip install "spikefit[zarr]"`, or convert the recording to NWB in HDF5'
# Codecs of Zarr 2 and 3 whose output is numbers or texts.
SAFE_CODECS = frozenset(
    {
        *(
            "blosc",
            "zstd",
            "zlib",
            "gzip",
            "bz2",
            "lzma",
            "lz4",
            "shuffle",
            "delta",
            "fixedscaleoffset",
            "packbits",
            "bitround",
        ),
        *(
            "vlen-utf8",
            "vlen-bytes",
            "crc32",
            "crc32c",
            "adler32",
            "fletcher32",
            "jenkins_lookup3",
            "bytes",
            "transpose",
        ),
        *(
            "numcodecs.blosc",
            "numcodecs.zstd",
            "numcodecs.zlib",
            "numcodecs.gzip",
            "numcodecs.lz4",
            "numcodecs.shuffle",
        ),
    }
)
# Series beside the spikes are small; what is larger are signals and images.
MAX_SERIES_BYTES = 64 * 2**20
# Far more groups and arrays than any session holds.
MAX_NODES = 20_000
MAX_DEPTH = 30
MAX_PIECES = 100_000
# Of these no piece may be missing: Zarr fills pieces that are not there with zeros, without a word.
WHOLE = ("spike_times", "spike_times_index", "obs_intervals", "obs_intervals_index")


def attributes_of(folder: Path) -> dict[str, Any]:
    """The attributes of a group or an array; empty where there are none, or none that can be read."""
    for name, key in ((".zattrs", None), ("zarr.json", "attributes")):
        try:
            text = (folder / name).read_bytes()[: 2**24]
            found = json.loads(text)
        except (OSError, ValueError, RecursionError):
            continue
        found = found if key is None else found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    return {}


def in_memory(path: Path, options: ReadOptions) -> tuple[h5py.File, list[str]]:
    """Copy what a recording needs into an HDF5 file that is nowhere on the disk.

    Args:
        path: the folder.
        options: how much may be read.

    Returns:
        The file, open for reading and writing, and the places that were left out, with the reason.

    Raises:
        RecordingError: if zarr is not installed, or the folder is damaged.
    """
    try:
        zarr = importlib.import_module("zarr")
    except ImportError as fault:
        raise RecordingError(f"{path.name}: reading a Zarr folder needs zarr.", hint=HOW_TO_INSTALL) from fault
    file = h5py.File(f"{path.name}.h5", "w", driver="core", backing_store=False)
    left_out: list[str] = []
    try:
        for place, node in _nodes(path):
            where = "/" + "/".join(place)
            if not _is_array(node):
                group = file.require_group(where)
                _copy_attributes(attributes_of(node), group, left_out)
                continue
            why = _why_not(node, place, options)
            if why:
                if place[-1] in WHOLE:
                    raise RecordingError(
                        f"{path.name}: {where} cannot be read ({why}).", hint="convert the recording to NWB in HDF5"
                    )
                left_out.append(f"{where} ({why})")
                continue
            if _metadata(node).get("dtype") == "|O":
                _copy_array(_texts_of_version_2(node), file, where)
                continue
            # Without the metadata that were gathered in one place: those need not be the ones that were looked at.
            array = zarr.open_array(str(node), mode="r")
            if place[-1] in WHOLE and int(array.nchunks_initialized) != int(array.nchunks):
                missing = int(array.nchunks) - int(array.nchunks_initialized)
                raise RecordingError(
                    f"{path.name}: {missing} of {array.nchunks} pieces of {where} are missing.",
                    hint="copy the whole folder again",
                )
            _copy_array(np.asarray(array[...]), file, where)
            _copy_attributes(attributes_of(node), file[where], left_out)
    except RecordingError:
        file.close()
        raise
    except Exception as fault:  # the codecs raise whatever the code beneath them does
        file.close()
        raise damaged(path, "", fault) from fault
    return file, left_out


def _nodes(path: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Groups and arrays, each after the group it is in; links of the file system are never followed."""
    level: list[tuple[tuple[str, ...], Path]] = [((), path)]
    met = 0
    for _ in range(MAX_DEPTH):
        below: list[tuple[tuple[str, ...], Path]] = []
        for place, folder in level:
            met += 1
            if met > MAX_NODES:
                raise RecordingError(f"{path.name}: more than {MAX_NODES} groups and arrays.", hint="is it damaged?")
            yield place, folder
            if _is_array(folder):
                continue
            children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.is_symlink()]
            below += [((*place, child.name), child) for child in children if _is_node(child)]
        level = below


def _is_node(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (".zgroup", ".zarray", "zarr.json"))


def _is_array(folder: Path) -> bool:
    if (folder / ".zarray").is_file():
        return True
    return (folder / "zarr.json").is_file() and _metadata(folder).get("node_type") == "array"


def _metadata(folder: Path) -> dict[str, Any]:
    name = ".zarray" if (folder / ".zarray").is_file() else "zarr.json"
    try:
        found = json.loads((folder / name).read_bytes()[: 2**24])
    except (OSError, ValueError, RecursionError) as fault:
        raise damaged(folder, name, fault) from fault
    return found if isinstance(found, dict) else {}


def _why_not(folder: Path, place: tuple[str, ...], options: ReadOptions) -> str:
    """Why an array is not copied; empty text where it is."""
    known = _metadata(folder)
    codecs = [
        *_codec_names(known.get("compressor")),
        *_codec_names(known.get("filters")),
        *_codec_names(known.get("codecs")),
    ]
    strange = [name for name in codecs if name not in SAFE_CODECS]
    if strange:
        return f"stored as {strange[0]}, which may run code" if "pickle" in strange[0] else f"stored as {strange[0]}"
    shape = known.get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        return "without a shape"
    if _n_pieces(shape, known) > MAX_PIECES:
        return "in too many pieces"
    limit = options.limits.max_read_bytes if place[0] == "units" else MAX_SERIES_BYTES
    needed = math.prod(shape) * 8
    if place[-1].startswith("waveform"):
        return "waveforms"
    return f"{number_of_bytes(needed)}" if needed > limit else ""


def _n_pieces(shape: list[int], known: dict[str, Any]) -> float:
    """How many pieces an array is stored in; infinitely many where that cannot be told."""
    grid = known.get("chunk_grid")
    inside = grid.get("configuration") if isinstance(grid, dict) else None
    chunks = known.get("chunks") if not isinstance(inside, dict) else inside.get("chunk_shape")
    if (
        not isinstance(chunks, list)
        or len(chunks) != len(shape)
        or not all(isinstance(n, int) and n > 0 for n in chunks)
    ):
        return math.inf
    return float(math.prod(math.ceil(n / chunk) for n, chunk in zip(shape, chunks, strict=True)))


def _codec_names(stated: Any) -> list[str]:
    """Names of the codecs in a part of the metadata, those inside of others included."""
    if isinstance(stated, list):
        return [name for one in stated for name in _codec_names(one)]
    if not isinstance(stated, dict):
        return [] if stated is None else [repr(stated)]
    name = stated.get("id", stated.get("name"))
    inside = stated.get("configuration")
    deeper = (
        inside.get("codecs", []) + inside.get("index_codecs", [])
        if isinstance(inside, dict) and name == "sharding_indexed"
        else []
    )
    own = [] if name == "sharding_indexed" else [str(name)]
    return [*own, *_codec_names(deeper)]


def _texts_of_version_2(folder: Path) -> np.ndarray[Any, Any]:
    """An array of texts as zarr 2 wrote it; zarr 3 refuses the number 0 that stands there for what was never written."""
    get_codec = importlib.import_module("numcodecs").get_codec
    known = _metadata(folder)
    shape, chunks, filters = known["shape"], known["chunks"], known.get("filters")
    if len(shape) != 1 or filters not in ([{"id": "vlen-utf8"}], [{"id": "vlen-bytes"}]):
        return np.empty((0,), dtype=object)
    cells: list[bytes] = []
    for k in range(math.ceil(shape[0] / chunks[0])):
        size = min(chunks[0], shape[0] - k * chunks[0])
        piece = folder / str(k)
        if not piece.is_file():
            cells += [b""] * size
            continue
        content = piece.read_bytes()
        if known.get("compressor") is not None:
            content = get_codec(known["compressor"]).decode(content)
        cells += _texts_in(content, size)
    return np.array(cells, dtype=object)


def _texts_in(content: Any, size: int) -> list[bytes]:
    """Texts as the codecs `vlen-utf8` and `vlen-bytes` pack them: how many, then the length and the bytes of each.

    Read here, because those codecs make room for as many as are claimed before they look.
    """
    packed = memoryview(content).cast("B")
    if int.from_bytes(packed[:4], "little") < size:
        raise ValueError("fewer texts than there should be")
    found, at = [], 4
    for _ in range(size):
        length = int.from_bytes(packed[at : at + 4], "little")
        if at + 4 + length > len(packed):
            raise ValueError("texts longer than their piece")
        found.append(bytes(packed[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def _copy_array(values: np.ndarray[Any, Any], file: h5py.File, where: str) -> None:
    if values.dtype.kind in "fiub":
        file.create_dataset(where, data=values)
    elif values.dtype.kind in "OUTS":
        cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in values.ravel().tolist()]
        # Of fixed length, so that nothing has to be looked up in a heap.
        width = max((len(cell) for cell in cells), default=1) or 1
        texts = np.array(cells, dtype=f"S{width}").reshape(values.shape)
        file.create_dataset(where, data=texts)


def _copy_attributes(attributes: dict[str, Any], node: Any, left_out: list[str]) -> None:
    for name, value in attributes.items():
        if name == "zarr_link" and isinstance(value, list):
            for one in value:
                _copy_link(one, node, left_out)
        elif isinstance(value, str | bool | int | float) and len(str(value)) < 10_000:
            node.attrs[name] = value
        elif isinstance(value, list) and all(isinstance(v, str) for v in value) and sum(map(len, value)) < 30_000:
            node.attrs[name] = np.array(value, dtype=h5py.string_dtype())


def _copy_link(link: Any, group: Any, left_out: list[str]) -> None:
    if not isinstance(link, dict) or not isinstance(group, h5py.Group):
        return
    name, target = str(link.get("name", "")), str(link.get("path", ""))
    if not name or "/" in name or name in group:
        return
    if link.get("source") in (".", ""):
        group[name] = h5py.SoftLink(target)
    else:
        left_out.append(f"{str(group.name).rstrip('/')}/{name} (a link into another file)")
