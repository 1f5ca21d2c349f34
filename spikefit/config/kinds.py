"""What a value in a configuration may look like: times, intervals, devices, lists of names.

Each kind reads what a person writes on the command line, in YAML or in Python, and writes it back as the same text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from spikefit.config.terms import read_terms
from spikefit.units_of_time import format_time, parse_time_s

Interval = tuple[float | None, float | None]

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_NUMBER = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?"
_TIME_UNIT = re.compile(
    rf"s|ms|us|ns|min|(?P<number>{_NUMBER})\s*(?P<kilo>k?)hz|samples@(?P<plain>{_NUMBER})", re.IGNORECASE
)


@dataclass(frozen=True)
class Hint:
    """How a key shows itself on the command line.

    Args:
        metavar: the word that stands for the value in `--help`.
        flag: whether the key is a flag at all; thresholds of checks are not, there are too many.
    """

    metavar: str | None = None
    flag: bool = True


def _above_zero(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(f"must be longer than 0 s, got {format_time(seconds)}")
    return seconds


def _write_time(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)


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


def _read_switch(value: Any) -> Any:
    # YAML takes a bare on or off for true or false.
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


OnOff = Annotated[Literal["on", "off"], BeforeValidator(_read_switch)]


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


def _as_list(value: Any) -> Any:
    """One value stands for a list of one."""
    if value is None:
        return ()
    if isinstance(value, str | int | float | dict):
        return (value,)
    return value


def _as_intervals(value: Any) -> Any:
    is_pair = (
        isinstance(value, list | tuple)
        and len(value) == 2
        and not any(isinstance(v, str | list | tuple) for v in value)
    )
    return (value,) if is_pair else _as_list(value)


_INTERVAL_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": "^[^:]*:[^:]*$"},
        {"type": "array", "items": {"type": "string", "pattern": "^[^:]*:[^:]*$"}},
    ]
}
_NAMES_SCHEMA = {"anyOf": [{"type": ["string", "number"]}, {"type": "array", "items": {"type": ["string", "number"]}}]}

Intervals = Annotated[
    tuple[Annotated[Interval, BeforeValidator(_read_interval), PlainSerializer(write_interval)], ...],
    BeforeValidator(_as_intervals),
    WithJsonSchema(_INTERVAL_SCHEMA),
    Hint("START:STOP"),
]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), WithJsonSchema(_NAMES_SCHEMA), Hint("NAME")]


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


def _read_mapping(value: Any) -> Any:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        pairs = [str(part).partition("=") for part in value]
        if any(not equals for _, equals, _ in pairs):
            raise ValueError(f"expected ROLE=PATH pairs (times=/spikes/t,units=/spikes/id), got {value!r}")
        value = {role.strip(): path.strip() for role, _, path in pairs}
    if not isinstance(value, dict):
        raise ValueError(f"expected roles with paths (times: /spikes/t), got {value!r}")
    return value


Mapping = Annotated[dict[str, str], BeforeValidator(_read_mapping), Hint("ROLE=PATH,…")]

Covariates = Annotated[dict[str, str], BeforeValidator(_read_mapping), Hint("NAME=PLACE,…")]

SIGNS = ("excitatory", "inhibitory", "auto", "any")


def _read_signs(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() in SIGNS:
        value = {"all": value}  # one word speaks of all units
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError(
                f"expected UNIT=SIGN pairs (ca3-*=excitatory,basket-1=inhibitory), or one sign for all; got {value!r}"
            )
        value = {name.strip(): sign for name, _, sign in pairs}
    signs = value or {}
    if not isinstance(signs, dict):
        raise ValueError(f"expected units with their signs (u1: excitatory), got {value!r}")
    out = {}
    for name, sign in signs.items():
        word = str(sign).strip().lower()
        if word not in SIGNS:
            raise ValueError(f"the sign of {name!r} must be one of {', '.join(SIGNS)}, got {sign!r}")
        out[str(name)] = word
    return out


Signs = Annotated[
    dict[str, Literal["excitatory", "inhibitory", "auto", "any"]],
    BeforeValidator(_read_signs),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "additionalProperties": {"enum": list(SIGNS)}},
            ]
        }
    ),
    Hint("UNIT=SIGN,…"),
]

# Covariates that enter a fit, each with its basis.
Terms = Annotated[dict[str, str], BeforeValidator(read_terms), Hint("NAME=BASIS,…")]

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


def _read_ridge(value: Any) -> float | str:
    text = str(value).strip().lower()
    if text == "auto":
        return text
    try:
        ridge = float("nan") if isinstance(value, bool) else float(text)
    except ValueError:
        ridge = float("nan")
    if not 0 <= ridge < float("inf"):
        raise ValueError(f"expected a penalty of at least 0, or auto; got {value!r}")
    return ridge


Ridge = Annotated[
    float | str,
    BeforeValidator(_read_ridge),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"const": "auto"}]}),
    Hint("X|auto"),
]

FIGURE_FORMATS = ("png", "svg", "pdf")


def _read_formats(value: Any) -> tuple[str, ...]:
    if value is not None and not isinstance(value, str | list | tuple):
        raise ValueError(f"expected formats out of {', '.join(FIGURE_FORMATS)}, or none; got {value!r}")
    words = [word.strip().lower() for word in value.split(",")] if isinstance(value, str) else list(value or ())
    words = [] if words in ([], [""], ["none"]) else words
    for word in words:
        if word not in FIGURE_FORMATS:
            raise ValueError(f"expected formats out of {', '.join(FIGURE_FORMATS)}, or none; got {word!r}")
    return tuple(dict.fromkeys(words))


def _write_formats(formats: tuple[str, ...]) -> str:
    return ",".join(formats) or "none"


FigureFormats = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_formats),
    PlainSerializer(_write_formats),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*(none|(png|svg|pdf)(\s*,\s*(png|svg|pdf))*)\s*$"},
                {"type": "array", "items": {"enum": list(FIGURE_FORMATS)}},
            ]
        }
    ),
    Hint("FORMATS"),
]


_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])i?b?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:+-]*")


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


def _read_word(value: Any) -> str:
    text = str(value).strip()
    if not _WORD.fullmatch(text):
        raise ValueError(f"expected letters, digits and _.,:+- alone, got {value!r}")
    return text


def _read_address(value: Any) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"(tcp|tls|ucx|ws|wss|inproc)://[^\s]+", text):
        raise ValueError(f"expected the address of a Dask scheduler (tcp://host:8786), got {value!r}")
    return text


Memory = Annotated[
    str, BeforeValidator(_read_memory), WithJsonSchema({"type": "string", "pattern": _MEMORY.pattern}), Hint("SIZE")
]
# What a cluster calls a thing of its own; nothing in it can mean anything to a shell.
ClusterWord = Annotated[
    str, BeforeValidator(_read_word), WithJsonSchema({"type": "string", "pattern": f"^{_WORD.pattern}$"}), Hint("NAME")
]
Address = Annotated[str, BeforeValidator(_read_address), Hint("ADDRESS")]
