"""What is usable but odd about a recording, in sentences; `inspect` shows them and the results repeat them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.loaders.checks import CheckLimits, duration_text, named, span_and_rate, suspected_unit
from spikefit.loaders.copies import doubts_about_copies
from spikefit.spikes import SpikeTrains


def doubts_about(trains: SpikeTrains, limits: CheckLimits, *, unit_was_given: bool) -> list[str]:
    """Sentences on what is usable but odd, the gravest first.

    Args:
        trains: the recording, in seconds.
        limits: thresholds.
        unit_was_given: whether the user said what unit the times are in; then they are not doubted.
    """
    found: list[str] = []
    if not unit_was_given:
        found += _doubts_about_time(trains, limits)
    counts = trains.n_spikes_per_unit
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        found.append(f"{empty.size} of {trains.n_units} units have no spikes: {named(trains.unit_ids, empty)}.")
    few = np.flatnonzero((counts > 0) & (counts < limits.few_spikes))
    if few.size:
        found.append(
            f"{few.size} of {trains.n_units} units have fewer than {limits.few_spikes} spikes, too few to say much about "
            f"their connections: {named(trains.unit_ids, few)}."
        )
    if trains.n_units == 1:
        found.append("the recording holds a single unit: connections need at least two.")
    found += _doubts_about_rates(trains, limits)
    found += _doubts_about_intervals(trains, limits)
    found += doubts_about_copies(trains, limits.identical_share)
    return found


def _doubts_about_time(trains: SpikeTrains, limits: CheckLimits) -> list[str]:
    span_s, median_hz = span_and_rate(trains)
    found = []
    if trains.n_spikes and span_s > limits.max_duration_s:
        unit, option = suspected_unit(trains)
        found.append(
            f"the recording lasts {duration_text(span_s)}: if the times are not seconds but {unit}, pass --time-unit {option}."
        )
    elif trains.n_spikes and 0 < median_hz < limits.min_median_rate_hz:
        unit, option = suspected_unit(trains)
        found.append(
            f"the median unit fires {median_hz:.2g} times per second: if the times are not seconds but {unit}, "
            f"pass --time-unit {option}."
        )
    elif median_hz > limits.max_median_rate_hz:
        found.append(
            f"the median unit fires {median_hz:.3g} times per second, more than neurons can: "
            "are the times minutes, or the units not sorted neurons?"
        )
    if trains.n_spikes and float(trains.spike_times_s.max()) > limits.unix_time_s:
        found.append("the times seem to count from 1970 (UNIX time), not from the start of the recording.")
    return found + _doubts_about_lone_spikes(trains, limits)


def _doubts_about_lone_spikes(trains: SpikeTrains, limits: CheckLimits) -> list[str]:
    edges = [
        (trains.spike_times_s[a:b][[0, -1]], row)
        for row, (a, b) in enumerate(zip(trains.offsets[:-1], trains.offsets[1:], strict=True))
        if b > a
    ]
    if trains.n_spikes < 100 or len(edges) < 1:
        return []
    low, high = np.quantile(_thinned(trains.spike_times_s, 100_000), [0.01, 0.99])
    reach = limits.lone_spike_factor * max(float(high - low), 1.0)
    early = [row for (first, _), row in edges if first < low - reach]
    late = [row for (_, last), row in edges if last > high + reach]
    rows = sorted({*early, *late})
    if not rows:
        return []
    return [
        f"a few spikes of {named(trains.unit_ids, rows)} lie far from all others (99 of 100 spikes are between "
        f"{low:.6g} s and {high:.6g} s) and stretch the recording: cut it with --t-start and --t-stop and --clip."
    ]


def _doubts_about_rates(trains: SpikeTrains, limits: CheckLimits) -> list[str]:
    rates = trains.rate_hz
    firing = rates[trains.n_spikes_per_unit > 0]
    if firing.size < 3:
        return []
    median_hz = float(np.median(firing))
    loud = np.flatnonzero(rates > limits.outlier_rate_factor * median_hz)
    if not loud.size:
        return []
    return [
        f"{named(trains.unit_ids, loud)} fire{'s' if loud.size == 1 else ''} more than {limits.outlier_rate_factor:g} times "
        f"as often as the median unit ({rates[loud].max():.3g} Hz against {median_hz:.2g} Hz): noise, or unsorted spikes?"
    ]


def _doubts_about_intervals(trains: SpikeTrains, limits: CheckLimits) -> list[str]:
    repeated: list[int] = []
    n_repeated = 0
    violating: list[tuple[float, int]] = []
    for row in range(trains.n_units):
        gaps = np.diff(trains.spike_times_s[trains.offsets[row] : trains.offsets[row + 1]])
        if not gaps.size:
            continue
        short = int(np.count_nonzero(gaps < limits.refractory_s))
        if not short:
            continue
        zero = int(np.count_nonzero(gaps == 0))
        if zero:
            repeated.append(row)
            n_repeated += zero
        if short / gaps.size > limits.max_refractory_share and short > 1:
            violating.append((short / gaps.size, row))
    found = []
    if n_repeated > limits.max_repeated_share * trains.n_spikes:
        found.append(
            f"{n_repeated} spikes stand at the very time of the spike before, in {named(trains.unit_ids, repeated)}."
        )
    if violating:
        worst, _ = max(violating)
        rows = [row for _, row in sorted(violating, reverse=True)]
        found.append(
            f"{len(rows)} of {trains.n_units} units break their refractory period (up to {100 * worst:.2g} % of intervals below "
            f"{limits.refractory_s * 1e3:g} ms), so they hold spikes of other neurons: {named(trains.unit_ids, rows)}."
        )
    return found


def _thinned(values: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    return values[:: max(values.size // limit, 1)]
