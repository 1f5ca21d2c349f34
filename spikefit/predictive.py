"""What a fitted network does when it runs by itself: rates to hold against those of the recording.

A fit predicts each bin from the recorded past. Here it is given the recorded past once and then lives off its own spikes for a
second; what is wrong with it adds up. Units that then fire far from their recorded rate, or runs that run away, say that the
couplings, as they stand, do not make the recording. (Point-process models of real recordings often run away: Gerhard, Deger &
Truccolo, PLOS Computational Biology 13, 2017.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spikefit.alignment import correlations
from spikefit.plots.activity import DISPERSION, FANO, FANO_SIMULATED, RATE, RATE_SE
from spikefit.results import Result
from spikefit.simulate import LINK_FUNCTIONS, RUNAWAY_COUNT
from spikefit.spikes import Counts

ResultT = TypeVar("ResultT", bound=Result)
Array = NDArray[np.float64]

# Correlations of the counts of two units over the same stretches, as recorded and in free runs.
PAIR_CORRELATION, PAIR_CORRELATION_SIMULATED = "pair_correlation", "simulated_pair_correlation"
RUN_S = 1.0
MOST_RUNS, FEWEST_RUNS = 200, 10
# Multiplications in all; a second or two of one core whatever the size of the network.
MOST_WORK = 1e9
# Of more runs than this part running away the reader is warned.
RUNAWAY_SHARE = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class FreeRuns:
    """What free runs did.

    Attributes:
        rate_hz: of every unit in every run that did not run away; (run, unit).
        n_runs: all runs.
        n_runaway: those that ran away.
        kept: which runs did not; (n_runs,).
    """

    rate_hz: Array
    n_runs: int
    n_runaway: int
    kept: NDArray[np.bool_]


def with_simulated_rates(result: ResultT, counts: Counts, *, seed: int) -> ResultT:
    """The result with the rate at which each unit fires when the fitted network runs by itself, as unit columns.

    `simulated_rate_hz` is the mean over runs of `RUN_S` seconds that start from the recorded past at places spread evenly over
    the recording, and `simulated_rate_se_hz` its standard error over runs. `fano_factor` and `simulated_fano_factor` are variance
    over mean of a unit's counts in those stretches, as recorded and in the runs; the diagnostics `pair_correlation` and
    `simulated_pair_correlation` are the correlations of every two units' counts in them. Runs that ran away are left out and counted in the
    metrics (`simulated_runs`, `simulated_runaway`, `simulated_run_s`).

    Args:
        result: the fit; its configuration tells the link.
        counts: the binned recording it was made from; runs do not start, or lie, where a unit is lost.
        seed: of the runs.
    """
    n_bins = max(round(RUN_S / counts.bin_width_s), 1)
    starts = run_starts(result, counts, n_bins)
    if starts.size < FEWEST_RUNS or not np.isfinite(result.coupling_filters).all():
        return result
    runs = free_runs(result, counts, starts, n_bins, seed=seed)
    metrics = {
        **result.metrics,
        "simulated_runs": runs.n_runs,
        "simulated_runaway": runs.n_runaway,
        "simulated_run_s": n_bins * counts.bin_width_s,
    }
    warnings = result.warnings
    if runs.n_runaway > RUNAWAY_SHARE * runs.n_runs:
        warnings = (
            *warnings,
            f"run by itself from the recorded past, the fitted network runs away within {RUN_S:g} s in {runs.n_runaway} of "
            f"{runs.n_runs} runs: it is strongly recurrent, so do not simulate from it for long, and read its couplings with care",
        )
    rows, diagnostics = result.units, dict(result.diagnostics)
    if len(runs.rate_hz) >= FEWEST_RUNS:
        mean = runs.rate_hz.mean(axis=0)
        error = runs.rate_hz.std(axis=0, ddof=1) / np.sqrt(len(runs.rate_hz))
        recorded = _recorded(result, counts, starts[runs.kept], n_bins)
        fano = fano_factor(recorded)
        diagnostics |= {
            PAIR_CORRELATION: pair_correlations(recorded),
            PAIR_CORRELATION_SIMULATED: pair_correlations(runs.rate_hz[:, result.visible]),
        }
        simulated_fano = fano_factor(runs.rate_hz * n_bins * counts.bin_width_s)
        place = {unit: k for k, unit in enumerate(result.unit_id)}

        def with_rates(columns: Any, k: int) -> dict[str, Any]:
            further = {RATE: float(mean[k]), RATE_SE: float(error[k])}
            if k < fano.size:
                further |= {FANO: float(fano[k]), FANO_SIMULATED: float(simulated_fano[k])}
            return {**columns, **further}

        rows = tuple(
            dataclasses.replace(row, columns=with_rates(row.columns, place[row.id])) if row.kept else row
            for row in rows
        )
    return dataclasses.replace(result, units=rows, metrics=metrics, warnings=warnings, diagnostics=diagnostics)


def pair_correlations(counts: Array) -> Array:
    """Correlation over stretches of the counts of every two units; NaN for a unit with itself and for constant ones.

    Args:
        counts: (stretch, unit).
    """
    found = correlations(counts.T, counts.T)
    np.fill_diagonal(found, np.nan)
    return found


def fano_factor(counts: Array) -> Array:
    """Variance over mean of every unit's counts, over stretches of equal length; NaN for a silent unit.

    Args:
        counts: (stretch, unit).
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(counts.var(axis=0, ddof=1) / counts.mean(axis=0))


