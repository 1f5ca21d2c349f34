"""What a reader must know of the nulls that edges were held against, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from spikefit.diagnostics.nulls_by_type import GroupNull
from spikefit.diagnostics.shared_input import SharedInput

WIDE_SPREAD = 1.5  # of the z-scores as they come; the standard errors alone would then call far too much
WIDE_LEFTOVER = 1.3  # the same after shared inputs have been taken off
UNSURE_AGREEMENT = 0.5  # a number of shared inputs that no more divisions find alone is unsure
MOST_NAMED = 6  # pairs of types in a sentence


def doubts_about_nulls(raw_spread: float, shared: SharedInput, groups: Sequence[GroupNull]) -> tuple[str, ...]:
    """A sentence for each thing about the nulls that is out of the ordinary; groups are named where there are types.

    Args:
        raw_spread: of the z-scores as they come.
        shared: inputs that were taken off.
        groups: the nulls; one where there are no types.
    """
    typed = bool(groups[0].pre_type)
    notes = []
    dense = [group for group in groups if group.share_edges is not None]
    if dense:
        told = [
            f"about {group.share_edges:.0%} of the pairs{' from ' + group.named if typed else ''} do not look like no edge, so that edges and no edges were fitted together; the bulk is "
            f"{group.null.spread:.2f} times as wide as the standard errors say"
            for group in _one_of_each(dense)
        ]
        if not typed:
            return tuple(told)
        notes += told
    n_inputs = shared.rank
    if shared.agreement <= UNSURE_AGREEMENT:
        notes.append(
            f"how many inputs many units share hangs on how the pairs are divided to find out: {n_inputs} by all divisions together, by "
            f"{shared.agreement:.0%} of them alone. Edges that are called with it can vanish with another covariate, bin or half of the recording"
        )
    if raw_spread > WIDE_SPREAD:
        if n_inputs:
            counted = "one input that many units share" if n_inputs == 1 else f"{n_inputs} inputs that many units share"
            then = f"{counted} explain{'s' if n_inputs == 1 else ''} part of it and {'was' if n_inputs == 1 else 'were'} taken off"
        else:
            then = "nothing that units share explains it"
        notes.append(
            f"couplings scatter {raw_spread:.1f} times as widely as their standard errors say: {then}. The model misses "
            f"something, unrecorded drivers most likely; p{' and q' if n_inputs else ', q and intervals'} allow for it, std_error does not"
        )
    wide = [group for group in _one_of_each(groups) if group.null.spread > WIDE_LEFTOVER]
    if wide and not typed:
        notes.append(
            f"what no edge looks like was read from the pairs themselves and is {wide[0].null.spread:.1f} times as wide as the "
            "standard errors say; weak edges cannot be told from it"
        )
    elif wide:
        wide.sort(key=lambda group: -group.null.spread)
        named = ", ".join(f"{group.named} ({group.null.spread:.1f} times)" for group in wide[:MOST_NAMED])
        more = f" and {len(wide) - MOST_NAMED} more" if len(wide) > MOST_NAMED else ""
        notes.append(
            "what no edge looks like was read from the pairs themselves and is wider than the standard errors say from "
            f"{named}{more}; weak edges there cannot be told from it"
        )
    return tuple(notes)


def narrow_intervals(n_inputs: int) -> tuple[str, ...]:
    """That intervals of edges are too narrow where units share inputs, and by how much; see docs/trust.md for the figures.

    Args:
        n_inputs: shared inputs that were found.
    """
    if not n_inputs:
        return ()
    return (
        "intervals of called edges are too narrow where units share an input: drivers that were not recorded bias the couplings themselves. In simulated networks "
        "with three to five of them 90 % intervals of true edges held the truth 60 to 75 % of the time. Read them for what is no edge, not for how strong an edge is",
    )


def _one_of_each(groups: Sequence[GroupNull]) -> list[GroupNull]:
    """The groups with a null of their own, and one of those that share one."""
    shared = {group.fitted_to: group for group in reversed(groups) if group.fitted_to != "own"}
    return [*(group for group in groups if group.fitted_to == "own"), *shared.values()]


def pooled_nulls(groups: Sequence[GroupNull], least: int) -> tuple[str, ...]:
    """Which pairs of types have no null of their own, and which they were held against.

    Args:
        groups: of all pairs of types.
        least: pairs of units that a null of its own needs.
    """
    small = [group for group in groups if group.fitted_to != "own"]
    if not small:
        return ()
    shown = ", ".join(
        f"{group.pre_type} → {group.post_type} with {int(group.members.sum())}" for group in small[:MOST_NAMED]
    )
    more = f" and {len(small) - MOST_NAMED} more" if len(small) > MOST_NAMED else ""
    against = " and ".join(
        f"the null of {group.named} ({group.null.n} pairs)"
        for group in _one_of_each(groups)
        if group.fitted_to != "own"
    )
    verb, were = ("have", "they were") if len(small) > 1 else ("has", "it was")
    return (
        f"{len(small)} of {len(groups)} pairs of types {verb} fewer than the {least} pairs of units that a null of its own needs ({shown}{more}): "
        f"{were} held against {against}",
    )
