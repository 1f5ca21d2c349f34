"""`Result`: what a fit leaves behind, as numpy arrays with names.

A result can be looked at, compared, exported and scored against new data without torch and without a GPU. Row
receives, column sends: `connectivity[post, pre]` and `coupling_filters[post, pre, lag]`, visible units first.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError, did_you_mean
from spikefit.results.documents import clean_text, to_json
from spikefit.results.parts import (
    HIDDEN,
    PAIR_STATISTICS,
    VISIBLE,
    CommonDriveTerm,
    CovariateTerms,
    Excerpt,
    Floats,
    HiddenActivity,
    UnitRow,
    as_floats,
)
from spikefit.results.schema import ABOUT

if TYPE_CHECKING:
    import pandas as pd

    from spikefit.results.saving import Writer


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Result:
    """Connectivity with all that is needed to judge it, repeat it and score it.

    N units, the visible ones first; L lags. Pair statistics that are not given are NaN everywhere.

    Attributes:
        unit_id: one text per unit, shape (N,).
        unit_kind: `visible` or `hidden` per unit, shape (N,).
        connectivity: coupling filter summed over lags, in units of the drive; `[post, pre]`.
        coupling_filters: `[post, pre, lag]`, in units of the drive.
        lag_s: lag of each filter value in seconds, shape (L,).
        baseline: drive with nobody spiking, shape (N,).
        bin_width_s: bin width in seconds.
        units: every unit of the recording and every hidden one, with the reason where one was dropped. Each id of
            `unit_id` needs a kept row; rows of hidden units that are missing are made from `hidden`.
        std_error, ci_low, ci_high, p_value, q_value: one number per `[post, pre]`.
        hidden: posterior activity of the hidden units, or None.
        common_drive: what the population's recent activity does to each unit, or None where it is no part of the fit.
        covariates: what covariates (speed, position, drift, …) do to each unit, or None where none are part of the fit.
        excerpt: spikes of a short stretch of the recording, to be seen beside that activity, or None.
        diagnostics: figures that judge the fit, by name, each described in `results.schema`; every one starts with the visible
            units' axis, pairs are `[post, pre]`; those whose name begins with `hidden_` start with the hidden units' axis.
        history: named series over the fit (`step`, `objective`, `heldout_step`, `heldout`, …), float64.
        metrics: what `metrics.json` holds.
        config: the resolved configuration, as nested plain values that can be run again.
        config_origin: where each value came from, by dotted key: `flag`, `environment`, `file` or `default`.
        provenance: versions, device, command, seed, input hash, times and memory.
        parameters: model parameters by name, from which new data can be scored.
        warnings: doubts that the reader should know of.
        name: what to call the recording.

    Raises:
        ValueError: if shapes disagree, ids repeat, or a name cannot be stored.
    """

    unit_id: tuple[str, ...]
    unit_kind: tuple[str, ...]
    connectivity: Floats
    coupling_filters: Floats
    lag_s: Floats
    baseline: Floats
    bin_width_s: float
    units: tuple[UnitRow, ...]
    std_error: Floats = None  # type: ignore[assignment]  # all NaN once built
    ci_low: Floats = None  # type: ignore[assignment]
    ci_high: Floats = None  # type: ignore[assignment]
    p_value: Floats = None  # type: ignore[assignment]
    q_value: Floats = None  # type: ignore[assignment]
    hidden: HiddenActivity | None = None
    common_drive: CommonDriveTerm | None = None
    covariates: CovariateTerms | None = None
    excerpt: Excerpt | None = None
    diagnostics: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    history: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_origin: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    name: str = "recording"

    def __post_init__(self) -> None:
        set_ = functools.partial(object.__setattr__, self)
        set_("unit_id", tuple(str(unit_id) for unit_id in self.unit_id))
        set_("unit_kind", tuple(str(kind) for kind in self.unit_kind))
        _check_ids(self.unit_id, self.unit_kind)
        n_units = len(self.unit_id)
        for key in PAIR_STATISTICS:
            if getattr(self, key) is None:
                set_(key, np.full((n_units, n_units), np.nan))
        for key in ("connectivity", "coupling_filters", "lag_s", "baseline", *PAIR_STATISTICS):
            set_(key, as_floats(getattr(self, key)))
        set_("bin_width_s", float(self.bin_width_s))
        n_lags = self.lag_s.size
        shapes = {"coupling_filters": (n_units, n_units, n_lags), "baseline": (n_units,), "lag_s": (n_lags,)}
        shapes |= dict.fromkeys(("connectivity", *PAIR_STATISTICS), (n_units, n_units))
        for key, shape in shapes.items():
            if getattr(self, key).shape != shape:
                raise ValueError(f"{key} has shape {getattr(self, key).shape}, expected {shape} for {n_units} units")
        if self.hidden is not None and self.hidden.expected_count.shape[1] != self.n_hidden:
            n_columns = self.hidden.expected_count.shape[1]
            raise ValueError(f"activity of {n_columns} hidden units given, but {self.n_hidden} are named")
        if self.common_drive is not None and len(self.common_drive.weights) != n_units:
            raise ValueError(f"common drive of {len(self.common_drive.weights)} units given, but there are {n_units}")
        if self.covariates is not None and len(self.covariates.weights) != n_units:
            raise ValueError(f"covariates of {len(self.covariates.weights)} units given, but there are {n_units}")
        if self.excerpt is not None and np.any((self.excerpt.unit < 0) | (self.excerpt.unit >= self.n_visible)):
            raise ValueError(f"the excerpt has spikes of units beyond the {self.n_visible} recorded ones")
        judged = {_name(key): np.asarray(value, dtype=np.float64) for key, value in self.diagnostics.items()}
        for key, value in judged.items():
            kind, n_rows = ("hidden", self.n_hidden) if key.startswith("hidden_") else ("visible", self.n_visible)
            if f"diagnostics/{key}" not in ABOUT or value.shape[:1] != (n_rows,):
                raise ValueError(f"diagnostic {key!r} of shape {value.shape} is not one of {n_rows} {kind} units")
        set_("diagnostics", judged)
        history = {_name(key): np.asarray(series, dtype=np.float64) for key, series in self.history.items()}
        for key, series in history.items():
            if series.ndim != 1:
                raise ValueError(f"history series {key!r} must have one axis, got shape {series.shape}")
        set_("history", history)
        set_("parameters", {_name(key): np.asarray(value, order="C") for key, value in self.parameters.items()})
        set_("warnings", tuple(clean_text(str(text)) for text in self.warnings))
        set_("name", clean_text(str(self.name)))
        set_("units", _complete_rows(self))

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def n_units(self) -> int:
        return len(self.unit_id)

    @property
    def n_visible(self) -> int:
        return self.unit_kind.count(VISIBLE)

    @property
    def n_hidden(self) -> int:
        return self.unit_kind.count(HIDDEN)

    @property
    def visible(self) -> slice:
        """Where the visible units stand on every unit axis."""
        return slice(0, self.n_visible)

    @property
    def hidden_units(self) -> slice:
        """Where the hidden units stand on every unit axis (`hidden` is their activity)."""
        return slice(self.n_visible, self.n_units)

    @functools.cached_property
    def unit_rows(self) -> tuple[UnitRow, ...]:
        """The row of `units` of each fitted unit, in the order of `unit_id`."""
        kept = {row.id: row for row in self.units if row.kept}
        return tuple(kept[unit_id] for unit_id in self.unit_id)

    def index_of(self, unit_id: str) -> int:
        """Place of a unit on every unit axis.

        Raises:
            UsageError: for an id that the result does not hold, with the nearest that it does.
        """
        try:
            return self.unit_id.index(str(unit_id))
        except ValueError:
            raise UsageError(
                f"{self.name}: there is no unit {str(unit_id)!r} in this result.",
                hint=did_you_mean(str(unit_id), self.unit_id),
            ) from None

    def filter_of(self, post_id: str, pre_id: str) -> Floats:
        """Coupling filter by which `pre_id` drives `post_id`, over `lag_s`; shape (L,)."""
        filters: Floats = self.coupling_filters[self.index_of(post_id), self.index_of(pre_id)]
        return filters

    def filter_band_of(self, post_id: str, pre_id: str) -> tuple[Floats, Floats] | None:
        """Lower and upper edge of a band for that filter, over `lag_s`; None where no errors of single lags are held.

        Each lag's standard error is widened as the interval of the filter's sum is beside its own standard error, and what shared inputs explain of
        the sum is taken off the lags in proportion to their variances, so that what the test of edges has learnt holds here too. The band is for
        each lag by itself, and need not lie round the filter.
        """
        post, pre = self.index_of(post_id), self.index_of(pre_id)
        if max(post, pre) >= self.n_visible:
            return None
        band = self._filter_bands(post, pre)
        return None if band is None or not np.isfinite(band).all() else band

    def filter_bands(self) -> tuple[Floats, Floats] | None:
        """The same for all filters between recorded units at once; both (post, pre, lag), NaN where a pair has none."""
        return self._filter_bands(slice(None), slice(None))

    def _filter_bands(self, post: int | slice, pre: int | slice) -> tuple[Floats, Floats] | None:
        errors = self.diagnostics.get("filter_std_error")
        if errors is None:
            return None
        n = self.n_visible
        by_lag, zeros = errors[post, pre], np.zeros((n, n))
        of_sum, low, high, taken, values = (
            np.asarray(of_all[:n, :n][post, pre])
            for of_all in (
                self.std_error,
                self.ci_low,
                self.ci_high,
                np.nan_to_num(self.diagnostics.get("shared_z", zeros)),
                self.coupling_filters,
            )
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            half = (0.5 * (high - low) / of_sum)[..., None] * by_lag
            share = by_lag**2 / (by_lag**2).sum(-1, keepdims=True)
            middle = values - (taken * of_sum)[..., None] * share
            return middle - half, middle + half

    def edges(self) -> NDArray[np.void]:
        """Every ordered pair of two units as a structured array with the columns of `edges.csv`.

        Sender after sender, in the order of `unit_id`. A unit's history on itself is no edge: it stays on the
        diagonal of `connectivity`.
        """
        from spikefit.results.edges import edge_table

        return edge_table(self)

    def metrics_json(self) -> str:
        """The text of `metrics.json`."""
        return to_json(self.metrics)

    # -- passing on ---------------------------------------------------------------------------------------------

    def to_pandas(self) -> pd.DataFrame:
        """The edges as a pandas data frame.

        Raises:
            UsageError: if pandas is not installed.
        """
        from spikefit.results.frames import edges_frame

        return edges_frame(self)

    def units_to_pandas(self) -> pd.DataFrame:
        """The unit table, dropped units included, as a pandas data frame.

        Raises:
            UsageError: if pandas is not installed.
        """
        from spikefit.results.frames import units_frame

        return units_frame(self)

    def to_xarray(self) -> Any:
        """Every array with named axes and labels as an xarray data set.

        Raises:
            UsageError: if xarray is not installed.
        """
        from spikefit.results.frames import labelled_arrays

        return labelled_arrays(self)

    def save(
        self,
        folder: str | Path,
        *,
        overwrite: bool = False,
        figures: bool | tuple[str, ...] = True,
        further: Mapping[str, Writer] | None = None,
    ) -> Path:
        """Write the result folder, whole or not at all.

        Args:
            folder: is made where it does not exist.
            overwrite: take the place of an earlier result; it stays as it was until the new one is complete.
            figures: draw them, as PNG or in the formats named (`png`, `svg`, `pdf`).
            further: more files for the folder, by name: functions that write the path they are given.

        Raises:
            UsageError: if the folder holds a result and `overwrite` is not set, or cannot be written to.
            SpikefitError: if the disk is full; the folder is then as it was.
        """
        from spikefit.results.saving import save_result

        return save_result(self, Path(folder), overwrite=overwrite, figures=figures, further=further or {})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result from its folder or its `connectivity.h5`; see `load_result`."""
        from spikefit.results.loading import load_result

        return load_result(path, cls)

    def __repr__(self) -> str:
        hidden = f" + {self.n_hidden} hidden" if self.n_hidden else ""
        return (
            f"{type(self).__name__}({self.name!r}: {self.n_visible} visible{hidden} units, "
            f"{self.lag_s.size} lags of {self.bin_width_s * 1e3:g} ms)"
        )

    def _repr_html_(self) -> str:
        from spikefit.results.html import summary_html

        return summary_html(self)


