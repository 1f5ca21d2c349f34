"""Simulate from a fit, fit again with the same settings, and say what a recording like this one can resolve."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.fitted import POGLM, check_hidden
from spikefit.progress import Progress, SilentProgress
from spikefit.recovery.hidden import AgainstHidden, HiddenRun, called_by
from spikefit.recovery.jobs import FIT, RANDOM, WITH, Job, config_of, own_way
from spikefit.recovery.matched import matched_network, unrecorded_like
from spikefit.recovery.outcome import Recovery, TrueEdge
from spikefit.recovery.plan import RecoveryPlan, plan_of
from spikefit.recovery.scores import RecoveryScore, score_recovery
from spikefit.recovery.truth import (
    FEWEST_EDGES,
    TAMINGS,
    Taming,
    Truth,
    edges_of,
    mean_counts,
    network_of_fit,
    tamed,
)
from spikefit.recovery.words import cannot
from spikefit.results import Result, doubts_of_opening, load_result
from spikefit.simulate import Simulation, simulate

Q_LEVEL = 0.05
LENGTHS = (0.5, 1.0, 2.0)
N_SEEDS = 2
# A simulation whose units fire so many times as often as the recorded ones, all together, is of another network.
FARTHEST_RATE = 2.0


def recover(
    result: str | Path | Result,
    *,
    lengths: Sequence[float] = LENGTHS,
    seeds: int = N_SEEDS,
    q: float = Q_LEVEL,
    seed: int = 0,
    hidden: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Recovery:
    """Simulate from a fit and from random networks that match it, fit again, and score what was found.

    Args:
        result: a fit; a folder, a file or a result.
        lengths: of the simulated recordings, in lengths of the recording.
        seeds: simulations of each network at each length.
        q: edges are called at this q-value.
        seed: that all seeds come from.
        hidden: also simulate random networks with so many unrecorded neurons, at the length nearest to the recording's own, and fit
            them with hidden units and without; none for no such table. Where None, 0, 1, 3, 5 and the result's own number, as far as the recording has three
            units for each and the fits do not take too long.
        progress: is told the plan, and what is being done.

    Raises:
        UsageError: for lengths, seeds, a q-value or numbers that cannot be, a result that nothing can be simulated from, or when every
            simulation runs away.
        ResultError: if the result cannot be read.
    """
    fit, config, at = _asked(result, lengths, seeds, q)
    progress = progress or SilentProgress()
    planned, jobs, times_s = plan_of(fit, config, lengths=lengths, n_seeds=seeds, seed=seed, hidden=hidden, at=at)
    for line in planned.lines():
        progress.note(line)
    edges, rule = edges_of(fit, q)
    config, notes = _without_covariates(fit, config)
    notes += _notes(fit, config, edges)
    if planned.left_out:
        notes.append(f"not simulated: {planned.left_out_text()}")
    own = network_of_fit(fit, edges)
    taming, why = _taming(own, fit, _duration_s(fit) * max(lengths), seed)
    if taming is not None and taming != TAMINGS[0]:
        own = tamed(own, fit, taming)
        notes.append(
            f"the fit cannot go on by itself ({why}), so it was simulated {taming}; what is found of such a network is not quite what is found of the fit"
        )
    runs = _Runs(fit, config, q)
    matched = functools.cache(lambda seed, n: matched_network(fit, edges, seed=seed, n_unrecorded=n))
    progress.start("simulating and fitting again", sum(times_s))
    for job, spent_s in zip(jobs, np.cumsum([0.0, *times_s]).tolist(), strict=False):
        progress.update(spent_s)
        runs.add(job, own if job.network == FIT else matched(job.seed, job.n_hidden))
    progress.finish()
    notes += [
        cannot(kind, whys, sum(job.network == kind for job in jobs)) for kind, whys in runs.failed.items() if whys
    ]
    if not runs.scores:
        raise UsageError(
            f"{fit.name}: neither the fit nor random networks that match it can be simulated: {'; '.join(notes)}.",
            hint="fit with a stronger --ridge or without the common drive, and try again",
        )
    simulated = any(score.network == FIT for score in runs.scores)
    table = AgainstHidden(tuple(runs.against), str(unrecorded_like(fit, edges)), own_way(config) == WITH)
    return Recovery(
        fit.name,
        q,
        rule,
        tuple(runs.scores),
        tuple(runs.edges),
        (*notes, *table.notes()),
        seed,
        (taming or TAMINGS[0]) if simulated else None,
        table,
    )


@dataclass(eq=False)
class _Runs:
    """What the simulations have shown so far.

    Attributes:
        fit: the result that is simulated.
        config: its settings.
        q: edges are called at this q-value.
        scores: of the fits that stand in the table against the length.
        edges: what became of each true edge in these.
        against: the fits that stand in the table against unrecorded neurons.
        failed: why simulations failed, by kind of network.
    """

    fit: Result
    config: Config
    q: float
    scores: list[RecoveryScore] = field(default_factory=list)
    edges: list[TrueEdge] = field(default_factory=list)
    against: list[HiddenRun] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=lambda: {FIT: [], RANDOM: []})

    def add(self, job: Job, truth: Truth) -> None:
        """Simulate the network of one job, and fit it in each of its ways."""
        fit, config = self.fit, self.config
        simulation = _simulated(truth, fit, _duration_s(fit) * job.length, job.seed)
        if isinstance(simulation, str):
            self.failed[job.network].append(simulation)
            return
        for way in job.ways:
            again = POGLM(config_of(config, way, job.n_hidden)).fit(simulation.visible_counts)
            called, _ = edges_of(again, self.q)
            score = score_recovery(truth, simulation, again, called, network=job.network, length=job.length)
            if job.against_length and way == own_way(config):
                self.scores.append(score)
                self.edges += _true_edges(fit, truth, simulation, again, called, job.network, job.length)
            if job.against_hidden:
                self.against.append(HiddenRun(way, called_by(again), score))


def plan_recovery(
    result: str | Path | Result,
    *,
    lengths: Sequence[float] = LENGTHS,
    seeds: int = N_SEEDS,
    q: float = Q_LEVEL,
    seed: int = 0,
    hidden: Sequence[int] | None = None,
) -> RecoveryPlan:
    """What `recover` would do with the same words, and how long it would take; nothing is simulated.

    Raises:
        UsageError: as `recover` does.
        ResultError: if the result cannot be read.
    """
    fit, config, at = _asked(result, lengths, seeds, q)
    return plan_of(fit, config, lengths=lengths, n_seeds=seeds, seed=seed, hidden=hidden, at=at)[0]


def _asked(result: str | Path | Result, lengths: Sequence[float], seeds: int, q: float) -> tuple[Result, Config, float]:
    """The result, its settings, and the length nearest to its own."""
    if not lengths or min(lengths) <= 0 or max(lengths) > 100:
        raise UsageError(
            f"--length must be above 0 and at most 100 recordings, got {', '.join(f'{length:g}' for length in lengths) or 'none'}.",
            hint="pass --length 1",
        )
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}.", hint="pass --seeds 2, say")
    if not 0 < q < 1:
        raise UsageError(f"--q must lie between 0 and 1, got {q:g}.", hint="pass --q 0.05, say")
    fit = result if isinstance(result, Result) else load_result(result)
    return fit, _settings(fit), min(map(float, lengths), key=lambda length: abs(math.log(length)))


def _without_covariates(fit: Result, config: Config) -> tuple[Config, list[str]]:
    if fit.covariates is None:
        return config, []
    names = ", ".join(dict.fromkeys(fit.covariates.covariate))
    return config.replace(with_covariates={}), [
        f"the simulated recordings know no covariates: {names} stand at their mean in them, and their fits do without; what "
        "covariates explain in the recording is therefore no part of this answer"
    ]


def _notes(fit: Result, config: Config, edges: Any) -> list[str]:
    """What the reader must know of the simulated recordings, before there are any."""
    notes = [*doubts_of_opening(fit)]
    if config.model.count_law == "negative-binomial":
        notes.append("the simulated spikes are Poisson: what scatters more in the recording is no part of this answer")
    if any("observed_s" in row.columns for row in fit.unit_rows):
        notes.append(
            "some units were lost for part of the recording; in the simulated ones all are observed throughout, so this answer is "
            "too hopeful about their couplings"
        )
    if not edges.any():
        notes.append(
            "the fit calls no edge, so its own simulations only tell how many edges are called where there is none"
        )
    if edges.sum() < FEWEST_EDGES:
        notes.append(
            "fewer than five edges do not tell how many there are and how strong: the random networks have about one for each unit, "
            "five times as large as what no edge looks like"
        )
    return notes


def _settings(fit: Result) -> Config:
    if (
        not fit.metrics.get("n_bins")
        or "model" not in fit.config
        or fit.n_visible < 2
        or not np.isfinite(fit.coupling_filters).all()
    ):
        raise UsageError(
            f"{fit.name}: nothing can be simulated from this result (it needs two units, finite couplings, the settings and the length).",
            hint="pass a folder that spikefit infer left",
        )
    # What was known of single pairs is not known of another network's, and its units have no types.
    config = Config.model_validate(dict(fit.config)).replace(pair_mask=None, dale={}, pair_types="none")
    check_hidden(config, fit.unit_id[: fit.n_visible])
    return config


def _duration_s(fit: Result) -> float:
    return int(fit.metrics["n_bins"]) * fit.bin_width_s


def _simulated(truth: Truth, fit: Result, duration_s: float, seed: int) -> Simulation | str:
    """A simulation, or why there is none."""
    try:
        simulation = simulate(truth.network, duration_s=duration_s, seed=seed)
    except UsageError as fault:
        return fault.message.rstrip(".")
    n = truth.network.n_visible
    rate = simulation.counts[:, :n].mean(dtype=np.float64) / mean_counts(fit)[:n].mean()
    if not 1 / FARTHEST_RATE <= rate <= FARTHEST_RATE:
        return f"its units fire {rate:.2g} times as often as the recorded ones"
    return simulation


def _taming(truth: Truth, fit: Result, duration_s: float, seed: int) -> tuple[Taming | None, str]:
    """The least weakening with which the fit can be simulated, None where none helps; and why it cannot be simulated as it is."""
    first = ""
    for taming in TAMINGS:
        found = _simulated(tamed(truth, fit, taming), fit, duration_s, seed)
        if not isinstance(found, str):
            return taming, first
        first = first or found
    return None, first


def _true_edges(
    fit: Result, truth: Truth, simulation: Simulation, again: Result, called: Any, kind: str, length: float
) -> list[TrueEdge]:
    weights = truth.network.connectivity
    n_spikes = simulation.counts.sum(axis=0, dtype=np.int64).tolist()
    return [
        TrueEdge(
            kind,
            length,
            simulation.seed,
            fit.unit_id[pre],
            fit.unit_id[post],
            float(weights[post, pre]),
            n_spikes[pre],
            n_spikes[post],
            float(again.connectivity[post, pre]),
            float(again.q_value[post, pre]),
            bool(called[post, pre]),
        )
        for post, pre in np.argwhere(truth.edges).tolist()
    ]
