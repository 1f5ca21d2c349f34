"""Faults of a configuration in words, listed all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spikefit.errors import nearest


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        where: file and line, environment variable or flag.
        text: what was found and what was expected.
        key: the key it is about, where it is about one.
        hint: the next step, where it is not plain from the text.
    """

    where: str
    text: str
    key: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def listing(faults: Sequence[Fault], what: str) -> str:
    """The message for some faults: one in a line, several as a list."""
    if len(faults) == 1:
        return str(faults[0])
    return f"{what} has {len(faults)} faults:\n" + "\n".join(f"  - {fault}" for fault in faults)


def in_order(faults: Sequence[Fault]) -> list[Fault]:
    """Faults of one file by line, as one reads it from the top; everything else as it came."""
    places: list[str] = []

    def position(fault: Fault) -> tuple[int, int]:
        place, _, line = fault.where.rpartition(" line ")
        place = place or fault.where
        if place not in places:
            places.append(place)
        return places.index(place), int(line) if line.isdigit() else 0

    return sorted(faults, key=position)


def in_words(error: Any) -> str:
    """What pydantic found about one value, in our words.

    Args:
        error: one entry of `ValidationError.errors()`.
    """
    kind, given, limits = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return f"expected a whole number, got {given!r}"
        case "float_parsing" | "float_type" | "finite_number":
            return f"expected a number, got {given!r}"
        case "bool_parsing" | "bool_type":
            return f"expected true or false, got {given!r}"
        case "string_type":
            return f"expected text, got {given!r}"
        case "tuple_type":
            return f"expected one value or a list, got {given!r}"
        case "greater_than":
            return f"must be above {limits['gt']:g}, got {given!r}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']:g}, got {given!r}"
        case "less_than":
            return f"must be below {limits['lt']:g}, got {given!r}"
        case "less_than_equal":
            return f"must be at most {limits['le']:g}, got {given!r}"
        case "literal_error":
            words = [word.strip("' ") for word in limits["expected"].replace(" or ", ", ").split(", ")]
            guess = nearest(str(given), words)
            return f"{given!r} is none of {', '.join(words)}" + (f"; did you mean {guess}?" if guess else "")
        case "value_error":
            return str(limits["error"])
        case _:
            return str(error["msg"])
