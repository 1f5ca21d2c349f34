"""Numbers that may be left to be chosen from the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from spikefit.config.kinds.hint import Hint


def _read_auto(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


# A whole number, or None for `auto`: it is chosen from the data.
CountOrAuto = Annotated[
    int | None,
    BeforeValidator(_read_auto),
    PlainSerializer(lambda value: "auto" if value is None else value),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"const": "auto"}]}),
    Hint("N|auto"),
]


MOST_HIDDEN = 1000


def _read_hidden(value: Any) -> int | tuple[int, ...] | str:
    items: list[Any]
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    if isinstance(value, str):
        items = [part.strip() for part in value.strip().strip("[]()").split(",")]
    elif isinstance(value, list | tuple):
        items = list(value)
    else:
        items = [value]
    counts: list[int] = []
    for item in items:
        try:
            count = int(item) if not isinstance(item, bool) and float(item) == int(item) else -1
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"expected a whole number of hidden units, several as 0,2,4, or auto; got {value!r}"
            ) from None
        if not 0 <= count <= MOST_HIDDEN:
            raise ValueError(f"the number of hidden units must lie between 0 and {MOST_HIDDEN}, got {item!r}")
        counts.append(count)
    if not counts:
        raise ValueError("expected a whole number of hidden units, several as 0,2,4, or auto; got an empty list")
    if len(set(counts)) < len(counts):
        raise ValueError(f"each number of hidden units is wanted once, got {value!r}")
    return counts[0] if len(counts) == 1 else tuple(counts)


_COUNT_SCHEMA = {"type": "integer", "minimum": 0, "maximum": MOST_HIDDEN}
HiddenCounts = Annotated[
    int | tuple[int, ...] | Literal["auto"],
    BeforeValidator(_read_hidden),
    WithJsonSchema(
        {
            "anyOf": [
                _COUNT_SCHEMA,
                {"type": "array", "items": _COUNT_SCHEMA, "minItems": 1},
                {"type": "string", "pattern": r"^\s*(\d+(\s*,\s*\d+)*|[aA][uU][tT][oO])\s*$"},
            ]
        }
    ),
    Hint("N|N,N,…|auto"),
]


def _number_or_auto(value: Any, expected: str, allowed: Callable[[float], bool]) -> float | str:
    """`auto`, or a number that is allowed; `expected` says in words which are. Nothing may allow what is not a number."""
    text = str(value).strip().lower()
    if text == "auto":
        return text
    try:
        number = math.nan if isinstance(value, bool) else float(text)
    except ValueError:
        number = math.nan
    if not allowed(number):
        raise ValueError(f"expected {expected}, or auto; got {value!r}")
    return number


def _read_ridge(value: Any) -> float | str:
    return _number_or_auto(value, "a penalty of at least 0", lambda ridge: 0 <= ridge < math.inf)


Ridge = Annotated[
    float | str,
    BeforeValidator(_read_ridge),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "auto"}]}),
    Hint("X|auto"),
]

MOST_RATE = 10.0


def _read_rate(value: Any) -> float | str:
    return _number_or_auto(value, f"a rate above 0 and at most {MOST_RATE:g}", lambda rate: 0 < rate <= MOST_RATE)


LearningRate = Annotated[
    float | str,
    BeforeValidator(_read_rate),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": MOST_RATE}, {"const": "auto"}]}),
    Hint("X|auto"),
]
