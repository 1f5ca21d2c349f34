"""Held-out cells: whole histories, no overlap, purged zones, the right share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError
from spikefit.fitting.split import Split, split_bins


def offsets_of(lengths: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def bins_of(ranges: NDArray[np.int64]) -> set[int]:
    return {bin_ for start, stop in ranges.tolist() for bin_ in range(start, stop)}


def faults(split: Split, offsets: NDArray[np.int64], n_lags: int) -> list[str]:
    """What is wrong with a split, each rule said independently of how the split was made."""
    found = []
    segment_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    place = np.arange(offsets[-1]) - offsets[segment_of]
    train, heldout, everything = (bins_of(r) for r in (split.train, split.heldout, split.everything))
    if everything != set(np.flatnonzero(place >= n_lags).tolist()):
        found.append("everything is not all bins with a whole history")
    for ranges in (split.train, split.heldout, split.everything):
        if any(segment_of[start] != segment_of[stop - 1] or stop <= start for start, stop in ranges.tolist()):
            found.append("a range crosses a gap or is empty")
        if sum(stop - start for start, stop in ranges.tolist()) != len(bins_of(ranges)):
            found.append("ranges overlap")
    if not train <= everything or not heldout <= everything:
        found.append("a scored bin has no whole history")
    near = {
        other
        for bin_ in heldout
        for other in range(bin_ - n_lags, bin_ + n_lags + 1)
        if 0 <= other < offsets[-1] and segment_of[other] == segment_of[bin_]
    }
    if train & near:
        found.append("a training bin lies within one window of a held-out one")
    if everything - train - heldout - near:
        found.append("bins were thrown away for nothing")
    if (split.n_train, split.n_heldout) != (len(train), len(heldout)):
        found.append("the sizes are wrong")
    return found


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 900), min_size=1, max_size=12),
    n_lags=st.integers(1, 30),
    heldout=st.floats(0.05, 0.8),
    seed=st.integers(0, 100),
)
def test_a_split_keeps_its_rules_whatever_the_segments(
    lengths: list[int], n_lags: int, heldout: float, seed: int
) -> None:
    offsets = offsets_of(lengths)
    try:
        split = split_bins(offsets, n_lags=n_lags, heldout=heldout, seed=seed)
    except (UsageError, RecordingError):
        assume(False)
    assert faults(split, offsets, n_lags) == []
    assert split.n_train > 0
    assert len(split.heldout) >= 2


def test_the_rules_see_a_split_that_breaks_them() -> None:
    offsets = offsets_of([500, 500])
    good = split_bins(offsets, n_lags=5, heldout=0.25, seed=0)
    assert faults(good, offsets, 5) == []
    empty = np.empty((0, 2), dtype=np.int64)
    touching = Split(np.array([[5, 100]]), np.array([[100, 200]]), good.everything)
    early = Split(np.array([[3, 100]]), empty, good.everything)
    crossing = Split(np.array([[450, 550]]), empty, good.everything)
    wasteful = Split(np.array([[5, 400]]), empty, good.everything)
    assert "a training bin lies within one window of a held-out one" in faults(touching, offsets, 5)
    assert "a scored bin has no whole history" in faults(early, offsets, 5)
    assert "a range crosses a gap or is empty" in faults(crossing, offsets, 5)
    assert "bins were thrown away for nothing" in faults(wasteful, offsets, 5)


@settings(deadline=None, max_examples=60)
@given(
    n_segments=st.integers(1, 200),
    length=st.integers(100, 5000),
    heldout=st.floats(0.1, 0.5),
    seed=st.integers(0, 1000),
)
def test_the_share_is_right_to_one_cell(n_segments: int, length: int, heldout: float, seed: int) -> None:
    offsets = offsets_of([length] * n_segments)
    try:
        split = split_bins(offsets, n_lags=10, heldout=heldout, seed=seed)
    except UsageError:
        assume(False)
    usable = n_segments * (length - 10)
    longest = int(np.diff(split.heldout, axis=1).max())
    assert abs(split.n_heldout - heldout * usable) <= 1.05 * longest + 1


def test_every_segment_of_short_trials_is_one_cell_and_nothing_is_purged() -> None:
    offsets = offsets_of([60] * 40)
    split = split_bins(offsets, n_lags=10, heldout=0.25, seed=1)
    assert len(split.heldout) == 10
    assert split.n_heldout == 10 * 50
    assert split.n_train == 30 * 50


def test_segments_shorter_than_the_window_are_left_out() -> None:
    split = split_bins(offsets_of([1000, 8, 10, 1000]), n_lags=10, heldout=0.0, seed=0)
    assert split.everything.tolist() == [[10, 1000], [1028, 2018]]


def test_without_a_share_everything_trains() -> None:
    split = split_bins(offsets_of([300]), n_lags=10, heldout=0.0, seed=0)
    assert split.train.tolist() == split.everything.tolist() == [[10, 300]]
    assert split.heldout.shape == (0, 2)


def test_the_seed_places_the_cells_and_nothing_else_does() -> None:
    offsets = offsets_of([20_000])
    first, again, other = (split_bins(offsets, n_lags=10, heldout=0.2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.heldout, again.heldout)
    assert not np.array_equal(first.heldout, other.heldout)


def test_a_window_longer_than_every_segment_is_refused() -> None:
    with pytest.raises(UsageError, match=r"longer than the history window \(60 bins against 65\)") as refusal:
        split_bins(offsets_of([60, 45]), n_lags=65, heldout=0.2, seed=0)
    assert "--window" in str(refusal.value.hint)
    with pytest.raises(UsageError, match=r"\(60 bins against 65; 0.6 s and 0.65 s\)"):
        split_bins(offsets_of([60, 45]), n_lags=65, heldout=0.2, seed=0, bin_width_s=0.01)


def test_a_recording_too_short_to_hold_something_out_is_refused_with_what_would_help() -> None:
    with pytest.raises(UsageError, match=r"too short to hold out 20% of it: 390 bins make 4 blocks") as refusal:
        split_bins(offsets_of([400]), n_lags=10, heldout=0.2, seed=0)
    assert refusal.value.hint == (
        "take more of the recording, or pass a --window of 3 bins at most, or hold out a larger share (--heldout 0.5)"
    )
    for change in ({"n_lags": 3}, {"heldout": 0.5}):  # what the hint says is enough, whatever the seed
        for seed in range(20):
            split_bins(offsets_of([400]), **({"n_lags": 10, "heldout": 0.2} | change), seed=seed)
    with pytest.raises(UsageError, match=r"make 1 block of") as refusal:
        split_bins(offsets_of([200]), n_lags=20, heldout=0.2, seed=0)
    assert "--heldout" not in str(refusal.value.hint)  # no share of one block could be held out


def test_a_recording_too_short_for_any_window_is_no_matter_of_flags() -> None:
    with pytest.raises(RecordingError, match=r"has 40 bins, too few .*nothing can be said") as refusal:
        split_bins(offsets_of([40]), n_lags=10, heldout=0.2, seed=0)
    assert refusal.value.exit_code == 4
    split_bins(offsets_of([41]), n_lags=1, heldout=0.5, seed=0)
    split_bins(offsets_of([40]), n_lags=10, heldout=0.0, seed=0)  # nothing is to be judged there


def test_the_lengths_are_told_in_seconds_too_where_the_bin_width_is_known() -> None:
    with pytest.raises(UsageError, match=r"90 bins make 1 block of 100 bins \(ten windows; 0\.9 s and 1 s\), and"):
        split_bins(offsets_of([100]), n_lags=10, heldout=0.2, seed=0, bin_width_s=0.01)
