"""Held-out scores by short pieces of time, the same in seconds whatever the bins, so that fits with other bins or windows can be paired.

The log-likelihood is that of the spike times themselves: a model of counts in bins of Δ seconds, whose spikes may lie anywhere in their bin, gives
them the density P(counts) · Π x! / Δ^x. Its logarithm is the counts' own, factorials left out, less log Δ for every spike. What is left does not hang
on the unit of counting, so that bins of 5 and of 20 ms are judged by the same measure.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.problem import Problem
from spikefit.fitting.scores import describe_blocks, glm_nats, poglm_nats
from spikefit.marks import PIECE_S
from spikefit.models.poglm import POGLMNetwork

ROUNDING = 1e-6  # of a bin


def pieces_of(ranges: NDArray[np.int64], segment_offsets: NDArray[np.int64], bin_width_s: float) -> NDArray[np.int64]:
    """The pieces that lie wholly inside some ranges of bins; (piece, 2).

    Piece k of a segment holds the bins that start in [k, k + 1) · `PIECE_S` seconds after the segment does.

    Args:
        ranges: of bins, `[start, stop)`, each inside one segment.
        segment_offsets: first bin of each segment and the end of the last.
        bin_width_s: of the bins.
    """
    rows = []
    for start, stop in ranges.tolist():
        segment = int(segment_offsets[np.searchsorted(segment_offsets, start, side="right") - 1])
        first = math.ceil((start - segment) * bin_width_s / PIECE_S - ROUNDING)
        last = math.floor((stop - segment) * bin_width_s / PIECE_S + ROUNDING)
        edges = [segment + math.ceil(k * PIECE_S / bin_width_s - ROUNDING) for k in range(first, last + 1)]
        rows += [[a, b] for a, b in itertools.pairwise(edges) if b > a]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def scores_by_piece(
    problem: Problem, scored: GLMFit | POGLMNetwork, time_s: NDArray[np.float64], bin_width_s: float
) -> dict[str, NDArray[np.float64]]:
    """Series for the history of a fit: where the held-out pieces start, their spikes, and their log-likelihoods.

    Args:
        problem: what was fitted.
        scored: the fit to the training bins.
        time_s: start of every bin of the recording.
        bin_width_s: of the bins.
    """
    pieces = pieces_of(problem.split.heldout, problem.segment_offsets, bin_width_s)
    if not len(pieces):
        return {}
    windows = problem.windows(pieces, int(np.diff(pieces, axis=1).max()))
    blocks = describe_blocks(windows, problem.mean_count, problem.constant_dispersion)
    if isinstance(scored, GLMFit):
        nats = glm_nats(scored, windows, problem.basis, problem.settings.link, problem.inputs)
    else:
        nats = poglm_nats(scored, windows)
    spikes: Tensor = blocks.n_spikes
    by_time = spikes * math.log(bin_width_s)
    named = {"spikes": spikes, "nats": nats - by_time, "constant_nats": blocks.null_nats - by_time}
    return {"heldout_piece_start_s": time_s[windows.starts]} | {
        f"heldout_piece_{name}": values.to(torch.float64).numpy() for name, values in named.items()
    }
