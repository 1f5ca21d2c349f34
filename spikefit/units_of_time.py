"""Times with their unit, as a person writes them: `5ms`, `0.1s`, `2min`, `1h`; a bare number is seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

# Decimals, because 3 × 0.001 in binary is not 0.003 and a time must survive being written and read again.
SECONDS_PER_UNIT: dict[str, Decimal] = {
    "h": Decimal(3600),
    "min": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "ns": Decimal("1e-9"),
}
_ALIASES = {"": "s", "sec": "s", "msec": "ms", "µs": "us", "μs": "us", "hr": "h"}
_TIME = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ]*)\s*")
_WRITTEN = ("h", "min", "s", "ms", "us", "ns")
# Beyond this no recording goes, and float64 no longer keeps microseconds.
_LONGEST_S = 1e12


def parse_time_s(value: str | float) -> float:
    """Read a time and return seconds.

    Args:
        value: a number (seconds), or a number with one of the units h, min, s, ms, us, ns.

    Raises:
        ValueError: if this is not a finite time; the text says what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a time such as 5ms, 0.1s, 2min or 1h, got {value!r}")
    if not isinstance(value, str):
        if not math.isfinite(value) or abs(value) > _LONGEST_S:
            raise ValueError(f"expected a finite time in seconds, got {value!r}")
        return float(value)
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError(f"expected a time such as 5ms, 0.1s, 2min or 1h, got {value!r}")
    number, unit = match.groups()
    unit = _ALIASES.get(unit, unit)
    if unit not in SECONDS_PER_UNIT:
        guess = " (minutes are min, milliseconds are ms)" if unit in ("m", "M", "MS", "Ms") else ""
        raise ValueError(f"{unit!r} in {value!r} is no unit of time; there are h, min, s, ms, us and ns{guess}")
    try:
        seconds = float(Decimal(number) * SECONDS_PER_UNIT[unit])
    except (InvalidOperation, OverflowError):
        seconds = math.inf
    if not math.isfinite(seconds) or abs(seconds) > _LONGEST_S:
        raise ValueError(f"expected a finite time, got {value!r}")
    return seconds


def format_time(seconds: float, units: Sequence[str] = _WRITTEN) -> str:
    """Write seconds the short way a person would, so that `parse_time_s` gives back the very same number.

    Args:
        seconds: the time.
        units: units to choose from, the largest first.
    """
    exact = Decimal(repr(float(seconds)))
    if exact == 0:
        return "0s"
    for unit in units:
        scaled = exact / SECONDS_PER_UNIT[unit]
        # Whole numbers read best (5ms, 2min); hours and minutes only where they divide evenly.
        if scaled == scaled.to_integral_value() and abs(scaled) < 10_000:
            text = f"{int(scaled)}{unit}"
            if parse_time_s(text) == seconds:
                return text
    return f"{float(seconds)!r}s"
