"""Covariates that every recording has: where in the recording a bin lies, and where in its trial or epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.covariates import BinnedCovariate
from spikefit.spikes import Counts, SpikeTrains

DRIFT = "drift"
TIME_IN = "time-in-"
TRIALS = "trials"


def builtin_names(trains: SpikeTrains) -> list[str]:
    """What `builtin` knows for this recording."""
    named = [f"{TIME_IN}{epoch}" for epoch in trains.epochs if epoch != TRIALS]
    return [DRIFT, *([f"{TIME_IN}trial"] if TRIALS in trains.epochs else []), *named]


def builtin(name: str, trains: SpikeTrains, counts: Counts) -> BinnedCovariate | None:
    """Time in the recording (`drift`), or since the start of the interval of an epoch (`time-in-trial`, `time-in-wake`).

    Times are those of the middle of a bin. A bin that does not lie in the epoch has none.
    """
    middle_s = counts.time_s + counts.bin_width_s / 2
    if name == DRIFT:
        return BinnedCovariate(middle_s[:, None], ("time",), "s", 1.0)
    epoch = name.removeprefix(TIME_IN)
    if not name.startswith(TIME_IN):
        return None
    epoch = TRIALS if epoch == "trial" and TRIALS in trains.epochs else epoch
    if epoch not in trains.epochs:
        return None
    since_s = _since_start(middle_s, np.asarray(trains.epochs[epoch], dtype=np.float64))
    missing = ~np.isfinite(since_s)
    share = 1.0 - float(missing.mean())
    warnings: tuple[str, ...] = ()
    if missing.any():
        warnings = (
            f"{name} is not known in {int(missing.sum())} of {missing.size} bins: they lie outside the epoch {epoch!r}.",
        )
    return BinnedCovariate(since_s[:, None], (f"time in {epoch}",), "s", share, warnings)


def _since_start(time_s: NDArray[np.float64], intervals_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds since the start of the last interval that has begun and not ended; NaN outside all."""
    order = np.argsort(intervals_s[:, 0], kind="stable")
    starts_s, stops_s = intervals_s[order, 0], intervals_s[order, 1]
    place = np.searchsorted(starts_s, time_s, side="right") - 1
    inside = (place >= 0) & (time_s < stops_s[np.maximum(place, 0)])
    return np.where(inside, time_s - starts_s[np.maximum(place, 0)], np.nan)
