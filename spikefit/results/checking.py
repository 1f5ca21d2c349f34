"""Whether plain values keep to one of our JSON schemas: no validator is installed with spikefit, and a result is checked each time it is opened.

Of JSON Schema only what `json_schema.py` uses is known here. Keys that a schema demands of the whole document are not asked for,
because results of earlier versions lack some; those that it demands of a row inside are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = {
    "object": "named values",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
}
_SHOWN = 40


def fault_in(value: Any, schema: Mapping[str, Any], place: str = "") -> str | None:
    """What is wrong with a value, in words that name the place; None where nothing is.

    Args:
        value: plain, as JSON gives it.
        schema: of it.
        place: of the value in its document; empty for the document itself.
    """
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_is(value, kind) for kind in kinds):
            expected = " or ".join(_WORDS[kind] for kind in kinds)
            return f"{place or 'the whole'} must be {expected}, and is {_shown(value)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} must be one of {', '.join(schema['enum'])}, and is {_shown(value)}"
    if "minimum" in schema and _is(value, "number") and value < schema["minimum"]:
        return f"{place} must be at least {schema['minimum']}, and is {_shown(value)}"
    if isinstance(value, Mapping):
        return _fault_in_values(value, schema, place)
    return _fault_in_list(value, schema, place) if _is(value, "array") else None


def _fault_in_values(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> str | None:
    missing = [key for key in schema.get("required", ()) if place and key not in value]
    if missing:
        return f"{place} lacks {missing[0]!r}"
    for key, inner in schema.get("properties", {}).items():
        fault = fault_in(value[key], inner, f"{place}.{key}" if place else key) if key in value else None
        if fault is not None:
            return fault
    return None


def _fault_in_list(value: Sequence[Any], schema: Mapping[str, Any], place: str) -> str | None:
    least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not least <= len(value) <= most:
        return f"{place} must hold {least}{'' if least == most else f' to {most}'} values, and holds {len(value)}"
    inner = schema.get("items")
    faults = (fault_in(item, inner, f"{place}[{k}]") for k, item in enumerate(value)) if inner else ()
    return next((fault for fault in faults if fault is not None), None)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):  # true is no number in JSON
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    types: dict[str, Any] = {
        "object": Mapping,
        "array": list | tuple,
        "string": str,
        "number": int | float,
        "null": type(None),
    }
    return kind in types and isinstance(value, types[kind])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
