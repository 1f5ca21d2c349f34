"""The parts of a result: one row per unit, and what the hidden units did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikefit.results.documents import clean_text

Floats = NDArray[np.floating[Any]]
Scalar = str | bool | int | float

VISIBLE, HIDDEN = "visible", "hidden"


def hidden_ids(n_hidden: int) -> tuple[str, ...]:
    """What hidden units are called: `hidden-0`, `hidden-1`, …."""
    return tuple(f"hidden-{h}" for h in range(n_hidden))


# One number per ordered pair beside the weight; NaN everywhere where it was not asked for.
PAIR_STATISTICS = ("std_error", "ci_low", "ci_high", "p_value", "q_value")


@dataclass(frozen=True, eq=False)
class HiddenActivity:
    """What the hidden units did, as the fit sees it.

    Attributes:
        time_s: start of every bin in seconds, gaps left out; shape (n_bins,).
        expected_count: posterior mean of the spikes per bin; shape (n_bins, n_hidden).
    """

    time_s: Floats
    expected_count: Floats

    def __post_init__(self) -> None:
        time_s, expected_count = as_floats(self.time_s), as_floats(self.expected_count)
        if expected_count.ndim != 2 or time_s.shape != expected_count.shape[:1]:
            raise ValueError(f"expected_count {expected_count.shape} does not go with time_s {time_s.shape}")
        object.__setattr__(self, "time_s", time_s)
        object.__setattr__(self, "expected_count", expected_count)


@dataclass(frozen=True, eq=False)
class CommonDriveTerm:
    """What recent activity of the whole recorded population does to each unit.

    A spike of anyone adds weights[:, j] · exp(−(l − 1) · bin width / time_constant_s[j]), summed over j, to the drives
    l bins later; what is added at the population's mean rate is taken off again.

    Attributes:
        time_constant_s: of each exponential, in seconds; shape (n_traces,).
        weights: drive per spike; shape (n_units, n_traces).
        level_hz: mean rate of all recorded units together, in spikes per second.
    """

    time_constant_s: Floats
    weights: Floats
    level_hz: float

    def __post_init__(self) -> None:
        time_constant_s, weights = as_floats(self.time_constant_s), as_floats(self.weights)
        if time_constant_s.ndim != 1 or weights.ndim != 2 or weights.shape[1:] != time_constant_s.shape:
            raise ValueError(f"weights {weights.shape} do not go with time constants {time_constant_s.shape}")
        object.__setattr__(self, "time_constant_s", time_constant_s)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "level_hz", float(self.level_hz))


@dataclass(frozen=True, eq=False)
class CovariateTerms:
    """What covariates do to each unit.

    Every column was brought to mean 0 and standard deviation 1 before it was weighted: `weights` are drive per standard
    deviation. A curve is the sum of a covariate's columns over its values, less its average over the recording; over lags it is
    what one bin in which the value stands one standard deviation up adds later.

    Attributes:
        column: name of each column; (column,).
        covariate: name of the covariate that each column was made of; (column,).
        basis: of that covariate; (column,).
        mean: of each column before it was standardised; (column,).
        sd: its standard deviation; (column,).
        weights: drive per standard deviation; (n_units, column).
        std_error: of the weights; NaN where not known; (n_units, column).
        curve: name of each curve; (curve,).
        curve_label: what its values are; (curve,).
        curve_x: its values; (curve, point).
        curve_drive: drive at these values; (n_units, curve, point).
        curve_std_error: of that drive; NaN where not known; (n_units, curve, point).
        terms_json: for each covariate a JSON object with all that makes its columns again (knots, means, window); (term,).
    """

    column: tuple[str, ...]
    covariate: tuple[str, ...]
    basis: tuple[str, ...]
    mean: Floats
    sd: Floats
    weights: Floats
    std_error: Floats
    curve: tuple[str, ...]
    curve_label: tuple[str, ...]
    curve_x: Floats
    curve_drive: Floats
    curve_std_error: Floats
    terms_json: tuple[str, ...]

    def __post_init__(self) -> None:
        for key in COVARIATE_ARRAYS:
            object.__setattr__(self, key, as_floats(getattr(self, key)))
        for key in COVARIATE_TEXTS:
            object.__setattr__(self, key, tuple(clean_text(str(text)) for text in getattr(self, key)))
        n_columns, n_units, curves = len(self.column), len(self.weights), self.curve_x.shape
        shapes = {"mean": (n_columns,), "sd": (n_columns,), "curve_drive": (n_units, *curves)}
        shapes |= {"curve_std_error": (n_units, *curves)} | dict.fromkeys(
            ("weights", "std_error"), (n_units, n_columns)
        )
        for key, shape in shapes.items():
            if getattr(self, key).shape != shape:
                raise ValueError(f"covariates: {key} has shape {getattr(self, key).shape}, expected {shape}")
        if (
            not len(self.covariate) == len(self.basis) == n_columns
            or not len(self.curve) == len(self.curve_label) == curves[0]
        ):
            raise ValueError("covariates: there must be one name for every column and every curve")


COVARIATE_ARRAYS = ("mean", "sd", "weights", "std_error", "curve_x", "curve_drive", "curve_std_error")
COVARIATE_TEXTS = ("column", "covariate", "basis", "curve", "curve_label", "terms_json")


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Spikes of the recorded units in a short stretch of the recording, for looking at.

    Attributes:
        start_s: where the stretch starts, in seconds.
        stop_s: where it ends.
        spike_time_s: its spikes, unit after unit; shape (n_spikes,).
        unit: place of each spike's unit in `unit_id`; shape (n_spikes,).
    """

    start_s: float
    stop_s: float
    spike_time_s: Floats
    unit: NDArray[np.int64]

    def __post_init__(self) -> None:
        times, unit = as_floats(self.spike_time_s), np.asarray(self.unit, dtype=np.int64)
        if times.ndim != 1 or times.shape != unit.shape:
            raise ValueError(f"spike_time_s {times.shape} does not go with unit {unit.shape}")
        for name, value in (("start_s", float(self.start_s)), ("stop_s", float(self.stop_s))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "spike_time_s", times)
        object.__setattr__(self, "unit", unit)


