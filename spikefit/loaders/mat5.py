"""A reader of MATLAB files of version 5 to 7.2, for the few kinds of value that hold spike trains.

SciPy's reader brings the whole process down on damaged files. This one checks every length before it follows it, and knows
numbers, texts, cells and structs; of anything else it gives None.

Layout: MathWorks, "MAT-File Format", chapter "MAT-File Level 5 Format".
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.raw import ReadLimits, number_of_bytes

HEADER_BYTES = 128
MAX_DEPTH = 32
# Below this much, compressed data may expand as they like.
SMALL_BYTES = 64 * 2**20

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC_CLASSES = range(6, 16)


class _Damaged(Exception):
    """What was found cannot be; the caller says where."""


def read_variables(path: Path, limits: ReadLimits) -> dict[str, Any]:
    """Read the variables of a MATLAB file.

    Returns:
        By name: arrays of numbers, texts, lists (cells and arrays of structs), dictionaries (structs), or None.

    Raises:
        RecordingError: if the file is damaged, or holds more than may be read.
    """
    if path.stat().st_size > limits.max_read_bytes:
        raise RecordingError(
            f"{path.name}: the file is larger than the limit of {number_of_bytes(limits.max_read_bytes)}.",
            hint="raise max_read_bytes in the section `checks` of the config if this is right",
        )
    content = memoryview(path.read_bytes())
    try:
        order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
        if order is None:
            raise _Damaged("its order of bytes is not stated")
        return _variables(content, order, limits)
    except (_Damaged, struct.error, zlib.error, UnicodeDecodeError, ValueError) as fault:
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise RecordingError(
            f"{path.name}: the MATLAB file is damaged ({reason}).", hint="copy it again, or save it again from MATLAB"
        ) from fault


def _variables(content: memoryview, order: str, limits: ReadLimits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    place = HEADER_BYTES
    while place + 8 <= len(content):
        kind, data, place = _element(content, place, order)
        if kind == _COMPRESSED:
            allowed = min(limits.max_read_bytes, max(SMALL_BYTES, int(limits.max_expansion * len(data))))
            expander = zlib.decompressobj()
            expanded = expander.decompress(data, allowed)
            if expander.unconsumed_tail:
                raise _Damaged(f"a variable expands to more than {number_of_bytes(allowed)}")
            kind, data, _ = _element(memoryview(expanded), 0, order)
        if kind == _MATRIX:
            name, value = _matrix(data, order, MAX_DEPTH)
            found[name] = value
    return found


def _element(content: memoryview, place: int, order: str) -> tuple[int, memoryview, int]:
    """The kind and the data of the element at a place, and where the next one starts."""
    if place + 8 > len(content):
        raise _Damaged("it ends inside an element")
    kind, size = struct.unpack_from(order + "II", content, place)
    if kind >> 16:  # up to four bytes stand in the tag itself
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise _Damaged(f"a short element of {size} bytes")
        return kind, content[place + 4 : place + 4 + size], place + 8
    start = place + 8
    if start + size > len(content):
        raise _Damaged(f"an element of {size} bytes where {len(content) - start} are left")
    padding = 0 if kind == _COMPRESSED else -size % 8
    return kind, content[start : start + size], start + size + padding


def _matrix(data: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """The name and the value of a matrix, which is MATLAB's word for any value."""
    if not len(data):
        return "", np.empty((0, 0))
    if depth == 0:
        raise _Damaged(f"values are nested more than {MAX_DEPTH} deep")
    _, flags, place = _element(data, 0, order)
    array_class = struct.unpack_from(order + "I", flags)[0] & 0xFF
    if array_class > 16:
        return "", None
    kind, raw_shape, place = _element(data, place, order)
    shape = tuple(int(n) for n in _numbers(kind, raw_shape, order))
    if not 1 < len(shape) <= 8 or any(n < 0 for n in shape):
        raise _Damaged(f"an array of the shape {shape}")
    _, raw_name, place = _element(data, place, order)
    name = bytes(raw_name).decode("utf-8", "replace")
    size = int(np.prod([float(n) for n in shape]))
    if array_class in _NUMERIC_CLASSES:
        kind, raw, place = _element(data, place, order)
        return name, _shaped(_numbers(kind, raw, order), shape, size)
    if array_class == _CHAR:
        kind, raw, _ = _element(data, place, order)
        return name, _text(kind, raw, order)
    if array_class in (_CELL, _STRUCT):
        if size > len(data) // 8:
            raise _Damaged(f"{size} values in {len(data)} bytes")
        reader = _cells if array_class == _CELL else _structs
        return name, reader(data, place, size, order, depth)
    return name, None


def _numbers(kind: int, raw: memoryview, order: str) -> NDArray[Any]:
    if kind not in _NUMBERS:
        raise _Damaged(f"numbers of the unknown kind {kind}")
    dtype = np.dtype(order + _NUMBERS[kind])
    if len(raw) % dtype.itemsize:
        raise _Damaged(f"{len(raw)} bytes of numbers of {dtype.itemsize} bytes")
    return np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))


def _shaped(values: NDArray[Any], shape: tuple[int, ...], size: int) -> NDArray[Any]:
    if values.size != size:
        raise _Damaged(f"{values.size} numbers in an array of the shape {shape}")
    return values.reshape(shape, order="F")


def _text(kind: int, raw: memoryview, order: str) -> str:
    if kind in _TEXTS:
        encoding = _TEXTS[kind] + ("" if kind == 16 else "-le" if order == "<" else "-be")
        return bytes(raw).decode(encoding, "replace")
    codes = _numbers(kind, raw, order)
    return "".join(chr(int(code)) if 0 <= code < 0xD800 else "\ufffd" for code in codes)


def _cells(data: memoryview, place: int, size: int, order: str, depth: int) -> list[Any]:
    values = []
    for _ in range(size):
        _, inside, place = _element(data, place, order)
        values.append(_matrix(inside, order, depth - 1)[1])
    return values


def _structs(data: memoryview, place: int, size: int, order: str, depth: int) -> Any:
    kind, raw, place = _element(data, place, order)
    width = int(_numbers(kind, raw, order)[0]) if len(raw) else 0
    _, raw_names, place = _element(data, place, order)
    if width <= 0 or len(raw_names) % width:
        raise _Damaged(f"field names of {width} bytes in {len(raw_names)}")
    text = bytes(raw_names)
    fields = [text[k : k + width].split(b"\0", 1)[0].decode("utf-8", "replace") for k in range(0, len(text), width)]
    if size * len(fields) > len(data) // 8:
        raise _Damaged(f"{size} structs of {len(fields)} fields in {len(data)} bytes")
    structs = []
    for _ in range(size):
        values = {}
        for field in fields:
            _, inside, place = _element(data, place, order)
            values[field] = _matrix(inside, order, depth - 1)[1]
        structs.append(values)
    return structs[0] if size == 1 else structs
