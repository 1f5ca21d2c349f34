"""One neuron in several units: the four wires of a tetrode, or a unit that was exported twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.spikes import SpikeTrains

# Identical trains are looked for among this many spikes; one in so many is taken in recordings that hold more.
SHARED_SAMPLE = 1_000_000


def doubts_about_copies(trains: SpikeTrains, share: float) -> list[str]:
    """A sentence on units that are one neuron, if there are any; `share` as in `shared_pairs`."""
    pairs = shared_pairs(trains, share)
    if not pairs:
        return []
    group_of = list(range(trains.n_units))
    for a, b in pairs:
        low, high = sorted((group_of[a], group_of[b]))
        group_of = [low if g == high else g for g in group_of]
    groups: dict[int, list[int]] = {}
    for row, group in enumerate(group_of):
        groups.setdefault(group, []).append(row)
    copies = [rows for rows in groups.values() if len(rows) > 1]
    shown = "; ".join(" = ".join(repr(trains.unit_ids[row]) for row in rows[:6]) for rows in copies[:4])
    more = f"; and {len(copies) - 4} more groups" if len(copies) > 4 else ""
    return [
        f"the same neuron seems to stand in several units (at least {100 * share:g} % of their spikes at identical "
        f"times): {shown}{more}. Keep one of each with --drop-unit."
    ]


def shared_pairs(trains: SpikeTrains, share: float) -> list[tuple[int, int]]:
    """Pairs of units of which the smaller has at least `share` of its spikes at the very times of the other's.

    In large recordings only times whose bits fall into one class of a hash are compared. Equal times fall into the same
    class, so the sample is fair, and 1e8 spikes cost a second.

    Args:
        trains: the recording.
        share: part of the smaller unit's spikes, in (0, 1].
    """
    keep_one_in = max(trains.n_spikes // SHARED_SAMPLE, 1)
    times, owners = [], []
    for row in range(trains.n_units):
        train = trains.spike_times_s[trains.offsets[row] : trains.offsets[row + 1]]
        if keep_one_in > 1:
            # Fibonacci hashing; the low bits of rounded times are anything but random.
            mixed = (train.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
            train = train[mixed % np.uint64(keep_one_in) == 0]
        train = np.unique(train)
        times.append(train)
        owners.append(np.full(train.size, row, dtype=np.int64))
    time, owner = np.concatenate(times), np.concatenate(owners)
    order = np.argsort(time, kind="stable")
    time, owner = time[order], owner[order]
    n_units = trains.n_units
    sizes = np.bincount(owner, minlength=n_units)
    found: list[NDArray[np.int64]] = []
    # A time that more than 64 units share says nothing about any pair of them; it is an artefact on all channels.
    for step in range(1, min(n_units, 64)):
        same = time[step:] == time[:-step]
        if not same.any():
            break
        found.append(owner[:-step][same] * n_units + owner[step:][same])
    if not found:
        return []
    pairs, n_shared = np.unique(np.concatenate(found), return_counts=True)
    a, b = pairs // n_units, pairs % n_units
    smaller = np.minimum(sizes[a], sizes[b])
    copies = (n_shared >= share * smaller) & (smaller >= 10)
    return [(int(i), int(j)) for i, j in zip(a[copies], b[copies], strict=True)]
