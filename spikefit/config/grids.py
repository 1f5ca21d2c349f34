"""A matrix of settings: for some keys, the values that each is to take in turn."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from spikefit.config.kinds import Hint

# One key with its values; a value is a text, or a tuple of them for a key that takes a list.
Axis = tuple[str, tuple[Any, ...]]


def _read_grid(value: Any) -> tuple[Axis, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if isinstance(value, dict):
        axes = [(str(key).replace("-", "_"), _values(key, values)) for key, values in value.items()]
    elif isinstance(value, list | tuple):
        axes = [_read_axis(item) for item in value]
    else:
        raise ValueError(f"expected keys with lists of values (hidden: [0, 2, 4]), got {value!r}")
    keys = [key for key, _ in axes]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise ValueError(f"{repeated[0]} is varied twice; give all its values at once")
    return tuple(axes)


def _read_axis(item: Any) -> Axis:
    if isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str):
        return item[0].replace("-", "_"), _values(*item)
    key, equals, text = str(item).partition("=")
    if not equals or not key.strip():
        raise ValueError(f"expected KEY=VALUE,VALUE,… (hidden=0,2,4), got {item!r}")
    key = key.strip().lstrip("-").replace("-", "_")
    return key, _values(key, [part.strip() for part in text.split(",")])


def _values(key: Any, values: Any) -> tuple[Any, ...]:
    listed = values if isinstance(values, list | tuple) else [values]
    found = tuple(_plain(item) for item in listed)
    if not found or any(item in ("", None) for item in found):
        raise ValueError(f"{key} needs values to vary over, got {values!r}")
    if len({str(item) for item in found}) < len(found):
        raise ValueError(f"each value of {key} is wanted once, got {', '.join(str(item) for item in found)}")
    return found


def _plain(item: Any) -> Any:
    if isinstance(item, list | tuple):
        return tuple(_plain(part) for part in item)
    return item


def _write_grid(axes: tuple[Axis, ...]) -> dict[str, list[Any]]:
    return {key: [list(item) if isinstance(item, tuple) else item for item in values] for key, values in axes}


Grid = Annotated[
    tuple[tuple[str, tuple[Any, ...]], ...],
    BeforeValidator(_read_grid),
    PlainSerializer(_write_grid),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}),
    Hint("KEY=VALUE,…"),
]
