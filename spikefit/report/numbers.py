"""Numbers for people, each with its full value beside it for machines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup, escape


def shown(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits; whole numbers whole, with thin spaces between thousands."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}".replace(",", "\u202f").replace("-", "−")
    number = float(value)
    if math.isnan(number):
        return "–"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    text = f"{number:.{digits}g}"
    if "e" in text and 1e-4 <= abs(number) < 1e6:
        text = f"{number:.0f}"
    return text.replace("-", "−")


def number(value: Any, digits: int = 3, unit: str = "") -> Markup:
    """A number as HTML; `<data value>` holds it in full."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return Markup('<span class="unknown">–</span>')
    if isinstance(value, bool | np.bool_):
        return Markup("<data value='{}'>{}</data>").format(str(bool(value)).lower(), shown(value))
    if not isinstance(value, int | float | np.number):
        return escape(str(value))
    full = repr(value.item() if isinstance(value, np.generic) else value)
    text = shown(value, digits) + (f"\u202f{unit}" if unit else "")
    return Markup('<data value="{}">{}</data>').format(full, text)


def signed(value: float, digits: int = 3) -> Markup:
    """A number whose sign is always shown."""
    if math.isnan(value):
        return number(None)
    plus = "+" if value > 0 else ""
    return Markup('<data value="{}">{}{}</data>').format(repr(float(value)), plus, shown(float(value), digits))
