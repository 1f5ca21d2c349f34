"""What no fit could use, said before the work starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.covariate_columns import CovariateColumns, FittedTerm
from spikefit.covariates import BinnedCovariate
from spikefit.errors import UsageError
from spikefit.spikes import Counts

# Smallest eigenvalue of the columns' correlation matrix; below it float32 features cannot tell the columns apart.
SMALLEST_EIGENVALUE = 1e-6
SMALLEST_RELATIVE_SD = 1e-9
# Bins are looked at in steps, so that an hour of them takes no time.
MOST_BINS_LOOKED_AT = 200_000

Array = NDArray[np.float64]


def refuse_uncovered(name: str, values: BinnedCovariate, known: NDArray[np.bool_], counts: Counts) -> None:
    """Refuse a covariate that is not known in every bin, saying where it is."""
    if known.all():
        return
    said = (
        values.warnings[0] if values.warnings else f"{name} is not known in {int((~known).sum())} of {known.size} bins."
    )
    raise UsageError(
        said,
        hint=f"use the part that it covers{_longest_known(known, counts)}, or leave those bins out of the fit with "
        "--covariate-gaps leave-out"
        if known.any()
        else "leave it out, or look whether it is on the clock of the spikes",
    )


def _longest_known(known: NDArray[np.bool_], counts: Counts) -> str:
    """The longest stretch that is known, as the interval to ask for."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.view(np.int8), [0]])))
    starts, stops = edges[::2], edges[1::2]
    best = int(np.argmax(stops - starts))
    time_s = counts.time_s
    return f" (--interval {time_s[starts[best]]:.6g}:{time_s[stops[best] - 1] + counts.bin_width_s:.6g})"


def refuse_constant(term: FittedTerm, columns: Array, values: Array, sd: Array) -> None:
    """Refuse a covariate, or a function of it, that is the same in every bin."""
    scale = np.maximum(np.abs(columns).max(axis=0), np.finfo(np.float64).tiny)
    flat = sd <= SMALLEST_RELATIVE_SD * scale
    if not flat.any():
        return
    series = term.series_of[int(np.argmax(flat))]
    if np.ptp(values[:, series]) <= SMALLEST_RELATIVE_SD * max(np.abs(values[:, series]).max(), 1e-300):
        which = "" if len(term.series) == 1 else f", series {term.series[series]!r},"
        raise UsageError(
            f"the covariate {term.name!r}{which} never changes (it is {values[0, series]:g} in every bin).",
            hint="leave it out",
        )
    raise UsageError(
        f"the covariate {term.name!r}: its function {term.columns[int(np.argmax(flat))]!r} is the same in every bin.",
        hint=f"take fewer functions, or {term.name}=linear",
    )


def refuse_collinear(columns: CovariateColumns) -> None:
    """Refuse columns of which one is a weighted sum of others: their weights could be anything."""
    step = max(1, columns.known.size // MOST_BINS_LOOKED_AT)
    looked_at = columns.values[::step][columns.known[::step]].astype(np.float64)
    centred = looked_at - looked_at.mean(axis=0)
    norm = np.sqrt(np.square(centred).sum(axis=0))
    scaled = centred / np.where(norm > 0, norm, 1.0)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    if values[0] > SMALLEST_EIGENVALUE:
        return
    owner = [term.name for term in columns.terms for _ in term.columns]
    share = np.abs(vectors[:, 0])
    taking_part = list(dict.fromkeys(owner[k] for k in np.flatnonzero(share > 0.1 * share.max())))
    if len(taking_part) == 1:
        named = [columns.names[k] for k in np.flatnonzero(share > 0.1 * share.max())]
        raise UsageError(
            f"the covariate {taking_part[0]!r} has columns that say the same: {', '.join(named[:6])}.",
            hint="leave one of them out of the table or series that it is read from"
            if next(term for term in columns.terms if term.name == taking_part[0]).basis == "linear"
            else "take fewer functions, or another basis",
        )
    raise UsageError(
        f"the covariates {' and '.join(repr(name) for name in taking_part)} say the same: one is a weighted sum of the "
        "others in every bin, so their weights could be anything.",
        hint=f"leave out {taking_part[-1]!r}",
    )
