"""Blocked folds inside the training bins: stretches that are set aside in turn, purged so that nobody sees another's bins.

The training bins lie in stretches with held-out blocks, and a purged window on each side of those, between them. Every so many
stretches are set aside in turn. The held-out blocks themselves are never looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


def folds_of(train: NDArray[np.int64], n_lags: int, n_folds: int) -> list[Fold]:
    """Training bins and bins set aside of every fold; nobody's history lies in the other part.

    Args:
        train: the training bins, `[start, stop)`, a purged window or more between one and the next; (n, 2).
        n_lags: length of the history window in bins.
        n_folds: wanted; fewer where the stretches are too short to be cut into two for each fold. One stretch that cannot be
            cut is trained on and set aside at once.
    """
    stretches = train
    while len(stretches) < 2 * n_folds:
        longest = int(np.diff(stretches, axis=1).argmax())
        start, stop = stretches[longest].tolist()
        middle = (start + stop) // 2
        if middle - n_lags <= start:
            break
        # A cut of our own needs its purged window, too.
        halves = np.array([[start, middle - n_lags], [middle, stop]], dtype=np.int64)
        stretches = np.concatenate([stretches[:longest], halves, stretches[longest + 1 :]])
    n_folds = min(n_folds, len(stretches))
    fold = np.arange(len(stretches)) % n_folds
    return [(stretches[fold != k], stretches[fold == k]) for k in range(n_folds)] if n_folds > 1 else [(train, train)]
