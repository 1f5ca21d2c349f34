"""Simulate from a fit, fit again with the same settings, and say what a recording like this one can resolve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.fitted import POGLM, check_hidden
from spikefit.progress import Progress, SilentProgress
from spikefit.recovery.scores import RecoveryScore, score_recovery
from spikefit.recovery.truth import (
    FEWEST_EDGES,
    TAMINGS,
    Taming,
    Truth,
    edges_of,
    matched_network,
    mean_counts,
    network_of_fit,
    tamed,
)
from spikefit.results import Result, load_result
from spikefit.results.documents import plain
from spikefit.simulate import Simulation, simulate

Q_LEVEL = 0.05
LENGTHS = (0.5, 1.0, 2.0)
N_SEEDS = 2
# A simulation whose units fire so many times as often as the recorded ones, all together, is of another network.
FARTHEST_RATE = 2.0
FIT, RANDOM = "fit", "random"


@dataclass(frozen=True)
class TrueEdge:
    """An edge of a simulated network, and what was found of it; `q_value` is NaN where the fit has none."""

    network: str
    length: float
    seed: int
    pre_id: str
    post_id: str
    weight: float
    n_pre_spikes: int
    n_post_spikes: int
    estimate: float
    q_value: float
    found: bool


@dataclass(frozen=True, eq=False)
class Recovery:
    """What a recording can resolve.

    Attributes:
        name: of the result.
        q: edges were called at this q-value.
        truth_rule: which couplings of the fit were taken for true.
        scores: one for each simulated recording.
        edges: every true edge of each of them.
        notes: what the reader must know.
        seed: that all seeds come from.
        taming: how the fit had to be weakened to be simulated; None where no simulation of it succeeded.
    """

    name: str
    q: float
    truth_rule: str
    scores: tuple[RecoveryScore, ...]
    edges: tuple[TrueEdge, ...]
    notes: tuple[str, ...]
    seed: int
    taming: Taming | None = TAMINGS[0]

    def sentence(self) -> str:
        """What can be found in a recording of this length, from the measured shares, and of which network that is said."""
        return f"{found_sentence(self)}{_of_what(self.taming)}"

    def means(self) -> list[dict[str, Any]]:
        """For each kind of network and length the mean over seeds of every score; what was never known is NaN."""
        rows = []
        for key in dict.fromkeys((score.network, score.length) for score in self.scores):
            group = [score for score in self.scores if (score.network, score.length) == key]
            row: dict[str, Any] = {"network": key[0], "length": key[1], "n_seeds": len(group)}
            for item in fields(RecoveryScore)[3:]:
                values = np.array([getattr(score, item.name) for score in group], dtype=np.float64)
                known = values[np.isfinite(values)]
                row[item.name] = float(known.mean()) if known.size else math.nan
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single edges as plain values; what is not known is None."""
        values: dict[str, Any] = plain(
            {
                "name": self.name,
                "sentence": self.sentence(),
                "q": self.q,
                "truth": self.truth_rule,
                "taming": None if self.taming is None else asdict(self.taming),
                "seed": self.seed,
                "means": self.means(),
                "runs": [asdict(score) for score in self.scores],
                "notes": self.notes,
            }
        )
        return values

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page, the numbers and the tables into `folder`, whole or not at all.

        Raises:
            UsageError: if the folder holds anything and `overwrite` is not set, holds a result, or cannot be written to.
        """
        from spikefit.recovery.saving import save_recovery

        return save_recovery(self, Path(folder), overwrite=overwrite)


def recover(
    result: str | Path | Result,
    *,
    lengths: Sequence[float] = LENGTHS,
    seeds: int = N_SEEDS,
    q: float = Q_LEVEL,
    seed: int = 0,
    progress: Progress | None = None,
) -> Recovery:
    """Simulate from a fit and from random networks that match it, fit again, and score what was found.

    Args:
        result: a fit; a folder, a file or a result.
        lengths: of the simulated recordings, in lengths of the recording.
        seeds: simulations of each network at each length.
        q: edges are called at this q-value.
        seed: that all seeds come from.
        progress: is told what is being done.

    Raises:
        UsageError: for lengths, seeds or a q-value that cannot be, a result that nothing can be simulated from, or when every
            simulation runs away.
        ResultError: if the result cannot be read.
    """
    if not lengths or min(lengths) <= 0 or max(lengths) > 100:
        raise UsageError(
            f"--length must be above 0 and at most 100 recordings, got {list(lengths)}.", hint="pass --length 1"
        )
    if seeds < 1 or not 0 < q < 1:
        raise UsageError(f"--seeds must be at least 1 and --q lie between 0 and 1, got {seeds} and {q:g}.")
    fit = result if isinstance(result, Result) else load_result(result)
    config, duration_s = _settings(fit)
    progress = progress or SilentProgress()
    covariates = None if fit.covariates is None else ", ".join(dict.fromkeys(fit.covariates.covariate))
    edges, rule = edges_of(fit, q)
    scores: list[RecoveryScore] = []
    found: list[TrueEdge] = []
    notes: list[str] = []
    if covariates is not None:
        config = config.replace(with_covariates={})
        notes.append(
            f"the simulated recordings know no covariates: {covariates} stand at their mean in them, and their fits do without; what "
            "covariates explain in the recording is therefore no part of this answer"
        )
    if config.model.count_law == "negative-binomial":
        notes.append("the simulated spikes are Poisson: what scatters more in the recording is no part of this answer")
    n_lost = sum("observed_s" in row.columns for row in fit.unit_rows)
    if n_lost:
        notes.append(
            "some units were lost for part of the recording; in the simulated ones all are observed throughout, so this answer is "
            "too hopeful about their couplings"
        )
    jobs = [(kind, float(length), seed + k) for kind in (FIT, RANDOM) for length in lengths for k in range(seeds)]
    if not edges.any():
        notes.append(
            "the fit calls no edge, so its own simulations only tell how many edges are called where there is none"
        )
    if edges.sum() < FEWEST_EDGES:
        notes.append(
            "fewer than five edges do not tell how many there are and how strong: the random networks have about one for each unit, "
            "five times as large as what no edge looks like"
        )
    failed: dict[str, list[str]] = {FIT: [], RANDOM: []}
    own = network_of_fit(fit, edges)
    taming, why = _taming(own, fit, duration_s * max(lengths), seed)
    if taming is not None and taming != TAMINGS[0]:
        own = tamed(own, fit, taming)
        notes.append(
            f"the fit cannot go on by itself ({why}), so it was simulated {taming}; what is found of such a network is not quite what is found of the fit"
        )
    progress.start("simulating and fitting again", float(len(jobs)))
    for done, (kind, length, one) in enumerate(jobs):
        progress.update(float(done))
        truth = own if kind == FIT else matched_network(fit, edges, seed=one)
        simulation = _simulated(truth, fit, duration_s * length, one)
        if isinstance(simulation, str):
            failed[kind].append(simulation)
            continue
        again = POGLM(config).fit(simulation.visible_counts)
        called, _ = edges_of(again, q)
        scores.append(score_recovery(truth, simulation, again, called, network=kind, length=length))
        found += _true_edges(fit, truth, simulation, again, called, kind, length)
    progress.finish()
    notes += [_cannot(kind, whys, len(jobs) // 2) for kind, whys in failed.items() if whys]
    if not scores:
        raise UsageError(
            f"{fit.name}: neither the fit nor random networks that match it can be simulated: {'; '.join(notes)}.",
            hint="fit with a stronger --ridge or without the common drive, and try again",
        )
    simulated = any(score.network == FIT for score in scores)
    return Recovery(
        fit.name,
        q,
        rule,
        tuple(scores),
        tuple(found),
        tuple(notes),
        seed,
        (taming or TAMINGS[0]) if simulated else None,
    )


def found_sentence(recovery: Recovery) -> str:
    """Edges above the median weight and the median number of spikes, and how many of those were found.

    Of the simulated recordings whose length is nearest to the recording's own.
    """
    nearest = min((score.length for score in recovery.scores), key=lambda length: abs(math.log(length)))
    edges = [edge for edge in recovery.edges if edge.length == nearest]
    false = sum(score.n_called - score.n_right for score in recovery.scores if score.length == nearest)
    n_called = sum(score.n_called for score in recovery.scores if score.length == nearest)
    length = "a recording of this length" if nearest == 1 else f"a recording {nearest:g} times as long"
    tail = f"; {false} of {n_called} calls were false" if n_called else "; nothing was called"
    if not edges:
        return f"In {length} there was no true edge to find{tail}."
    weight = float(np.median([abs(edge.weight) for edge in edges]))
    n_spikes = int(np.median([min(edge.n_pre_spikes, edge.n_post_spikes) for edge in edges]))
    strong = [
        edge for edge in edges if abs(edge.weight) >= weight and min(edge.n_pre_spikes, edge.n_post_spikes) >= n_spikes
    ]
    share = np.mean([edge.found for edge in edges])
    text = f"In {length} {share:.0%} of all {len(edges)} simulated edges were found"
    if strong:
        text = (
            f"In {length} edges stronger than {weight:.2g} between neurons with more than {n_spikes:,} spikes each are found "
            f"{np.mean([edge.found for edge in strong]):.0%} of the time ({len(strong)} simulated ones), all edges {share:.0%}"
        )
    return f"{text}{tail}."


def _settings(fit: Result) -> tuple[Config, float]:
    n_bins = int(fit.metrics.get("n_bins") or 0)
    if not n_bins or "model" not in fit.config or fit.n_visible < 2 or not np.isfinite(fit.coupling_filters).all():
        raise UsageError(
            f"{fit.name}: nothing can be simulated from this result (it needs two units, finite couplings, the settings and the length).",
            hint="pass a folder that spikefit infer left",
        )
    # What was known of single pairs is not known of another network's, and its units have no types.
    config = Config.model_validate(dict(fit.config)).replace(pair_mask=None, dale={}, pair_types="none")
    check_hidden(config, fit.unit_id[: fit.n_visible])
    return config, n_bins * fit.bin_width_s


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


def _of_what(taming: Taming | None) -> str:
    if taming is None:
        return " The fit itself cannot be simulated; this is of random networks that match it."
    return "" if taming == TAMINGS[0] else f" The fit cannot go on by itself; it was simulated {taming}."


def _cannot(kind: str, whys: list[str], n_jobs: int) -> str:
    told = f"{len(whys)} of {n_jobs} simulations"
    if kind == FIT:
        then = "only random networks tell" if len(whys) == n_jobs else "they were left out"
        return f"the fit cannot be simulated from in {told} ({whys[0]}): it is too recurrent to go on by itself; {then}"
    return f"random networks that match the fit ran away in {told} ({whys[0]}) and were left out"


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
