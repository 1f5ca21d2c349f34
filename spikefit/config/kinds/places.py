"""Where a fit is computed: devices, memory, and what a cluster calls its own."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from spikefit.config.kinds.hint import Hint

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])i?b?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:+-]*")


def _read_device(value: Any) -> str:
    text = str(value).strip().lower()
    if not _DEVICE.fullmatch(text):
        raise ValueError(f"expected auto, cpu, cuda, cuda:0 (or another number) or mps, got {value!r}")
    return text


Device = Annotated[
    str,
    BeforeValidator(_read_device),
    WithJsonSchema({"type": "string", "pattern": f"^({_DEVICE.pattern})$"}),
    Hint("auto|cpu|cuda[:I]|mps"),
]


def _read_memory(value: Any) -> str:
    text = str(value).strip()
    match = _MEMORY.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"expected memory with its unit (8GB, 500MB), got {value!r}")
    return text


def memory_bytes(text: str) -> int:
    """Memory as it is written (8GB), in bytes, with 1024 to the step as clusters count."""
    match = _MEMORY.fullmatch(text.strip())
    assert match is not None
    return int(float(match[1]) * 1024 ** (1 + "kmgt".index(match[2].lower())))


def memory_mib(text: str) -> int:
    """Memory as it is written (8GB), in whole MiB, rounded up."""
    return max(1, -(-memory_bytes(text) // 1024**2))


Memory = Annotated[
    str, BeforeValidator(_read_memory), WithJsonSchema({"type": "string", "pattern": _MEMORY.pattern}), Hint("SIZE")
]


def _read_word(value: Any) -> str:
    text = str(value).strip()
    if not _WORD.fullmatch(text):
        raise ValueError(f"expected letters, digits and _.,:+- alone, got {value!r}")
    return text


# What a cluster calls a thing of its own; nothing in it can mean anything to a shell.
ClusterWord = Annotated[
    str, BeforeValidator(_read_word), WithJsonSchema({"type": "string", "pattern": f"^{_WORD.pattern}$"}), Hint("NAME")
]


def _read_address(value: Any) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"(tcp|tls|ucx|ws|wss|inproc)://[^\s]+", text):
        raise ValueError(f"expected the address of a Dask scheduler (tcp://host:8786), got {value!r}")
    return text


Address = Annotated[str, BeforeValidator(_read_address), Hint("ADDRESS")]
