"""What a fit leaves: the network in plain numpy, its scores, and what the reader must know of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spikefit.alignment import Stability
from spikefit.fitting.expected import Judged
from spikefit.fitting.long_lags import LongLags
from spikefit.fitting.problem import Problem
from spikefit.fitting.scores import Blocks, Score, bits_per_spike, nats_per_bin
from spikefit.fitting.surrogates import Surrogates
from spikefit.fitting.windows import Windows

CI_LEVEL, CI_SIGMAS = 0.9, 1.6448536269514722

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlainCouplings:
    """Couplings without hidden units, summed over lags, for a test where those of the fit itself have no errors.

    Attributes:
        connectivity, std_error: (post, pre).
        correlation: of the errors of each receiver's couplings, (post or 1, pre, pre).
        why: the fit itself has none.
    """

    connectivity: Array
    std_error: Array
    correlation: Array | None
    why: str


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A fit, in numpy and float64.

    Attributes:
        parameters: of the chosen model, by name, enough to score other recordings.
        coupling_filters: (post, pre, lag), visible units first.
        baseline: (post,).
        std_error: of the filters' sums, (post, pre); NaN where there is none.
        hidden_count: posterior expected counts over `hidden_bins`; (bin, hidden).
        hidden_bins: indices into the binned recording.
        metrics: scores and sizes, plain values.
        history: series over steps.
        notes: what the reader must know, as sentences.
        h0_connectivity: of the fit without hidden units to the training bins, (post, pre), where there are hidden units.
        curvature: of the log-likelihood along each coupling of the fit without hidden units, all else at its best, (post, pre), in nats per
            (drive per spike)²; where that fit has errors.
        variance_inflation: what the other senders cost that coupling, see `fitting.collinearity`, (post, pre).
        restart_connectivity: couplings of recorded units in the restarts that are not reported, (restart, post, pre), where there are some.
        filter_std_error: of the filters at every lag, (post, pre, lag), where that was computed.
        surrogates: couplings of recordings in which nothing is coupled, where they were asked for or needed.
        surrogates_refused: why there are none, where the fit would have needed them.
        long_lags: couplings at lags too long for a synapse, where they were asked for.
        covariate_std_error: of the covariates' weights and of their curves' points, (post, column + point); None where there are none.
        stability: how far other restarts agree with the hidden units, where there were some.
        plain: what is tested instead, where the couplings of a fit with hidden units have no errors.
        coupling_correlation: of the errors of each receiver's couplings, (post or 1, pre, pre), where they have errors.
        attenuation: share of a coupling's size that the fit shows, by receiver, (post,); see `fitting.attenuation`. None where it is not known.
        judged: what the fit to the training bins expects in those that judge it, where that was computed.
    """

    parameters: dict[str, NDArray[Any]]
    coupling_filters: Array
    baseline: Array
    std_error: Array
    hidden_count: Array
    hidden_bins: NDArray[np.int64]
    metrics: dict[str, Any]
    history: dict[str, Array]
    notes: tuple[str, ...] = ()
    h0_connectivity: Array | None = None
    curvature: Array | None = None
    variance_inflation: Array | None = None
    restart_connectivity: Array | None = None
    filter_std_error: Array | None = None
    covariate_std_error: Array | None = None
    coupling_correlation: Array | None = None
    attenuation: Array | None = None
    judged: Judged | None = None
    surrogates: Surrogates | None = None
    surrogates_refused: str | None = None
    long_lags: LongLags | None = None
    stability: Stability | None = None
    plain: PlainCouplings | None = None

    @property
    def n_hidden(self) -> int:
        return int(self.hidden_count.shape[1])


def size_metrics(problem: Problem, heldout: Windows) -> dict[str, Any]:
    """How much was fitted and how much judged."""
    return {
        "n_visible": len(problem.counts),
        "n_bins": int(np.diff(problem.split.everything, axis=1).sum()),
        "n_train_bins": problem.split.n_train,
        "n_heldout_bins": heldout.n_bins,
        "n_lags": len(problem.basis),
    }


def score_metrics(nats: dict[int, Tensor], chosen: int, blocks: Blocks) -> dict[str, Any]:
    """Held-out scores of the chosen candidate, of H = 0, and of the difference."""
    if not len(blocks.n_bins):
        return {"n_hidden": chosen, "heldout_nats_per_bin": math.nan, "heldout_bits_per_spike": math.nan}
    absolute = {h: nats_per_bin(values - blocks.factorials, blocks) for h, values in nats.items()}
    bits = {h: bits_per_spike(values, blocks) for h, values in nats.items()}
    out: dict[str, Any] = {"n_hidden": chosen}
    for prefix, h in (("heldout", chosen), ("h0_heldout", 0)):
        out |= _named(f"{prefix}_nats_per_bin", absolute[h]) | _named(f"{prefix}_bits_per_spike", bits[h])
    gain = nats_per_bin(nats[chosen] - nats[0], blocks)
    out |= {"heldout_gain_nats_per_bin": gain.value, "heldout_gain_se": gain.error}
    if len(nats) > 1:
        out["candidates"] = [
            {"n_hidden": h}
            | _named("heldout_nats_per_bin", absolute[h])
            | _named("heldout_gain_nats_per_bin", nats_per_bin(nats[h] - nats[0], blocks))
            for h in sorted(nats)
        ]
    return out


def _named(name: str, score: Score) -> dict[str, float]:
    return {name: score.value, f"{name}_se": score.error}


def notes_on(metrics: dict[str, Any], converged: bool) -> tuple[str, ...]:
    """What the reader of the scores must know, as sentences."""
    notes = []
    if not converged:
        limit = "max_epochs" if metrics["n_hidden"] > 0 else "the iterations that a fit without hidden units has"
        notes.append(f"the fit did not converge within {limit}; its numbers may still move")
    bits, error = metrics.get("heldout_bits_per_spike", math.nan), metrics.get("heldout_bits_per_spike_se", math.nan)
    if bits < -error:
        notes.append(
            f"the fit predicts held-out bins worse than constant rates do ({bits:.3f} ± {error:.3f} bits per spike): these data do not settle so many "
            "weights. --ridge auto chooses the penalty that predicts best; fewer functions, a shorter window or fewer units leave fewer weights"
        )
    gain, error = metrics.get("heldout_gain_nats_per_bin", math.nan), metrics.get("heldout_gain_se", math.nan)
    n_hidden = metrics["n_hidden"]
    if n_hidden > 0 and gain < -error:
        notes.append(
            f"H = 0 is better: without hidden units the held-out score is higher by {-gain:.4f} ± {error:.4f} nats per "
            f"bin than with {n_hidden}; trust the fit without hidden units"
        )
    elif n_hidden > 0 and gain <= error:
        notes.append(
            f"the held-out score cannot tell {n_hidden} hidden unit{'s' if n_hidden > 1 else ''} from none "
            f"(gain {gain:.4f} ± {error:.4f} nats per bin)"
        )
    return tuple(notes)
