"""Choosing the number of latents: several fits, judged by co-smoothing on the bins set aside inside the training ones.

The fewest latents are taken whose score lies within one standard error of the best fit's, where the error is that of the
difference between the two over blocks. The bins that are scored in the end have no say.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.pvae.data import windows_of
from spikefit.fitting.pvae.fit import FittedPvae, fit_pvae
from spikefit.fitting.pvae.folds import take
from spikefit.fitting.pvae.loop import unseen_by_window
from spikefit.fitting.pvae.settings import PvaeSettings
from spikefit.models.pvae.network import PVAE
from spikefit.spikes import Counts

CANDIDATES = (2, 4, 8, 16, 32)
# More latents are not tried once so many numbers in a row were no better than fewer.
MOST_WORSE = 2


@dataclass(frozen=True, eq=False)
class LatentChoice:
    """What was tried, and what was taken.

    Attributes:
        fitted: the fit that was taken; nothing is fitted again.
        latents: its number of latents.
        tried: for every number its `latents`, `co_bps` on the bins set aside, and `behind` ± `behind_se` the best, in
            bits per spike; empty where the number was given.
    """

    fitted: FittedPvae
    latents: int
    tried: tuple[dict[str, float | int], ...]


def choose_latents(
    counts: Counts, settings: PvaeSettings, *, device: torch.device, hooks: Hooks | None = None
) -> LatentChoice:
    """Fit with several numbers of latents and take the fewest that do as well as the best.

    Every fit has a checkpoint of its own, kept to the end, so that a choice that was interrupted goes on.

    Raises:
        UsageError: for observations that are no counts.
    """
    if settings.observation == "gaussian":
        raise UsageError(
            "--latents auto goes by co-smoothing, which counts spikes, and the observations are Gaussian.",
            hint="pass a number of latents",
        )
    fits: dict[int, FittedPvae] = {}
    scores: dict[int, NDArray[np.float64]] = {}
    for n in CANDIDATES:
        fits[n] = fit_pvae(
            counts,
            dataclasses.replace(settings, latents=n),
            device=device,
            hooks=hooks,
            checkpoint_name=f"pvae-{n}.safetensors",
            keep_checkpoint=True,
        )
        choose = take(counts, fits[n].ranges.choose)
        scores[n] = nats_by_block(fits[n].network, choose)
        if len(scores) - 1 - _place_of_best(scores) >= MOST_WORSE:
            break
    taken, tried = fewest_as_good(scores, choose)
    return LatentChoice(fits[taken], taken, tried)


@torch.no_grad()
def nats_by_block(model: PVAE, choose: Counts) -> NDArray[np.float64]:
    """Log-likelihood of units that were not shown, summed over each segment of some counts; (segment,)."""
    windows = windows_of(choose, model)
    unseen = torch.cat([nats for _, nats in unseen_by_window(model, windows)])
    block = np.searchsorted(choose.segment_offsets, windows.starts, side="right") - 1
    summed = np.zeros(choose.n_segments)
    np.add.at(summed, block, unseen.cpu().numpy())
    return summed


def fewest_as_good(
    scores: dict[int, NDArray[np.float64]], choose: Counts
) -> tuple[int, tuple[dict[str, float | int], ...]]:
    """The rule of one standard error.

    Args:
        scores: nats of every block, by number of latents.
        choose: the blocks.

    Returns:
        The number to take, and what there is to say about each.
    """
    values = choose.counts.astype(np.float64)
    mean = values.mean(axis=0)
    at_mean = float((values * np.log(np.maximum(mean, 1e-9)) - mean).sum())
    bits = math.log(2) * max(1.0, float(values.sum()))
    best = max(scores, key=lambda n: float(scores[n].sum()))
    tried: list[dict[str, float | int]] = []
    for n in sorted(scores):
        behind = scores[best] - scores[n]
        error = float(behind.std(ddof=1) * math.sqrt(len(behind))) if len(behind) > 1 else 0.0
        tried.append(
            {
                "latents": n,
                "co_bps": (float(scores[n].sum()) - at_mean) / bits,
                "behind": float(behind.sum()) / bits,
                "behind_se": error / bits,
            }
        )
    taken = next(row for row in tried if row["behind"] <= row["behind_se"])
    return int(taken["latents"]), tuple(tried)


def _place_of_best(scores: dict[int, Any]) -> int:
    totals = [float(blocks.sum()) for blocks in scores.values()]
    return totals.index(max(totals))
