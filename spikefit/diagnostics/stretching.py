"""Intervals of couplings that come out too small because of input that the fit does not see.

How much too small is known by receiver (`fitting.attenuation`), to first order. So the end of an interval that lies away from zero is moved out
by it, and the end towards zero stays: a coupling can be as large as that, or as small as it was found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from spikefit.diagnostics.edge_test import Array, EdgeTest

WORTH_A_WORD = 0.9


def stretched(test: EdgeTest, attenuation: Array) -> EdgeTest:
    """A test with intervals that reach out as far as couplings can be too small.

    Args:
        test: of recorded units, (post, pre).
        attenuation: share of a coupling's size that the fit shows, by receiver, above 0 and at most 1; (post,).
    """
    factor = 1 / attenuation[:, None]
    low, high = test.ci_low, test.ci_high
    return dataclasses.replace(
        test, ci_low=np.where(low < 0, low * factor, low), ci_high=np.where(high > 0, high * factor, high)
    )


def attenuation_note(attenuation: Array, unit_ids: Sequence[str], *, tested: bool) -> tuple[str, ...]:
    """What a reader must know of it, as a sentence; none where no receiver loses much.

    Args:
        attenuation: by receiver, (post,).
        unit_ids: their ids.
        tested: whether pairs were tested; intervals are the model's own where they were not.
    """
    small = np.flatnonzero(attenuation < WORTH_A_WORD)
    if not len(small):
        return ()
    least = int(np.argmin(attenuation))
    share = f"at {attenuation[least]:.0%} of their size"
    receivers = f"{unit_ids[least]} come out too small, {share}"
    if len(small) > 1:
        receivers = (
            f"{len(small)} of {len(attenuation)} units come out too small, those onto {unit_ids[least]} most, {share}"
        )
    then = (
        "Intervals reach out by that much; weights are as fitted" if tested else "Weights and intervals are as fitted"
    )
    return (
        f"couplings onto {receivers}: spikes there bunch more than the fit expects, as under input that was not recorded. {then}",
    )
