"""How many hidden units to try, from what the fit without them already shows.

A unit that was not recorded and drives several that were leaves a mark on the couplings of the fit without hidden
units: a matrix of z-scores of low rank. Its rank, read from the training bins alone, says how many inputs are shared,
and only numbers about it are trained. Where nothing is shared nothing is tried: a hidden unit can also stand for one
unit's own bursts, so that a better held-out score alone is no proof of an unrecorded driver.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spikefit.fitting.glm_fit import GLMFit

UNITS_PER_HIDDEN = 3  # fewer recorded units to a hidden one cannot tell several of them apart

Array = NDArray[np.float64]
# Couplings and their standard errors, (post, pre), and the correlation of the errors of each receiver's, to the number of shared inputs; None
# where it cannot be told.
CountShared = Callable[[Array, Array, Array], int | None]


def candidates_for(n_shared: int | None, n_units: int) -> tuple[int, ...]:
    """Numbers of hidden units to compare, 0 always among them.

    Args:
        n_shared: shared inputs that the couplings show; None where that could not be told.
        n_units: recorded units.
    """
    if not n_shared:
        return (0,)
    most = n_units // UNITS_PER_HIDDEN
    return tuple(sorted({0, *(min(h, most) for h in (n_shared - 1, n_shared, n_shared + 1))}))


def overfit_nats(fit: GLMFit, n_train: int) -> float:
    """What estimating its parameters costs a fit at the optimum, in nats per new bin: parameters / (2 · bins).

    Hidden units are trained with noisy steps that stop early and so pay less of it. A gain smaller than this can come
    from there alone, and is not counted for them. A weight that is held at zero, or was taken out by a penalty, is exactly
    zero and no parameter.

    Args:
        fit: without hidden units.
        n_train: bins that it was fitted to.

    Source: Akaike, "A new look at the statistical model identification" (IEEE Trans Automat Contr 1974).
    """
    return (int(fit.weights.count_nonzero()) + fit.baseline.numel()) / (2 * max(1, n_train))


def say_auto(n_shared: int | None, chosen: int, tried: tuple[int, ...]) -> str:
    """Why that number of hidden units, as a sentence."""
    if n_shared is None:
        return (
            "--hidden auto: hidden units were not tried, because there are too few pairs of recorded units to see "
            "whether any of them share an input (ten units are needed); a better score alone would be no proof"
        )
    if n_shared == 0:
        return (
            "--hidden auto: hidden units are not needed: the couplings show no input that several recorded units share"
        )
    shared = f"{n_shared} shared input{'s' if n_shared > 1 else ''}"
    listed = ", ".join(str(h) for h in tried)
    if chosen == 0:
        return (
            f"--hidden auto: hidden units are not needed: the couplings show {shared}, but of {listed} hidden units "
            "none predicts held-out spikes better by more than estimating the couplings costs"
        )
    return (
        f"--hidden auto: {chosen} of {listed} hidden units: the couplings show {shared}, and {chosen} is the fewest "
        "within one standard error of the best held-out score"
        + (
            f"; no more than {chosen} were tried, pass --hidden with several numbers to try more"
            if chosen == tried[-1]
            else ""
        )
    )


def say_listed(chosen: int, asked: tuple[int, ...], n_folds: int) -> str:
    """Why that number of those that were asked for, as a sentence; 0 is always a candidate."""
    listed = ", ".join(str(h) for h in sorted({0, *asked}))
    judged = f"in {n_folds} folds" if n_folds > 1 else "on held-out bins"
    if chosen == 0:
        return f"hidden units are not needed: of {listed} hidden units none scores {judged} above no hidden units by more than a standard error"
    return f"{chosen} of {listed} hidden units: the fewest within one standard error of the best score {judged}"
