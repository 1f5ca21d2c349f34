"""Several values under one key: names, and pairs of a name with what belongs to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from spikefit.config.kinds.hint import Hint
from spikefit.config.terms import read_terms


def as_list(value: Any) -> Any:
    """One value stands for a list of one."""
    if value is None:
        return ()
    if isinstance(value, str | int | float | dict):
        return (value,)
    return value


_NAMES_SCHEMA = {"anyOf": [{"type": ["string", "number"]}, {"type": "array", "items": {"type": ["string", "number"]}}]}


Names = Annotated[tuple[str, ...], BeforeValidator(as_list), WithJsonSchema(_NAMES_SCHEMA), Hint("NAME")]


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
