"""Couplings of recordings in which nothing is coupled, because spikes were moved in time.

In a surrogate every unit's response is moved (`moved_spikes.py`) and explained by the other units as they were (`moved_responses.py`).

One surrogate, the reference, is fitted to its optimum, and its information matrices are factored. All others start from the mean of a few,
from which each differs by chance alone, so that one Newton step finds its optimum too; where that does not get near enough, as tried on the next
surrogate, more steps are taken in all of them (`surrogate_steps.py`).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spikefit.all_cores import on_all_cores
from spikefit.errors import UsageError
from spikefit.fitting.checkpoint import load_checkpoint, save_checkpoint
from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.moved_responses import INFORMATION_BINS_PER_FEATURE, MovedResponses
from spikefit.fitting.moved_spikes import mover
from spikefit.fitting.problem import Problem
from spikefit.fitting.processes import add_up, own_turns
from spikefit.fitting.surrogate_steps import N_MIDDLE, MovedSpikes, batch_size, refit, start_in_the_middle, steps_needed
from spikefit.pieces import SURROGATES_PER_PIECE

MOST_MULTIPLICATIONS = 4e11  # of one information matrix of every unit; about ten seconds on one core
MOST_BYTES = 2 << 30


@dataclass(frozen=True, eq=False)
class Surrogates:
    """What surrogates gave.

    Attributes:
        kind: how spikes were moved.
        asked: whether they were asked for; otherwise there were too few units for another test.
        z: couplings summed over lags over their standard errors, (surrogate, post, pre).
        n_steps: Newton steps that each took from the start that all share.
        change: root-mean-square change of z that one more would have brought, as tried on one surrogate.
    """

    kind: str
    asked: bool
    z: NDArray[np.float32]
    n_steps: int
    change: float


def fit_surrogates(
    problem: Problem, design: Design, fit: GLMFit, kind: str, n_surrogates: int, hooks: Hooks
) -> Surrogates:
    """Refit the couplings of so many surrogates, on all cores.

    The outcome depends on the seed alone, not on the number of workers, nor on how many processes share the surrogates.

    Args:
        problem: what was fitted.
        design: all its bins.
        fit: the optimum on them.
        kind: `jitter`, `shift` or `trials`.
        n_surrogates: how many.
        hooks: progress.

    Raises:
        UsageError: if spikes moved in that way keep their timing, or there are too many units for it.
    """
    seed = problem.settings.seed
    counts = problem.counts.cpu().numpy()
    move = mover(kind, counts, problem.segment_offsets, n_lags=design.n_lags, unit_ids=problem.unit_ids)
    refuse_many(design, "surrogates")
    moved = MovedResponses(problem, design)

    def draw(which: Sequence[int], stream: int = 31) -> MovedSpikes:
        bins = [move.bins(np.random.default_rng([seed, stream, one])) for one in which]
        return MovedSpikes.of(move.unit, bins, design.n_units, design.device)

    hooks.stage("fitting a reference for surrogates", None)
    moved.fit_reference(torch.from_numpy(move(np.random.default_rng([seed, 31, 0]))), fit)
    together = batch_size(design.n_units)
    start_in_the_middle(moved, (draw(some, stream=32) for some in batches(range(N_MIDDLE), together)))
    n_steps, change = steps_needed(moved, draw([1]))
    hooks.stage(f"refitting {n_surrogates} surrogates ({kind})", n_surrogates)
    refit_some = functools.partial(_refit, moved, draw, n_steps)
    every = range(2, 2 + n_surrogates)
    pieces = batches(every, SURROGATES_PER_PIECE)

    def refit_piece(piece: range) -> NDArray[np.float32]:
        n_before = sum(len(batches(one, together)) for one in pieces[: pieces.index(piece)])
        mine, n_rounds = own_turns(batches(piece, together), n_before)
        found = torch.zeros(len(piece), design.n_units, design.n_units, dtype=torch.float32)
        with contextlib.closing(on_all_cores(refit_some, mine, workers=problem.settings.workers)) as results:
            for turn in range(n_rounds):
                for z in itertools.islice(results, 1):  # there is none in the last round of some processes
                    own = slice(mine[turn].start - piece.start, mine[turn].stop - piece.start)
                    found[own] = torch.from_numpy(np.stack(z))
                hooks.update(piece.start - every.start + len(piece) * (turn + 1) // n_rounds)
                if hooks.should_stop():  # every process asks as often as the others, as all must answer
                    hooks.stop()
        shared = found.to(problem.device)
        add_up([shared])
        z_scores: NDArray[np.float32] = shared.cpu().numpy()
        return z_scores

    identity = problem.identity | {"surrogates": kind, "n_steps": str(n_steps)}
    z = np.concatenate(hooks.spread("surrogates", kept(refit_piece, hooks, identity, problem.device), pieces))
    return Surrogates(kind, problem.settings.surrogates is not None, z, n_steps, change)


def batches(every: range, size: int) -> list[range]:
    """So many at a time."""
    return [every[k : k + size] for k in range(0, len(every), size)]


def kept(
    function: Callable[[range], NDArray[np.float32]], hooks: Hooks, identity: dict[str, str], device: torch.device
) -> Callable[[range], NDArray[np.float32]]:
    """The function, with what it gave for each piece kept as a checkpoint, from which it is taken when a fit resumes."""
    folder = hooks.checkpoints
    if folder is None:
        return function

    def from_file_or_anew(piece: range) -> NDArray[np.float32]:
        path = folder / f"surrogates-{piece.start}-{piece.stop}.safetensors"
        if hooks.resume and path.exists():
            z: NDArray[np.float32] = load_checkpoint(path, identity, device)[0]["z"].cpu().numpy()
        else:
            z = function(piece)
            if hooks.keeps_checkpoints:
                save_checkpoint(path, {"z": torch.from_numpy(z)}, {}, identity)
        return z

    return from_file_or_anew


def _refit(
    moved: MovedResponses, draw: Callable[[Sequence[int]], MovedSpikes], n_steps: int, which: Sequence[int]
) -> list[NDArray[np.float32]]:
    return [moved.z_scores(params) for params in refit(moved, draw(which), n_steps)]


def refuse_many(design: Design, what: str) -> None:
    """Refuse work that would need a large information matrix for each of many units."""
    size = design.n_features + 1
    n_bins = min(design.n_bins, INFORMATION_BINS_PER_FEATURE * size)
    if float(design.n_units) * n_bins * size**2 > MOST_MULTIPLICATIONS or 8 * design.n_units * size**2 > MOST_BYTES:
        raise UsageError(
            f"{what} of {design.n_units} units with {design.n_features} features each are too much work: every unit needs an "
            "information matrix of its own.",
            hint="choose fewer units with --units or fewer --functions; --significance null is made for many units",
        )
