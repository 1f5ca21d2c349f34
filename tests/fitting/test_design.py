"""The design in blocks: exactly the scored bins, with the features of the whole recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefit.fitting import design as design_module
from spikefit.fitting.design import Design
from spikefit.models.coupling import history_features

N_LAGS = 4


def random_design(lengths: list[int], *, cache_bytes: int = 0, seed: int = 0) -> tuple[Design, torch.Tensor, list[int]]:
    """A design over segments of these lengths, the counts, and the bins it should hold."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ranges = np.stack([offsets[:-1] + N_LAGS, offsets[1:]], axis=1)
    ranges = ranges[ranges[:, 1] > ranges[:, 0]]
    counts = torch.from_numpy(rng.poisson(0.5, (3, int(offsets[-1]))).astype(np.uint8))
    basis = torch.from_numpy(rng.normal(size=(N_LAGS, 2)))
    bins = [bin_ for start, stop in ranges.tolist() for bin_ in range(start, stop)]
    return Design(counts, ranges, basis, cache_bytes=cache_bytes), counts, bins


def expected_features(design: Design, counts: torch.Tensor, bins: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    whole = history_features(counts.double(), design._basis)
    index = torch.tensor(bins)
    return whole[:, index - N_LAGS], counts.double()[:, index]


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=40), seed=st.integers(0, 20))
def test_blocks_hold_exactly_the_scored_bins_with_the_features_of_the_whole(lengths: list[int], seed: int) -> None:
    design, counts, bins = random_design(lengths, seed=seed)
    assert design.n_bins == len(bins)
    if not bins:
        assert list(design.blocks()) == []
        return
    features, targets = (torch.cat(parts, dim=1) for parts in zip(*design.blocks(), strict=True))
    expected, expected_targets = expected_features(design, counts, bins)
    torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(targets, expected_targets)


def test_long_ranges_are_cut_and_short_ones_pooled() -> None:
    long, _, _ = random_design([3 * design_module.BLOCK_BINS + 100])
    assert long.n_blocks == 4
    assert max(features.shape[1] for features, _ in long.blocks()) <= design_module.BLOCK_BINS
    trials, _, _ = random_design([20] * 100)
    assert trials.n_blocks == 1  # 100 trials, one block: 16 of every 20 bins are scored
    sparse, _, _ = random_design([6] * 100)
    assert sparse.n_blocks >= 50  # a third of the bins is scored: pooling would make features that nobody wants


def test_the_gram_matrix_makes_every_block_once(monkeypatch: pytest.MonkeyPatch) -> None:
    design, _, _ = random_design([3 * design_module.BLOCK_BINS])
    made = []

    def counted(*args: torch.Tensor) -> torch.Tensor:
        made.append(args)
        return history_features(*args)

    monkeypatch.setattr(design_module, "history_features", counted)
    design.gram(design.feature_sums() / design.n_bins, 1)
    assert len(made) == design.n_blocks == 3


def test_a_spike_before_a_gap_is_no_history_behind_it() -> None:
    design, counts, bins = random_design([50, 50])
    counts[:, 44:50] += 3
    behind = [k for k, bin_ in enumerate(bins) if bin_ >= 50]
    features = torch.cat([f for f, _ in design.blocks()], dim=1)[:, behind]
    alone = Design(counts[:, 50:], np.array([[N_LAGS, 50]]), design._basis)
    torch.testing.assert_close(features, next(alone.blocks())[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cache_bytes", [0, 10**5, 10**9])
def test_every_pass_gives_the_same_whether_blocks_are_kept_or_made_again(cache_bytes: int) -> None:
    design, counts, bins = random_design([9000], cache_bytes=cache_bytes)
    for _ in range(3):
        features = torch.cat([f for f, _ in design.blocks()], dim=1)
        torch.testing.assert_close(features, expected_features(design, counts, bins)[0], rtol=1e-12, atol=1e-12)


def test_the_budget_of_the_cache_is_kept() -> None:
    per_bin = 8 * (3 * 2 + 3)
    design, _, _ = random_design([5 * design_module.BLOCK_BINS], cache_bytes=2 * design_module.BLOCK_BINS * per_bin)
    list(design.blocks())
    assert len(design._cache) == 2
    kept = sum(a.nbytes + b.nbytes for a, b in design._cache.values())
    assert kept <= 2 * design_module.BLOCK_BINS * per_bin


def test_some_of_the_blocks() -> None:
    design, _, _ = random_design([5 * design_module.BLOCK_BINS])
    every_block = [features for features, _ in design.blocks()]
    some = [features for features, _ in design.blocks(every=2)]
    assert len(some) == 3
    assert all(torch.equal(a, b) for a, b in zip(some, every_block[::2], strict=True))
