"""What the choice of the number of hidden units leaves in the metrics: importance-weighted bounds, folds, and a sentence."""

from __future__ import annotations

from typing import Any

from spikefit.fitting.candidates import Candidates
from spikefit.fitting.how_many import say_auto, say_listed
from spikefit.fitting.iwae import IWAE_DRAWS
from spikefit.fitting.scores import Score, nats_per_bin
from spikefit.spikes import Counts


def choice_metrics(candidates: Candidates, chosen: int, counts: Counts) -> dict[str, Any]:
    """Figures of every candidate beside its evidence lower bound, and why the chosen one was chosen.

    Args:
        candidates: what was tried.
        chosen: the number that is kept.
        counts: of the recording, for the times of the folds.
    """
    out: dict[str, Any] = {}
    if candidates.iwae:
        out["iwae_draws"] = IWAE_DRAWS
        if chosen:
            bound = candidates.iwae[chosen]
            absolute = nats_per_bin(bound - candidates.blocks.factorials, candidates.blocks)
            gain = nats_per_bin(bound - candidates.nats[0], candidates.blocks)
            out |= _named("heldout_iwae_nats_per_bin", absolute) | _named("heldout_iwae_gain_nats_per_bin", gain)
    cross = candidates.cross
    if cross is not None:
        out["cross_validation"] = {"folds": cross.n_folds, "blocks": len(cross.n_bins), "bins": int(cross.n_bins.sum())}
        out["cross_validation"]["fold_bins"] = cross.fold_bins
        out["cross_validation"]["fold_intervals_s"] = cross.fold_intervals_s(counts.time_s, counts.bin_width_s)
    if candidates.problem.settings.hidden_auto:
        out |= {"hidden_auto": True, "n_shared_inputs_train": candidates.n_shared}
        out["hidden_bar_nats_per_bin"] = candidates.hidden_bar
        out["hidden_choice"] = say_auto(candidates.n_shared, chosen, candidates.asked)
    elif len(candidates.asked) > 1 and (len(candidates.heldout) or cross):
        out["hidden_choice"] = say_listed(chosen, candidates.asked, cross.n_folds if cross else 1)
    return out


def further_scores(candidates: Candidates) -> dict[int, dict[str, Any]]:
    """What stands beside the evidence lower bound in the row of each candidate, by its number of hidden units."""
    rows: dict[int, dict[str, Any]] = {}
    for n_hidden in candidates.nats:
        rows[n_hidden] = {}
        if n_hidden in candidates.iwae:
            gain = nats_per_bin(candidates.iwae[n_hidden] - candidates.nats[0], candidates.blocks)
            rows[n_hidden] |= _named("heldout_iwae_gain_nats_per_bin", gain)
        if candidates.cross is not None:
            rows[n_hidden] |= _named("cv_gain_nats_per_bin", candidates.cross.gain(n_hidden))
            rows[n_hidden]["cv_fold_nats_per_bin"] = candidates.cross.fold_nats_per_bin(n_hidden)
    return rows


def _named(name: str, score: Score) -> dict[str, float]:
    return {name: score.value, f"{name}_se": score.error}
