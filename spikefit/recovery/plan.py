"""What `recover` will do and how long it will take, before it begins; and how many unrecorded neurons are worth simulating."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.fitted import fit_settings
from spikefit.planning import estimate, rough_time
from spikefit.recovery.jobs import WITHOUT, Job, config_of, jobs_of
from spikefit.results import Result
from spikefit.spikes import Counts

USUAL_HIDDEN = (0, 1, 3, 5)
MOST_TIME_S = 1800.0  # that numbers which nobody asked for may add, on one core
SIMULATION_S_PER_BIN = 20e-6


@dataclass(frozen=True)
class RecoveryPlan:
    """What will be simulated and fitted.

    Attributes:
        name: of the result.
        n_units, n_bins, bin_width_s: of the recording.
        lengths: of the simulated recordings.
        n_seeds: simulations of each kind.
        hidden: numbers of unrecorded neurons; empty for no such table.
        left_out: usual ones that would take too long.
        n_simulations, n_fits, n_fits_with_hidden: how many.
        time_s: a rough time on one core; that of fits with `--hidden auto` assumes that they try the numbers about the result's own.
        left_out_time_s: what those that are left out would add.
    """

    name: str
    n_units: int
    n_bins: int
    bin_width_s: float
    lengths: tuple[float, ...]
    n_seeds: int
    hidden: tuple[int, ...]
    left_out: tuple[int, ...]
    n_simulations: int
    n_fits: int
    n_fits_with_hidden: int
    time_s: float
    left_out_time_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def lines(self) -> list[str]:
        """The plan in words, a line per fact."""
        with_hidden = f", {self.n_fits_with_hidden} of them with hidden units" if self.n_fits_with_hidden else ""
        bins = f"{self.n_bins:,}".replace(",", " ")
        lines = [
            f"{self.name}: {self.n_units} units, {bins} bins of {1e3 * self.bin_width_s:g} ms",
            f"  lengths      {', '.join(f'{length:g}' for length in self.lengths)} times the recording",
            f"  unrecorded   {', '.join(map(str, self.hidden)) or 'not varied'}",
            f"  simulations  {self.n_simulations}, and {self.n_fits} fits{with_hidden}",
            f"  time         about {rough_time(self.time_s)} on one core",
        ]
        if self.left_out:
            lines.insert(3, f"  left out     {self.left_out_text()}")
        return lines

    def left_out_text(self) -> str:
        """Which numbers of unrecorded neurons are not simulated, why, and how they can be."""
        every = ",".join(map(str, sorted((*self.hidden, *self.left_out))))
        return (
            f"{', '.join(map(str, self.left_out))} unrecorded neurons, which would take about {rough_time(self.left_out_time_s)} more; "
            f"--hidden {every} simulates them all the same"
        )


def plan_of(
    fit: Result,
    config: Config,
    *,
    lengths: Sequence[float],
    n_seeds: int,
    seed: int,
    hidden: Sequence[int] | None,
    at: float,
) -> tuple[RecoveryPlan, list[Job], list[float]]:
    """The plan, its jobs, and the rough time of each in seconds.

    Args:
        fit: the result.
        config: its settings.
        lengths: of the simulated recordings.
        n_seeds: simulations of each kind.
        seed: first seed.
        hidden: numbers of unrecorded neurons; None for the usual ones.
        at: length of the recordings with so many.

    Raises:
        UsageError: for numbers that cannot be.
    """
    n_bins = int(fit.metrics["n_bins"])
    seeds = range(seed, seed + n_seeds)
    cost = _Cost(fit, config, n_bins)

    def jobs_for(numbers: Sequence[int]) -> list[Job]:
        return jobs_of(config, n_own=fit.n_hidden, lengths=lengths, seeds=seeds, hidden=numbers, at=at)

    chosen = _usual(fit) if hidden is None else _checked(fit, hidden)
    all_time_s = sum(map(cost.of, jobs_for(chosen)))
    left_out: list[int] = []
    if hidden is None:
        alone_s = sum(map(cost.of, jobs_for(())))
        # The largest go first; the result's own number and 0 stay, their fits being like those of the other table.
        for number in sorted(set(chosen) - {0, fit.n_hidden}, reverse=True):
            if sum(map(cost.of, jobs_for(chosen))) - alone_s > MOST_TIME_S:
                left_out.append(number)
                chosen = tuple(k for k in chosen if k != number)
    jobs = jobs_for(chosen)
    times_s = [cost.of(job) for job in jobs]
    n_with = sum(way != WITHOUT for job in jobs for way in job.ways)
    plan = RecoveryPlan(
        name=fit.name,
        n_units=fit.n_visible,
        n_bins=n_bins,
        bin_width_s=fit.bin_width_s,
        lengths=tuple(lengths),
        n_seeds=n_seeds,
        hidden=chosen,
        left_out=tuple(sorted(left_out)),
        n_simulations=len(jobs),
        n_fits=sum(len(job.ways) for job in jobs),
        n_fits_with_hidden=n_with,
        time_s=float(sum(times_s)),
        left_out_time_s=float(all_time_s - sum(times_s)),
    )
    return plan, jobs, times_s


def _usual(fit: Result) -> tuple[int, ...]:
    from spikefit.fitting.how_many import UNITS_PER_HIDDEN

    most = fit.n_visible // UNITS_PER_HIDDEN
    return tuple(sorted({*(k for k in USUAL_HIDDEN if k <= most), fit.n_hidden}))


def _checked(fit: Result, hidden: Sequence[int]) -> tuple[int, ...]:
    bad = [k for k in hidden if not 0 <= k <= fit.n_visible]
    if bad:
        raise UsageError(
            f"--hidden {','.join(map(str, hidden))}: networks like {fit.name} can have 0 to {fit.n_visible} unrecorded neurons, no more than "
            f"recorded ones, got {bad[0]}.",
            hint="pass --hidden 0,2,4, or --hidden none for no such table",
        )
    return tuple(sorted(set(hidden)))


class _Cost:
    """Rough seconds of simulations and fits on one core."""

    def __init__(self, fit: Result, config: Config, n_bins: int) -> None:
        self.fit, self.config, self.n_bins = fit, config, n_bins

    def of(self, job: Job) -> float:
        """One simulation and its fits."""
        return self.n_bins * job.length * SIMULATION_S_PER_BIN + sum(
            self._fit_s(job.length, way, job.n_hidden) for way in job.ways
        )

    @functools.cache  # noqa: B019 - lives as long as the plan is made
    def _fit_s(self, length: float, way: str, n_hidden: int) -> float:
        config = config_of(self.config, way, n_hidden)
        if config.model.hidden == "auto":  # it would try about as many as the result found, if it found some
            own = self.fit.n_hidden
            config = config.replace(hidden=tuple(sorted({0, max(own - 1, 0), own, own + 1} if own else {0})))
        n_bins = max(1, round(length * self.n_bins))
        # What a fit takes hangs on sizes alone.
        counts = Counts(
            counts=np.zeros((n_bins, self.fit.n_visible), dtype=np.uint8, order="F"),
            bin_width_s=self.fit.bin_width_s,
            segment_offsets=np.array([0, n_bins], dtype=np.int64),
            segment_start_s=np.array([0.0]),
            unit_ids=self.fit.unit_id[: self.fit.n_visible],
        )
        return estimate(self.fit.name, counts, fit_settings(config), config.run.device).time_s
