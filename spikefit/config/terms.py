"""The words by which covariates enter a fit: `speed`, `direction=cyclic:2`, `speed=lags:4:500ms`, `drift=b-spline:6`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikefit.errors import did_you_mean
from spikefit.units_of_time import format_time, parse_time_s

AUTO = "auto"
# Functions where no number is given; linear has one per series of values.
DEFAULT_FUNCTIONS = {"linear": 1, "b-spline": 5, "cyclic": 1, "lags": 4}
DEFAULT_LAG_WINDOW_S = 0.5
MOST_FUNCTIONS = 100
FEWEST_SPLINES = 3


@dataclass(frozen=True)
class Term:
    """One covariate as it was asked for.

    Attributes:
        name: of the covariate.
        basis: `linear`, `b-spline`, `cyclic`, `lags`, or `auto` for what suits the covariate.
        n_functions: of each series of values; harmonics for `cyclic`.
        window_s: of `lags`; None for the others.
    """

    name: str
    basis: str
    n_functions: int
    window_s: float | None = None

    @property
    def text(self) -> str:
        """What `parse_term` reads, without the name."""
        if self.basis in (AUTO, "linear"):
            return self.basis
        window = "" if self.window_s is None else f":{format_time(self.window_s)}"
        return f"{self.basis}:{self.n_functions}{window}"


def parse_term(name: str, text: str) -> Term:
    """Read BASIS, BASIS:N or lags:N:WINDOW.

    Raises:
        ValueError: saying what was expected.
    """
    if not name.strip():
        raise ValueError(f"a covariate needs a name before its basis, got {f'={text}'!r}")
    basis, *rest = [part.strip() for part in text.split(":")]
    basis = basis.lower() or AUTO
    if basis != AUTO and basis not in DEFAULT_FUNCTIONS:
        raise ValueError(
            f"{name}: there is no basis {basis!r} for a covariate; {did_you_mean(basis, DEFAULT_FUNCTIONS)}"
        )
    most = {"lags": 2, "linear": 0, AUTO: 0}.get(basis, 1)
    if len(rest) > most:
        raise ValueError(f"{name}: expected {_FORMS.get(basis, f'{basis}:N')}, got {text!r}")
    n_functions = _whole(name, basis, rest[0]) if rest else DEFAULT_FUNCTIONS.get(basis, 1)
    window_s = None
    if basis == "lags":
        window_s = parse_time_s(rest[1]) if len(rest) > 1 else DEFAULT_LAG_WINDOW_S
        if window_s <= 0:
            raise ValueError(f"{name}: the window of lags must be longer than 0 s, got {rest[1]!r}")
    return Term(name.strip(), basis, n_functions, window_s)


_FORMS = {"linear": "linear", AUTO: "auto", "lags": "lags:N:WINDOW (lags:4:500ms)"}


def _whole(name: str, basis: str, text: str) -> int:
    fewest = FEWEST_SPLINES if basis == "b-spline" else 1
    if not text.isdigit() or not fewest <= int(text) <= MOST_FUNCTIONS:
        raise ValueError(
            f"{name}: the number of functions of {basis} must lie between {fewest} and {MOST_FUNCTIONS}, got {text!r}"
        )
    return int(text)


def read_terms(value: Any) -> dict[str, str]:
    """The setting as people write it (`speed,direction=cyclic:2`, a list, a mapping) as names with their basis.

    Raises:
        ValueError: for what is no such list, a basis that there is not, or a covariate named twice.
    """
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        pairs = [str(part).partition("=") for part in value]
        items = [(name.strip(), basis.strip()) for name, _, basis in pairs]
    elif isinstance(value, Mapping):
        items = [(str(name).strip(), AUTO if basis is None else str(basis)) for name, basis in value.items()]
    else:
        raise ValueError(f"expected names of covariates, each with its basis (speed,direction=cyclic:2), got {value!r}")
    names = [name for name, _ in items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the covariate {twice[0]!r} is named twice; name it once")
    return {name: parse_term(name, basis).text for name, basis in items}


def terms_of(texts: Mapping[str, str]) -> tuple[Term, ...]:
    """The terms of a setting that was read."""
    return tuple(parse_term(name, text) for name, text in texts.items())
