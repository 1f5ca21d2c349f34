"""From covariates as they were measured to the columns of a design, refused where they could not be fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikefit.config.terms import AUTO, DEFAULT_FUNCTIONS, Term
from spikefit.covariate_columns import CovariateColumns, FittedTerm
from spikefit.covariate_design.bases import harmonics, lag_basis, past, spline_knots, splines
from spikefit.covariate_design.builtin import TIME_IN, builtin, builtin_names
from spikefit.covariate_design.curves import curves_of
from spikefit.covariate_design.refusals import refuse_collinear, refuse_constant, refuse_uncovered
from spikefit.covariates import BinnedCovariate, Covariate
from spikefit.errors import UsageError, did_you_mean
from spikefit.intervals import EDGE_TOLERANCE_S
from spikefit.spikes import Counts, SpikeTrains

Array = NDArray[np.float64]


def with_covariates(counts: Counts, trains: SpikeTrains, terms: Sequence[Term], *, leave_out: bool = False) -> Counts:
    """Counts that carry the columns of the covariates; the same counts where there are none.

    Args:
        counts: binned from `trains`.
        trains: the recording.
        terms: what to take.
        leave_out: do without the bins in which a covariate is not known, instead of refusing.
    """
    if not terms:
        return counts
    return dataclasses.replace(counts, covariates=design_columns(trains, counts, terms, leave_out=leave_out))


def design_columns(
    trains: SpikeTrains, counts: Counts, terms: Sequence[Term], *, leave_out: bool = False
) -> CovariateColumns:
    """The columns of some covariates in every bin, each with mean 0 and standard deviation 1.

    Raises:
        UsageError: for a covariate that the recording does not hold, does not cover it, never changes or says the same as
            others.
        RecordingError: if its samples cannot be read.
    """
    made, blocks = [], []
    for term in terms:
        values, angle = _look_up(term.name, trains, counts)
        term = _settled(term, values, angle)
        known = np.asarray(np.isfinite(values.values).all(axis=1))
        if not leave_out or not known.any():
            refuse_uncovered(term.name, values, known, counts)
        fitted = _fitted(term, values, known, counts.bin_width_s)
        columns = _raw_columns(fitted, values.values, counts, term.n_functions)
        inside = columns[known]
        mean, sd = inside.mean(axis=0), inside.std(axis=0)
        refuse_constant(fitted, inside, values.values[known], sd)
        fitted = dataclasses.replace(
            fitted, mean=tuple(mean.tolist()), sd=tuple(sd.tolist()), share_known=float(known.mean())
        )
        made.append(fitted)
        blocks.append((columns, known))
    out = _standardised(blocks, made, counts.bin_width_s)
    refuse_collinear(out)
    return out


def same_columns(trains: SpikeTrains, counts: Counts, terms: Sequence[FittedTerm]) -> CovariateColumns:
    """The columns of another recording by the numbers of a fit: knots, means and scales are those of the fit.

    Values beyond those that the fit has seen are held at its outermost ones where the basis is of splines.

    Raises:
        UsageError: for a covariate that this recording does not hold, has with other series, or does not cover it.
    """
    blocks = []
    for term in terms:
        values, _ = _look_up(term.name, trains, counts)
        if len(values.columns) != len(term.series):
            raise UsageError(
                f"the covariate {term.name!r} has {len(values.columns)} series here ({', '.join(values.columns)}), and had "
                f"{len(term.series)} in the fit ({', '.join(term.series)}).",
                hint="score a recording whose covariates were measured alike",
            )
        known = np.asarray(np.isfinite(values.values).all(axis=1))
        refuse_uncovered(term.name, values, known, counts)
        blocks.append((_raw_columns(term, values.values, counts, _functions(term)), known))
    return _standardised(blocks, terms, counts.bin_width_s)


def _look_up(name: str, trains: SpikeTrains, counts: Counts) -> tuple[BinnedCovariate, bool]:
    """The covariate in every bin, and whether it is an angle; one of the recording comes before a built-in one."""
    if name in trains.covariates:
        covariate = trains.covariates[name]
        return _held_at_the_ends(covariate, covariate.at(counts), counts), covariate.is_angle
    values = builtin(name, trains, counts)
    if values is None:
        hint = did_you_mean(name, [*trains.covariates, *builtin_names(trains)])
        if name.startswith(TIME_IN):
            epochs = ", ".join(repr(epoch) for epoch in trains.epochs) or "none"
            hint = (
                f"{TIME_IN}EPOCH needs an epoch of that name ({TIME_IN}trial the epoch 'trials'); there are: {epochs}"
            )
        raise UsageError(f"{trains.name}: there is no covariate {name!r}.", hint=hint)
    return values, False


def _held_at_the_ends(covariate: Covariate, binned: BinnedCovariate, counts: Counts) -> BinnedCovariate:
    """The first and the last sample hold for one typical interval beyond them: that is what a steady rate means by its last sample."""
    missing = ~np.isfinite(binned.values).all(axis=1)
    if not missing.any() or missing.all() or covariate.n_samples < 2:
        return binned
    time_s = covariate.time_s
    typical_s = float(np.median(np.diff(time_s))) + EDGE_TOLERANCE_S
    starts_s = counts.time_s
    known = np.flatnonzero(~missing)
    late = missing & (starts_s >= time_s[-1]) & (starts_s < time_s[-1] + typical_s)
    early = (
        missing & (starts_s + counts.bin_width_s <= time_s[0]) & (starts_s + counts.bin_width_s > time_s[0] - typical_s)
    )
    values = binned.values.copy()
    values[late & (np.arange(missing.size) > known[-1])] = values[known[-1]]
    values[early & (np.arange(missing.size) < known[0])] = values[known[0]]
    left = np.asarray(~np.isfinite(values).all(axis=1))
    warnings = covariate.what_is_missing(starts_s, left, counts.bin_width_s) if left.any() else ()
    return dataclasses.replace(binned, values=values, share_known=1.0 - float(left.mean()), warnings=warnings)


def _settled(term: Term, values: BinnedCovariate, is_angle: bool) -> Term:
    """`auto` decided, and a basis that does not suit refused."""
    basis = term.basis
    if basis == AUTO:
        # Time has no reason to act in proportion; anything else may.
        timed = values.unit == "s" and values.columns[0].startswith("time")
        basis = "cyclic" if is_angle else "b-spline" if timed else "linear"
        term = dataclasses.replace(term, basis=basis, n_functions=DEFAULT_FUNCTIONS[basis])
    if basis == "cyclic" and not is_angle:
        raise UsageError(
            f"{term.name}=cyclic: {term.name} is no angle (unit {values.unit or 'not stated'!r}, series "
            f"{', '.join(values.columns)}).",
            hint=f"state its unit as radians or degrees where it is stored, or take {term.name}=b-spline",
        )
    if basis == "b-spline" and is_angle:
        raise UsageError(
            f"{term.name}=b-spline: {term.name} is an angle, and splines would not close the circle.",
            hint=f"take {term.name}=cyclic:3, which is as free as six splines",
        )
    return term


def _fitted(term: Term, values: BinnedCovariate, known: NDArray[np.bool_], bin_width_s: float) -> FittedTerm:
    """All but mean and scale of the columns, which follow from the columns themselves."""
    inside = values.values[known]
    knots: list[tuple[float, ...]] = []
    names: list[str] = []
    series_of: list[int] = []
    for place, series in enumerate(values.columns):
        prefix = term.name if len(values.columns) == 1 else f"{term.name} {series}"
        if term.basis == "b-spline":
            at = spline_knots(inside[:, place], term.n_functions)
            refuse_constant_series(term, at, inside[:, place])
            knots.append(tuple(at.tolist()))
            labels = [f"{prefix} spline {k + 1}" for k in range(at.size + 1)]
        elif term.basis == "cyclic":
            if place:
                continue  # the sine and the cosine of one angle make its harmonics together
            labels = [f"{term.name} {part} {k + 1}" for k in range(term.n_functions) for part in ("sin", "cos")]
        elif term.basis == "lags":
            assert term.window_s is not None
            n_columns = lag_basis(term.window_s, bin_width_s, term.n_functions).shape[1]
            labels = [f"{prefix} lags {k + 1}" for k in range(n_columns)]
        else:
            labels = [prefix]
        names += labels
        series_of += [place] * len(labels)
    return FittedTerm(
        name=term.name,
        basis=term.basis,
        unit=values.unit,
        series=values.columns,
        columns=tuple(names),
        series_of=tuple(series_of),
        knots=tuple(knots),
        value_mean=tuple(inside.mean(axis=0).tolist()),
        value_sd=tuple(inside.std(axis=0).tolist()),
        mean=(),
        sd=(),
        window_s=term.window_s,
        share_known=1.0,
    )


def refuse_constant_series(term: Term, knots: Array, values: Array) -> None:
    """Splines need two different knots."""
    if knots.size < 2:
        raise UsageError(
            f"the covariate {term.name!r} never changes (it is {values[0]:g} in every bin).", hint="leave it out"
        )


def _functions(term: FittedTerm) -> int:
    per_series = sum(place == term.series_of[0] for place in term.series_of)
    return per_series // 2 if term.basis == "cyclic" else per_series


def _raw_columns(term: FittedTerm, values: Array, counts: Counts, n_functions: int) -> Array:
    """Columns before they are standardised; what is not known stays NaN, or spreads over the lags that see it."""
    if term.basis == "cyclic":
        return harmonics(np.arctan2(values[:, 0], values[:, 1]), n_functions)
    if term.basis == "linear":
        return values
    columns = []
    for place in range(values.shape[1]):
        series = values[:, place]
        if term.basis == "b-spline":
            filled = np.where(np.isfinite(series), series, term.value_mean[place])
            columns.append(splines(filled, np.array(term.knots[place])))
        else:
            assert term.window_s is not None
            # An unknown value counts as the mean for the bins behind it; its own bin is left out or refused.
            filled = np.where(np.isfinite(series), series, term.value_mean[place])
            basis = lag_basis(term.window_s, counts.bin_width_s, n_functions)
            columns.append(past(filled, basis, counts.segment_offsets))
    return np.concatenate(columns, axis=1)


def _standardised(
    blocks: Sequence[tuple[Array, NDArray[np.bool_]]], terms: Sequence[FittedTerm], bin_width_s: float
) -> CovariateColumns:
    known = np.logical_and.reduce([one for _, one in blocks])
    n_columns = sum(columns.shape[1] for columns, _ in blocks)
    out = np.zeros((n_columns, known.size), dtype=np.float32)
    at = 0
    for (columns, _), term in zip(blocks, terms, strict=True):
        scaled = (columns - np.array(term.mean)) / np.array(term.sd)
        out[at : at + columns.shape[1]] = np.where(known[:, None], scaled, 0.0).T
        at += columns.shape[1]
    return CovariateColumns(out.T, known, tuple(terms), tuple(curves_of(tuple(terms), bin_width_s)))