def _recorded(result: Result, counts: Counts, starts: NDArray[np.int64], n_bins: int) -> Array:
    """Recorded counts of the visible units in the stretches of the runs; (stretch, unit)."""
    rows = [counts.unit_ids.index(unit) for unit in result.unit_id[result.visible]]
    return np.array([counts.counts[start : start + n_bins].sum(axis=0, dtype=np.float64)[rows] for start in starts])


def run_starts(result: Result, counts: Counts, n_bins: int) -> NDArray[np.int64]:
    """First bins of the runs: places with a whole history before and a whole run after them, spread evenly."""
    n_lags = result.lag_s.size
    possible = []
    for first, last in zip(counts.segment_offsets[:-1].tolist(), counts.segment_offsets[1:].tolist(), strict=True):
        # With hidden units the history must hold their activity, which itself begins a history after the segment does.
        possible.append(np.arange(first + n_lags * (2 if result.n_hidden else 1), last - n_bins + 1))
    places = np.concatenate(possible)
    if counts.lost is not None:
        n_lost = np.concatenate([[0], np.cumsum(counts.lost.any(axis=1))])
        reach = n_lags * (2 if result.n_hidden else 1)
        places = places[n_lost[places + n_bins] == n_lost[places - reach]]
    spikes_per_bin = sum(row.rate_hz for row in result.unit_rows if np.isfinite(row.rate_hz)) * result.bin_width_s
    per_run = n_bins * result.n_units * n_lags * max(spikes_per_bin, 0.1)
    n_runs = min(MOST_RUNS, int(MOST_WORK / per_run), places.size)
    if n_runs < 1:
        return np.empty(0, dtype=np.int64)
    return np.asarray(places[np.linspace(0, places.size - 1, n_runs).round().astype(np.int64)])


def free_runs(result: Result, counts: Counts, starts: NDArray[np.int64], n_bins: int, *, seed: int) -> FreeRuns:
    """Run the network from the recorded past.

    Args:
        result: the fit.
        counts: the binned recording.
        starts: first bin of every run.
        n_bins: length of every run.
        seed: of the spikes.
    """
    from scipy.sparse import csr_array

    rng = np.random.default_rng([seed, 4])
    n_runs, n_units, n_lags = starts.size, result.n_units, result.lag_s.size
    baseline = np.asarray(result.baseline, dtype=np.float64)
    # What one spike of each sender adds to every receiver in the bins to come; (pre, lag · post).
    push = np.ascontiguousarray(
        np.asarray(result.coupling_filters, dtype=np.float64).transpose(1, 2, 0).reshape(n_units, -1)
    )
    coming = np.zeros((n_runs, n_lags, n_units))
    past = _past(result, counts, rng)
    for back in range(n_lags, 0, -1):
        coming = _pushed(coming, csr_array(past(starts - back)) @ push)
    common = result.common_drive
    traces = None if common is None else _traces(result, counts)
    trace = np.zeros((n_runs, 0)) if traces is None else traces[starts]
    driven = _covariate_drive(result, counts)
    alpha = _dispersion(result)
    link = LINK_FUNCTIONS[result.config["model"]["link"]]
    total = np.zeros((n_runs, n_units))
    alive = np.ones(n_runs, dtype=bool)
    for ahead in range(n_bins):
        drive = baseline + coming[:, 0]
        if driven is not None:
            drive = drive + driven(starts + ahead)
        if common is not None:
            drive = drive + trace @ common.weights.T
        expected = link(np.minimum(drive, 2 * RUNAWAY_COUNT))  # beyond, it has run away whatever the link
        alive &= expected.max(axis=1) <= RUNAWAY_COUNT
        expected = np.where(alive[:, None], np.minimum(expected, RUNAWAY_COUNT), 0.0)
        if alpha is not None:  # a Poisson count about a gamma variable is negative-binomial
            expected[:, : alpha.size] *= rng.gamma(1 / alpha, alpha, (n_runs, alpha.size))
        spikes = rng.poisson(expected)
        total += spikes
        if common is not None:
            excess = spikes[:, : result.n_visible].sum(axis=1) - common.level_hz * counts.bin_width_s
            trace = _decay(result) * trace + excess[:, None]
        coming = _pushed(coming, csr_array(spikes.astype(np.float64)) @ push)
    return FreeRuns(total[alive] / (n_bins * counts.bin_width_s), n_runs, int(n_runs - alive.sum()), alive)


