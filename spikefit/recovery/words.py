"""What was found, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from spikefit.recovery.jobs import FIT
from spikefit.recovery.truth import TAMINGS, Taming

if TYPE_CHECKING:
    from spikefit.recovery.outcome import Recovery


def found_sentence(recovery: Recovery) -> str:
    """Edges above the median weight and the median number of spikes, and how many of those were found.

    Of the simulated recordings whose length is nearest to the recording's own.
    """
    nearest = min((score.length for score in recovery.scores), key=lambda length: abs(math.log(length)))
    edges = [edge for edge in recovery.edges if edge.length == nearest]
    false = sum(score.n_called - score.n_right for score in recovery.scores if score.length == nearest)
    n_called = sum(score.n_called for score in recovery.scores if score.length == nearest)
    length = "a recording of this length" if nearest == 1 else f"a recording {nearest:g} times as long"
    tail = f"; {false} of {n_called} calls were false" if n_called else "; nothing was called"
    if not edges:
        return f"In {length} there was no true edge to find{tail}."
    weight = float(np.median([abs(edge.weight) for edge in edges]))
    n_spikes = int(np.median([min(edge.n_pre_spikes, edge.n_post_spikes) for edge in edges]))
    strong = [
        edge for edge in edges if abs(edge.weight) >= weight and min(edge.n_pre_spikes, edge.n_post_spikes) >= n_spikes
    ]
    share = np.mean([edge.found for edge in edges])
    text = f"In {length} {share:.0%} of all {len(edges)} simulated edges were found"
    if strong:
        text = (
            f"In {length} edges stronger than {weight:.2g} between neurons with more than {n_spikes:,} spikes each are found "
            f"{np.mean([edge.found for edge in strong]):.0%} of the time ({len(strong)} simulated ones), all edges {share:.0%}"
        )
    return f"{text}{tail}."


def of_what(taming: Taming | None) -> str:
    """Of which network the sentence is said, where it is not the fit as it is."""
    if taming is None:
        return " The fit itself cannot be simulated; this is of random networks that match it."
    return "" if taming == TAMINGS[0] else f" The fit cannot go on by itself; it was simulated {taming}."


def cannot(kind: str, whys: list[str], n_jobs: int) -> str:
    """That simulations failed, how many and why."""
    told = f"{len(whys)} of {n_jobs} simulations"
    if kind == FIT:
        then = "only random networks tell" if len(whys) == n_jobs else "they were left out"
        return f"the fit cannot be simulated from in {told} ({whys[0]}): it is too recurrent to go on by itself; {then}"
    return f"random networks that match the fit ran away in {told} ({whys[0]}) and were left out"
