"""Windows carry their true context: the cores partition what is scored, and nothing crosses a segment."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefit.fitting.windows import Windows

CONTEXT = (7, 4)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 80), min_size=1, max_size=6),
    first=st.integers(0, 5),
    core_bins=st.integers(1, 60),
    seed=st.integers(0, 50),
)
def test_windows_are_slices_of_the_recording_with_silence_outside_the_segment(
    lengths: list[int], first: int, core_bins: int, seed: int
) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ranges = np.stack([offsets[:-1] + first, offsets[1:]], axis=1)
    ranges = ranges[ranges[:, 1] > ranges[:, 0]]
    counts = np.random.default_rng(seed).poisson(1.0, (2, int(offsets[-1]))).astype(np.uint8)
    windows = Windows(torch.from_numpy(counts), offsets, ranges, context=CONTEXT, core_bins=core_bins)
    scored = np.zeros(int(offsets[-1]), dtype=int)
    for start, length in zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True):
        scored[start : start + length] += 1
    expected = np.zeros_like(scored)
    for start, stop in ranges:
        expected[start:stop] += 1
    np.testing.assert_array_equal(scored, expected)
    assert windows.n_bins == expected.sum()
    assert windows.lengths.max(initial=0) <= core_bins
    if not len(windows):
        return
    batch = windows.batch(torch.arange(len(windows)))
    assert batch.n_scored == windows.n_bins
    before, after = CONTEXT
    for row, (start, length) in enumerate(zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True)):
        segment = int(np.searchsorted(offsets, start, side="right")) - 1
        for column, bin_ in enumerate(range(start - before, start + windows.core + after)):
            inside = offsets[segment] <= bin_ < offsets[segment + 1]
            expected_counts = counts[:, bin_].tolist() if inside else [0, 0]
            assert batch.counts[row, :, column].tolist() == expected_counts
        mask = torch.ones(windows.core, dtype=torch.bool) if batch.scored is None else batch.scored[row]
        assert mask.tolist() == [place < length for place in range(windows.core)]


def test_cores_of_one_range_are_about_equal() -> None:
    counts = torch.zeros(1, 1003, dtype=torch.uint8)
    windows = Windows(counts, np.array([0, 1003]), np.array([[3, 1003]]), context=(3, 0), core_bins=300)
    assert windows.lengths.tolist() == [250, 250, 250, 250]
    assert windows.batch(torch.tensor([0, 3])).scored is None


@pytest.mark.parametrize("stored", [torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float64])
def test_counts_stay_compact_until_they_are_gathered(stored: torch.dtype, wanted: torch.dtype) -> None:
    counts = torch.arange(200, dtype=torch.int64).reshape(2, 100).to(stored)
    windows = Windows(counts, np.array([0, 100]), np.array([[5, 100]]), context=(5, 0), core_bins=50, dtype=wanted)
    batch = windows.batch(torch.tensor([1]))
    assert batch.counts.dtype == wanted
    assert batch.counts[0, 1, 5].item() == 100 + int(windows.starts[1])


def test_batches_follow_the_order_given() -> None:
    counts = torch.arange(100, dtype=torch.uint8)[None]
    windows = Windows(counts, np.array([0, 100]), np.array([[0, 100]]), context=(0, 0), core_bins=10)
    order = torch.tensor([3, 1, 4, 0, 9])
    first_bins = [batch.counts[:, 0, 0].tolist() for batch in windows.batches(2, order)]
    assert first_bins == [[30, 10], [40, 0], [90]]
    assert sum(batch.n_scored for batch in windows.batches(4)) == 100


def test_there_may_be_nothing_to_score() -> None:
    windows = Windows(
        torch.zeros(2, 10, dtype=torch.uint8),
        np.array([0, 10]),
        np.empty((0, 2), dtype=np.int64),
        context=(2, 2),
        core_bins=5,
    )
    assert (len(windows), windows.n_bins, windows.core) == (0, 0, 0)
    assert list(windows.batches(3)) == []
