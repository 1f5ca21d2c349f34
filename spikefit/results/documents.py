"""Plain values for the text files of a result: strict JSON and YAML that every reader accepts.

JSON knows no NaN and no numpy; YAML can be written in ways that only Python reads. Everything that goes into
`metrics.json`, `provenance.json` or `config.yaml` passes through `plain` first.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any

import numpy as np


def clean_text(text: str) -> str:
    """`text` as it can be stored everywhere: no NUL, and bytes that are not UTF-8 shown as escapes.

    File names on Linux are bytes; Python hands those that are not UTF-8 over as lone surrogates, which no file
    format takes.
    """
    return text.replace("\x00", "").encode("utf-8", "backslashreplace").decode("utf-8")


def plain(value: Any) -> Any:
    """`value` in the types of JSON alone; NaN and infinities become None.

    Raises:
        TypeError: for a value that has no such form.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {clean_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return clean_text(str(os.fspath(value)))
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    raise TypeError(f"{type(value).__name__} cannot be written to JSON: {value!r:.80}")


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """`value` as strict JSON (NaN becomes null), ending in a line break when indented."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return text + "\n" if indent else text


def to_yaml(value: Any) -> str:
    """`value` as plain YAML in the order given; `yaml.safe_load` gives it back."""
    import yaml

    document = plain(value)
    # PyYAML writes these line breaks and marks as they are and then reads them as white space; escapes are safe.
    odd = set("\x85\u2028\u2029\ufeff") & set(json.dumps(document, ensure_ascii=False))
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=not odd, default_flow_style=None, width=100)
    return text