def _name(key: object) -> str:
    text = str(key)
    if not text or text in (".", "..") or "/" in text or clean_text(text) != text:
        raise ValueError(f"{text!r} cannot name a series or parameter: no '/', no NUL, valid unicode")
    return text


def _check_ids(unit_id: tuple[str, ...], unit_kind: tuple[str, ...]) -> None:
    if len(unit_id) != len(unit_kind):
        raise ValueError(f"{len(unit_id)} unit ids but {len(unit_kind)} kinds")
    if len(set(unit_id)) != len(unit_id):
        repeated = sorted({text for text in unit_id if unit_id.count(text) > 1})
        raise ValueError(f"unit ids repeat: {repeated[:5]}")
    broken = [text for text in unit_id if clean_text(text) != text]
    if broken:
        raise ValueError(f"unit ids cannot be stored as UTF-8 without NUL: {broken[:5]!r}")
    n_visible = unit_kind.count(VISIBLE)
    if unit_kind != (VISIBLE,) * n_visible + (HIDDEN,) * (len(unit_kind) - n_visible):
        raise ValueError(f"unit_kind must be 'visible' throughout, then 'hidden' throughout, got {unit_kind[:10]}")


def _complete_rows(result: Result) -> tuple[UnitRow, ...]:
    """The unit table with a row for every fitted unit; rows of hidden units are made where they are missing."""
    rows = tuple(result.units)
    kept = [row.id for row in rows if row.kept]
    if len(set(kept)) != len(kept):
        raise ValueError(f"kept unit rows repeat: {sorted({k for k in kept if kept.count(k) > 1})[:5]}")
    known = set(kept)
    strangers = known - set(result.unit_id)
    if strangers:
        raise ValueError(f"unit rows are marked as kept but are no units of the result: {sorted(strangers)[:5]}")
    missing = [unit_id for unit_id in result.unit_id[result.visible] if unit_id not in known]
    if missing:
        raise ValueError(f"visible units have no kept row in `units`: {missing[:5]}")
    made = []
    for column, unit_id in enumerate(result.unit_id[result.hidden_units]):
        if unit_id in known:
            continue
        expected = result.hidden.expected_count[:, column] if result.hidden is not None else np.empty(0)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs have no sum, and it is NaN
            total = float(expected.sum(dtype=np.float64))
        rate_hz = total / (expected.size * result.bin_width_s) if expected.size else float("nan")
        # A fit that ran away can expect more spikes than a 64-bit integer holds; the rate still tells.
        n_spikes = round(min(max(total, 0.0), 2.0**62)) if np.isfinite(total) else 0
        made.append(UnitRow(unit_id, HIDDEN, True, "", n_spikes, rate_hz))
    return rows + tuple(made)