@dataclass(frozen=True)
class UnitRow:
    """One unit of the recording or of the model, kept or dropped.

    Attributes:
        id: as in the recording's file; `hidden-0`, `hidden-1`, … for hidden units.
        kind: `visible` or `hidden`.
        kept: whether the fit used it.
        reason: why it was dropped; empty for a kept unit.
        n_spikes: spikes in the fitted time; for a hidden unit its expected spikes, rounded.
        rate_hz: mean rate over the fitted time.
        columns: further columns of the unit table (region, quality, …), one scalar each.
    """

    id: str
    kind: str
    kept: bool
    reason: str
    n_spikes: int
    rate_hz: float
    columns: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in (VISIBLE, HIDDEN):
            raise ValueError(f"kind of unit {self.id!r} must be 'visible' or 'hidden', got {self.kind!r}")
        set_ = object.__setattr__
        set_(self, "id", str(self.id))
        set_(self, "kept", bool(self.kept))
        set_(self, "reason", clean_text(str(self.reason)))
        set_(self, "n_spikes", int(self.n_spikes))
        set_(self, "rate_hz", float(self.rate_hz))
        set_(self, "columns", {clean_text(str(key)): _scalar(value) for key, value in self.columns.items()})


def as_floats(values: ArrayLike) -> Floats:
    """`values` as floating point numbers in their own precision."""
    array = np.asarray(values)
    # Single precision stays what it is: posterior rates of long recordings are large.
    return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)


def _scalar(value: Any) -> Scalar:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return clean_text(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, str):
        return clean_text(value)
    if value is None:
        return ""
    if isinstance(value, np.ndarray | list | tuple):
        return json.dumps(np.asarray(value).tolist(), ensure_ascii=False, default=str)
    return clean_text(str(value))