def _dispersion(result: Result) -> Array | None:
    """Of negative-binomial counts of the recorded units; None where counts are Poisson."""
    values = [row.columns.get(DISPERSION) for row in result.unit_rows[: result.n_visible]]
    known = [float(value) for value in values if isinstance(value, int | float)]
    return np.array(known) if len(known) == len(values) and known else None


def _covariate_drive(result: Result, counts: Counts) -> Callable[[NDArray[np.int64]], Array] | None:
    """A function of bins that gives what covariates, as they were measured, add to every unit; (bin, unit)."""
    if result.covariates is None:
        return None
    if counts.covariates is None:
        raise ValueError("the fit listens to covariates, and the counts do not carry them")
    columns, weights = counts.covariates.values, np.asarray(result.covariates.weights, dtype=np.float64)
    return lambda bins: np.asarray(columns[bins] @ weights.T, dtype=np.float64)


def _decay(result: Result) -> Array:
    """Factor by which each trace of the common drive falls in one bin."""
    assert result.common_drive is not None
    return np.asarray(np.exp(-result.bin_width_s / result.common_drive.time_constant_s))


def _traces(result: Result, counts: Counts) -> Array:
    """What the recorded population did lately, in every bin: the traces that the common drive weighs; (bin, trace)."""
    from scipy.signal import lfilter

    assert result.common_drive is not None
    rows = [counts.unit_ids.index(unit) for unit in result.unit_id[result.visible]]
    population = counts.counts[:, rows].sum(axis=1, dtype=np.float64)
    if counts.lost is not None:  # as in the fit, the mean stands in for a unit that is lost
        for row in rows:
            population[counts.lost[:, row]] += counts.mean_count[row]
    excess = population - result.common_drive.level_hz * counts.bin_width_s
    decays = _decay(result)
    traces = np.zeros((counts.n_bins, decays.size))
    for first, last in zip(counts.segment_offsets[:-1].tolist(), counts.segment_offsets[1:].tolist(), strict=True):
        for column, decay in enumerate(decays.tolist()):
            # A bin does not see itself, and a trace starts at zero with its segment.
            traces[first + 1 : last, column] = lfilter([1.0], [1.0, -decay], excess[first : max(last - 1, first)])
    return traces


def _pushed(coming: Array, added: Any) -> Array:
    """Move on by one bin: what was to come next is gone, and the new spikes add their filters to all that follows."""
    moved = np.zeros_like(coming)
    moved[:, :-1] = coming[:, 1:]
    moved += np.asarray(added).reshape(coming.shape)
    return moved


def _past(result: Result, counts: Counts, rng: np.random.Generator) -> Any:
    """A function of bins that gives their counts: recorded ones as they were, hidden ones drawn from their posterior."""
    rows = [counts.unit_ids.index(unit) for unit in result.unit_id[result.visible]]
    activity = result.hidden if result.n_hidden else None
    first_time_s = counts.time_s if activity is not None else None

    def past(bins: NDArray[np.int64]) -> Array:
        visible = counts.counts[bins][:, rows].astype(np.float64)
        if activity is None or first_time_s is None:
            return visible
        half_s = 0.5 * counts.bin_width_s
        place = np.searchsorted(activity.time_s, first_time_s[bins] - half_s)
        hidden = rng.poisson(np.asarray(activity.expected_count[place], dtype=np.float64))
        return np.concatenate([visible, hidden], axis=1)

    return past
