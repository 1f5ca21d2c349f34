"""Data that leave a weight nothing to stop at: without a penalty the likelihood rises for ever, and never has a maximum.

Along a direction v of a unit's weights and baseline the log-likelihood never falls if v leaves the drive as it is in every
bin with a spike of the unit and lowers it, or leaves it, in all others. Two ways of looking for one:

* A sender whose spikes are never followed by one of the unit within the window: its weights run to −∞. Basis functions
  are never negative, so a sum over the unit's spikes tells, for all pairs in one pass.
* Any other, a unit that only ever fires in step with another, say: a linear programme in the directions that the bins with
  spikes leave open, for populations of moderate size. It is solved on some bins, checked on all, and solved again with
  those that it had wrong.

Source: Albert and Anderson, "On the existence of maximum likelihood estimates in logistic regression models" (Biometrika
1984), for the idea; for Poisson counts the drive at a spike must stay, since a count has a best rate of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.penalised import PenalisedGLM

Array = NDArray[np.float64]

MOST_PROGRAMME_FEATURES = 300
MOST_PROGRAMME_VALUES = 1e7  # features times bins, all of which a programme may look at
FIRST_BINS, ROUNDS = 1000, 12
SLACK = 1e-7
FEWEST_EXPECTED = 5.0  # spikes after a sender's by chance; fewer say nothing about the pair
MOST_NAMED = 3


@dataclass(frozen=True)
class Separable:
    """What the data leave open.

    Attributes:
        never_after: pairs (receiver, sender) without a spike of the receiver in any window after one of the sender, with the
            receiver's spikes to be expected there by chance; the most surprising first.
        in_step: receivers with another such direction, and the senders it leans on most.
    """

    never_after: tuple[tuple[int, int, float], ...]
    in_step: tuple[tuple[int, tuple[int, ...]], ...]


def find_separable(design: Design, n_functions: int, free: Tensor | None = None) -> Separable:
    """Look for weights without a finite optimum.

    Args:
        design: the bins that are fitted.
        n_functions: weights of a pair.
        free: which weights are fitted, (unit, feature); None for all.
    """
    small = design.n_features <= MOST_PROGRAMME_FEATURES and design.n_features * design.n_bins <= MOST_PROGRAMME_VALUES
    never = _never_after(design, n_functions, free, 0.0 if small else FEWEST_EXPECTED)
    known = {(post, pre) for post, pre, _ in never}
    in_step = _in_step(design, n_functions, free, known) if small else ()
    told = [pair for pair in never if pair[2] >= FEWEST_EXPECTED]
    return Separable(tuple(sorted(told, key=lambda pair: -pair[2])), in_step)


def _never_after(design: Design, n_functions: int, free: Tensor | None, fewest: float) -> list[tuple[int, int, float]]:
    """Pairs (receiver, sender) without a spike of the one after the other, where at least so many are to be expected."""
    n = design.n_units
    with_history = torch.zeros(n, dtype=torch.float64, device=design.device)
    for lately, _ in design.reached():
        with_history += lately.sum(1, dtype=torch.float64)
    expected = design.count_sums()[:, None] * (with_history / max(1, design.n_bins))[None, :]
    if design.any_lost:  # by chance only while the receiver is observed
        met_bins = torch.zeros(n, n, dtype=torch.float64, device=design.device)
        for (lately, _), lost in zip(design.reached(), design.lost(), strict=True):
            assert lost is not None
            met_bins += ((~lost).to(lately) @ lately.T).double()
        expected = (design.count_sums() / design.own_bins())[:, None] * met_bins
    never = (expected > 0) & (expected >= fewest)
    if free is not None:
        never &= free[:, : design.n_couplings].unflatten(1, (n, n_functions)).any(2)
    for lately, counts in design.reached():
        receivers, senders = never.any(1).nonzero()[:, 0], never.any(0).nonzero()[:, 0]
        if not len(receivers):
            break
        met = counts[receivers] @ lately[senders].T > 0
        never[receivers[:, None], senders] &= ~met
    return [(post, pre, float(expected[post, pre])) for post, pre in never.nonzero().tolist()]


def _in_step(
    design: Design, n_functions: int, free: Tensor | None, known: set[tuple[int, int]]
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    features = torch.cat([block.double().cpu() for block, _ in design.blocks()], dim=1).numpy()
    counts = torch.cat([block.cpu() for _, block in design.blocks()], dim=1).numpy()
    lost = None
    if design.any_lost:
        lost = torch.cat([block.cpu() for block in design.lost() if block is not None], dim=1).numpy()
    scale = np.maximum(features.std(axis=1), 1e-12)
    rows = np.concatenate([features / scale[:, None], np.ones((1, features.shape[1]))]).T
    found = []
    for unit, own in enumerate(counts):
        kept = np.ones(rows.shape[1], dtype=bool)
        if free is not None:
            kept[:-1] = free[unit].cpu().numpy()
        for post, pre in known:  # these are told of already
            if post == unit:
                kept[pre * n_functions : (pre + 1) * n_functions] = False
        spikes = own > 0
        if not spikes.any():
            continue
        open_ = _left_open(rows[spikes][:, kept])
        if not open_.shape[1]:
            continue
        silent = ~spikes if lost is None else ~(spikes | lost[unit])
        direction = _recession(rows[silent][:, kept] @ open_)
        if direction is None:
            continue
        weights = np.zeros(rows.shape[1])
        weights[kept] = open_ @ direction
        size = np.linalg.norm(weights[: design.n_couplings].reshape(-1, n_functions), axis=1)
        leaning = [int(k) for k in np.argsort(-size)[:MOST_NAMED] if size[k] > 0.2 * size.max()]
        found.append((unit, tuple(leaning)))
    return tuple(found)


def _left_open(at_spikes: Array) -> Array:
    """Directions, as columns, that change the drive in no bin with a spike."""
    gram = at_spikes.T @ at_spikes
    sizes, vectors = np.linalg.eigh(gram)
    return np.asarray(vectors[:, sizes < 1e-10 * max(sizes[-1], 1e-300)])


def _recession(others: Array) -> Array | None:
    """A combination of columns that is at or below zero in every row and below in some; None where there is none."""
    from scipy.optimize import linprog

    n_rows, n_open = others.shape
    size = np.abs(others).max(initial=0.0)
    if size < SLACK:
        return None  # these directions change no bin at all: the features repeat one another, and nothing runs away
    others = others / size
    chosen = np.unique(np.linspace(0, n_rows - 1, min(n_rows, FIRST_BINS)).round().astype(np.int64))
    total = others.sum(axis=0)
    for _ in range(ROUNDS):
        solved = linprog(
            total, A_ub=others[chosen], b_ub=np.zeros(len(chosen)), bounds=[(-1, 1)] * n_open, method="highs"
        )
        if solved.x is None or solved.fun > -1e-6:
            return None  # fewer rows would allow more: what these forbid all forbid
        values = others @ solved.x
        wrong = np.flatnonzero(values > SLACK)
        if not len(wrong):
            return np.asarray(solved.x)
        chosen = np.union1d(chosen, wrong[np.argsort(-values[wrong])[:FIRST_BINS]])
    return None


def separable_notes(found: Separable, unit_ids: tuple[str, ...], ridge: float) -> tuple[str, ...]:
    """What the reader must know, as sentences."""
    notes = []
    held = (
        f"a ridge of {ridge:g} alone says how strong it is" if ridge > 0 else "nothing stops it: pass a --ridge above 0"
    )
    if found.never_after:
        named = ", ".join(
            f"{unit_ids[post]!r} after {unit_ids[pre]!r} ({expected:.0f} expected by chance)"
            for post, pre, expected in found.never_after[:MOST_NAMED]
        )
        n = len(found.never_after)
        more = f", and {n - MOST_NAMED} more pairs" if n > MOST_NAMED else ""
        notes.append(
            f"some units never fire within a window after another's spikes: {named}{more}. Without a penalty such a coupling has "
            f"no finite optimum; {held}"
        )
    if found.in_step:
        named = ", ".join(
            f"{unit_ids[unit]!r}" + (f" (with {', '.join(repr(unit_ids[m]) for m in senders)})" if senders else "")
            for unit, senders in found.in_step[:MOST_NAMED]
        )
        n = len(found.in_step)
        more = f", and {n - MOST_NAMED} more units" if n > MOST_NAMED else ""
        notes.append(
            f"the spikes of some units are told apart from silence by other units' history without a fault (separable data): "
            f"{named}{more}. Without a penalty their couplings have no finite optimum; {held.replace('it is', 'they are').replace('stops it', 'stops them')}"
        )
    return tuple(notes)


def parameters_note(design: Design, ridge: float, link: str, free: Tensor | None = None) -> tuple[str, ...]:
    """A sentence where a unit has more parameters than there are bins, with how many of them the penalty leaves free.

    That number is the trace of H (H + ridge)⁻¹ at constant rates, H being the information of the weights, and one for the
    baseline; the median over units.
    """
    n_parameters = (design.n_features if free is None else int(free.sum(1).max())) + 1
    if n_parameters <= design.n_bins:
        return ()
    told = f"each unit has {n_parameters} parameters for {design.n_bins} bins"
    if ridge == 0:
        return (f"{told} and no penalty: many fits are equally good, and this is one of them; pass a --ridge above 0",)
    glm = PenalisedGLM(design, ridge, link)
    information = glm.baseline_curvature[:, None] * torch.linalg.eigvalsh(glm.gram).clamp(min=0)
    left = 1 + float((information / (information + ridge)).sum(1).median())
    return (
        f"{told}: the penalty decides most of them. A ridge of {ridge:g} leaves about as much freedom as {left:.0f} free "
        "ones would have; a longer recording, a shorter window or fewer --functions need less of it",
    )
