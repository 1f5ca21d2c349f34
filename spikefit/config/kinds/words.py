"""Words out of a few: switches, and formats of figures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from spikefit.config.kinds.hint import Hint


def _read_switch(value: Any) -> Any:
    # YAML takes a bare on or off for true or false.
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


OnOff = Annotated[Literal["on", "off"], BeforeValidator(_read_switch)]


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
