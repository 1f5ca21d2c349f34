"""What inputs shared by many units do to the couplings between them: a matrix of low rank, under a few true edges.

A unit that was not recorded and drives several that were makes each of those predict the others. In a fit without it,
the coupling from m to n is then about how strongly the driver acts on n times how much m's spikes tell about the driver:
an outer product. D drivers leave a matrix of rank D on the z-scores (coupling over standard error), and true edges,
which are few, stand out of it. So the z-scores are taken apart,

    z[n, m] = shared[n, m] + noise + edge,    shared = U Vᵀ of rank D,

by a fit that entries far off do not pull (Student-t errors). D is the rank that best predicts z-scores it was not fitted to:
without shared inputs it is 0, and nothing is taken off; where it is not, the matrix must also be closer to rank one than errors of the
estimates alone would make it. The
product is not exact, because a driver acts on each unit in its own time course, so an entry's error grows with the part
that is shared: `MISFIT` of it is added to the noise.

Idea of low rank plus sparse: Candès, Li, Ma and Wright, "Robust principal component analysis?" (J ACM 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MISFIT = 0.3  # standard deviation of what a product misses, as a share of what it explains; see docs/trust.md
FREEDOM = 9.0  # of the Student-t errors: an entry at three standard deviations has half its weight
RIDGE = 1.0
CLIPS = (6.0, 3.0, math.inf)  # a fit starts from the singular vectors of z held within these
TIGHTENING = (8.0, 4.0, 1.0)  # errors are first taken to be so many times wider, so that few entries are far off
SWEEPS = 12
N_FOLDS = 8
# Ways in which pairs are dealt into folds; of fifteen units' 210 pairs one way alone may choose by chance.
N_DIVISIONS = 6
PROOF_IN_ERRORS = 2.0  # standard errors by which shared inputs must predict better than none
ALPHA = 0.05  # of the test of one input against none
TEST_CLIP = 3.0
N_DRAWS = 199
MANY_UNITS = 64  # from here on one singular value is found without the others
MOST_INPUTS = 8
UNITS_PER_INPUT = 3


@dataclass(frozen=True, eq=False)
class SharedInput:
    """The part of the z-scores that shared inputs explain.

    Attributes:
        rank: number of shared inputs.
        part: of z that they explain, (post, pre); zero on what was not looked at.
        error: standard deviation of what is left where there is no edge, in units of z; (post, pre), at least 1.
        agreement: share of the divisions into folds that choose this number by themselves.
    """

    rank: int
    part: Array
    error: Array
    agreement: float = 1.0


def shared_input(z: Array, pairs: Mask, *, correlation: Array | None = None, seed: int = 0) -> SharedInput:
    """Find the shared inputs behind a matrix of z-scores.

    Args:
        z: coupling over its standard error, (post, pre); only `pairs` are looked at.
        pairs: which entries are pairs of two units with a finite z.
        correlation: of the errors of each receiver's couplings, (post or 1, pre, pre), where it is known; see `beyond_errors`.
        seed: of the folds.
    """
    z = np.where(pairs, z, 0.0)
    rank, agreement = _count(z, pairs, correlation, seed)
    part = low_rank(z, pairs, rank)
    return SharedInput(rank, part, _error(part), agreement)


def count_inputs(z: Array, pairs: Mask, *, correlation: Array | None = None, seed: int = 0) -> int:
    """The number of shared inputs alone; arguments as above."""
    return _count(np.where(pairs, z, 0.0), pairs, correlation, seed)[0]


def _count(z: Array, pairs: Mask, correlation: Array | None, seed: int) -> tuple[int, float]:
    most = min(MOST_INPUTS, z.shape[0] // UNITS_PER_INPUT)
    rank, agreement = choose_rank(z, pairs, range(most + 1), seed=seed)
    if rank and correlation is not None and beyond_errors(z, pairs, correlation, seed=seed) > ALPHA:
        return 0, 1.0  # this was said by the test, not by the folds
    return rank, agreement


def beyond_errors(z: Array, pairs: Mask, correlation: Array, *, seed: int = 0) -> float:
    """p-value of the hypothesis that errors of the estimates alone make the matrix of z-scores as close to rank one as it is.

    The couplings of one receiver are estimated together, from features that all receivers share. So their errors go together
    in the same way in every row, most of all where the common drive competes with all couplings at once, and such errors are a matrix of low rank by
    themselves. The statistic is the largest singular value of the z-scores, held within `TEST_CLIP` so that edges do not make it; its
    null are matrices of normal errors with the correlations that the estimates have (parallel analysis).

    Args:
        z: (post, pre).
        pairs: which entries are looked at.
        correlation: of the errors of each receiver's couplings, (post or 1, pre, pre).
        seed: of the draws.

    Source: Horn, "A rationale and test for the number of factors in factor analysis" (Psychometrika 1965).
    """
    rng = np.random.default_rng([seed, 22])
    root = np.linalg.cholesky(correlation + 1e-6 * np.eye(len(z)))
    found = _largest(z, pairs)
    above = 0
    for _ in range(N_DRAWS):
        draw = np.matmul(root, rng.standard_normal((*z.shape, 1)))[..., 0]
        above += _largest(draw, pairs) >= found
    return (1 + above) / (1 + N_DRAWS)


def _largest(z: Array, pairs: Mask) -> float:
    """Largest singular value of the z-scores held within bounds."""
    held = np.where(pairs, np.clip(z, -TEST_CLIP, TEST_CLIP), 0.0)
    if len(held) < MANY_UNITS:
        return float(np.linalg.norm(held, 2))
    from scipy.sparse.linalg import svds

    # The start is fixed: what is drawn must be the same in every run.
    return float(svds(held, k=1, return_singular_vectors=False, v0=np.ones(len(held)))[0])


def choose_rank(z: Array, pairs: Mask, ranks: Sequence[int], *, seed: int) -> tuple[int, float]:
    """The rank that best predicts left-out entries, and the share of divisions that choose it alone; `ranks` rise from 0.

    It must beat 0 by more than chance. Above that the best itself is taken, not the smallest that is about as good:
    with a shared input too few, what it explains is called edges; with one too many, a few weak edges are lost. What a
    rank predicts of an entry hangs on which others were left out with it, so the loss is a mean over several divisions; of many units' pairs
    one is enough.
    """
    n_divisions = N_DIVISIONS if len(z) < MANY_UNITS else 1
    losses: list[Array] = []  # of each rank, (division, pair)
    for rank in ranks:
        losses.append(np.stack([_held_out(z, pairs, rank, seed, division) for division in range(n_divisions)]))
        best = int(np.argmin([loss.sum() for loss in losses]))
        if rank > 1 + best:
            break  # two more inputs made it worse
    by_division = np.argmin([loss.sum(1) for loss in losses], axis=0)
    gain = (losses[0] - losses[best]).mean(0)
    if gain.sum() <= PROOF_IN_ERRORS * gain.std() * math.sqrt(gain.size):
        return 0, 1.0  # beyond chance no division shows any
    return best, float((by_division == best).mean())


def _held_out(z: Array, pairs: Mask, rank: int, seed: int, division: int) -> Array:
    """Loss of every pair, predicted from the folds that it is not in; (pair,)."""
    rng = np.random.default_rng([seed, 21, division] if division else [seed, 21])
    fold = rng.permutation(pairs.size).reshape(pairs.shape) % N_FOLDS
    predicted = np.zeros_like(z)
    for k in range(N_FOLDS):
        predicted[fold == k] = low_rank(z, pairs & (fold != k), rank)[fold == k]
    return _loss(z, predicted, pairs)


def low_rank(z: Array, pairs: Mask, rank: int) -> Array:
    """The matrix of that rank that lies nearest to the z-scores of `pairs`, entries far off left aside."""
    if rank == 0:
        return np.zeros_like(z)
    best, least = np.zeros_like(z), math.inf
    for clip in CLIPS:
        left, sizes, right = np.linalg.svd(np.where(pairs, np.clip(z, -clip, clip), 0.0))
        root = np.sqrt(sizes[:rank])
        found = _refine(z, pairs, left[:, :rank] * root, right[:rank].T * root)
        loss = float(_loss(z, found, pairs).sum())
        if loss < least:
            best, least = found, loss
    return best


def _refine(z: Array, pairs: Mask, u: Array, v: Array) -> Array:
    """Alternate least squares for both factors, entries weighted by how near they lie."""
    ridge = RIDGE * np.eye(u.shape[1])
    for width in TIGHTENING:
        for _ in range(SWEEPS):
            u = _solve(v, _weights(z, u @ v.T, pairs, width), z, ridge)
            v = _solve(u, _weights(z, u @ v.T, pairs, width).T, z.T, ridge)
    return np.asarray(u @ v.T)


def _solve(v: Array, weights: Array, z: Array, ridge: Array) -> Array:
    """Every row of z regressed on v with its own weights."""
    rank = v.shape[1]
    products = (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)
    gram = (weights @ products).reshape(-1, rank, rank) + ridge
    return np.asarray(np.linalg.solve(gram, ((weights * z) @ v)[..., None])[..., 0])


def _weights(z: Array, part: Array, pairs: Mask, width: float) -> Array:
    error = _error(part)
    scaled = np.square((z - part) / error) / width**2
    return np.asarray(pairs / (1 + scaled / FREEDOM) / error**2)


def _loss(z: Array, part: Array, pairs: Mask) -> Array:
    """Negative log density of the entries under Student-t errors, up to a constant; (pair,)."""
    error = _error(part)[pairs]
    scaled = np.square((z - part)[pairs] / error)
    return np.asarray(np.log(error) + 0.5 * (FREEDOM + 1) * np.log1p(scaled / FREEDOM))


def _error(part: Array) -> Array:
    return np.asarray(np.sqrt(1 + np.square(MISFIT * part)))
