"""Times, stretches of time, and the unit that times in a file have."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from spikefit.config.kinds.hint import Hint
from spikefit.config.kinds.lists import as_list
from spikefit.units_of_time import format_time, parse_time_s

Interval = tuple[float | None, float | None]

_NUMBER = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?"
_TIME_UNIT = re.compile(
    rf"s|ms|us|ns|min|(?P<number>{_NUMBER})\s*(?P<kilo>k?)hz|samples@(?P<plain>{_NUMBER})", re.IGNORECASE
)


def _above_zero(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(f"must be longer than 0 s, got {format_time(seconds)}")
    return seconds


def _write_time(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)


_TIME_SCHEMA = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*[a-zµ]*\s*$"}],
    "description": "a time with its unit (5ms, 0.1s, 2min, 1h); a bare number is seconds",
}
# A place on the recording's clock: may be negative, recordings do start at -2 s.
Moment = Annotated[
    float, BeforeValidator(parse_time_s), PlainSerializer(_write_time), WithJsonSchema(_TIME_SCHEMA), Hint("TIME")
]
Duration = Annotated[
    float,
    BeforeValidator(parse_time_s),
    AfterValidator(_above_zero),
    PlainSerializer(_write_time),
    WithJsonSchema(_TIME_SCHEMA),
    Hint("TIME"),
]


def _split_list(value: Any) -> Any:
    """`0.1s,1s` is a list of two, alone or inside a list."""
    items = value if isinstance(value, list | tuple) else (value,)
    parts: list[Any] = []
    for item in items:
        parts += [part.strip() for part in item.split(",")] if isinstance(item, str) else [item]
    return tuple(parts)


Durations = Annotated[
    tuple[Duration, ...],
    BeforeValidator(_split_list),
    WithJsonSchema({"anyOf": [_TIME_SCHEMA, {"type": "array", "items": _TIME_SCHEMA, "minItems": 1}]}),
    Hint("TIME,…"),
]


def _read_interval(value: Any) -> Interval:
    if isinstance(value, dict) and len(value) == 1:
        # YAML takes an interval with an open end, `600:`, for a key without a value.
        ((start, stop),) = value.items()
        value = f"{start}:{'' if stop is None else stop}"
    if isinstance(value, str):
        start, colon, stop = value.partition(":")
        if not colon or ":" in stop:
            raise ValueError(f"expected START:STOP in seconds, either side may be empty, got {value!r}")
        sides: list[Any] = [start.strip() or None, stop.strip() or None]
    elif isinstance(value, list | tuple) and len(value) == 2:
        sides = list(value)
    else:
        raise ValueError(f"expected START:STOP in seconds, either side may be empty, got {value!r}")
    first, last = (None if side is None else parse_time_s(side) for side in sides)
    if first is None and last is None:
        raise ValueError("an interval needs a start or a stop, got neither")
    if first is not None and last is not None and first >= last:
        raise ValueError(f"an interval must run forward, got {format_time(first)} to {format_time(last)}")
    return first, last


def write_interval(interval: Interval) -> str:
    """`START:STOP` in plain seconds, an open side left empty."""
    start, stop = ("" if side is None else format_time(side, units=("s",)).removesuffix("s") for side in interval)
    return f"{start}:{stop}"


def _as_intervals(value: Any) -> Any:
    is_pair = (
        isinstance(value, list | tuple)
        and len(value) == 2
        and not any(isinstance(v, str | list | tuple) for v in value)
    )
    return (value,) if is_pair else as_list(value)


_INTERVAL_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": "^[^:]*:[^:]*$"},
        {"type": "array", "items": {"type": "string", "pattern": "^[^:]*:[^:]*$"}},
    ]
}


Intervals = Annotated[
    tuple[Annotated[Interval, BeforeValidator(_read_interval), PlainSerializer(write_interval)], ...],
    BeforeValidator(_as_intervals),
    WithJsonSchema(_INTERVAL_SCHEMA),
    Hint("START:STOP"),
]


def _read_time_unit(value: Any) -> str:
    text = str(value).strip()
    match = _TIME_UNIT.fullmatch(text)
    if match is None:
        raise ValueError(
            f"expected s, ms, us, ns, min, or the sampling rate of times in samples (30kHz), got {value!r}"
        )
    number = match["number"] or match["plain"]
    if number is None:
        return text.lower()
    rate_hz = float(number) * (1000.0 if match["kilo"] else 1.0)
    if not 0 < rate_hz < 1e9:
        raise ValueError(f"the sampling rate in {value!r} must lie above 0 and below 1e9 samples per second")
    return text if match["number"] else f"{number}Hz"


TimeUnit = Annotated[
    str,
    BeforeValidator(_read_time_unit),
    WithJsonSchema({"type": "string", "description": "s, ms, us, ns, min, or a sampling rate such as 30kHz"}),
    Hint("s|ms|us|ns|min|RATE"),
]
