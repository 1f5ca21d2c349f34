"""What every section of the configuration is."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict

from spikefit.config.kinds import Hint

Value = TypeVar("Value")
NotAFlag = Annotated[Value, Hint(flag=False)]


class Section(BaseModel):
    """What all sections share: unknown keys are refused, and a value never changes once it is read."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, protected_namespaces=()
    )
