"""Held-out scores and their errors, and the rule that chooses the number of hidden units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.scores import (
    Blocks,
    bits_per_spike,
    choose_hidden,
    describe_blocks,
    glm_nats,
    nats_per_bin,
)
from spikefit.fitting.windows import Windows
from spikefit.spikes import Counts

CONTEXT = (4, 2)


def windows_of(counts: Counts, core_bins: int = 70) -> Windows:
    usable = np.stack([counts.segment_offsets[:-1] + 2, counts.segment_offsets[1:]], axis=1)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    return Windows(by_unit, counts.segment_offsets, usable, context=CONTEXT, core_bins=core_bins, dtype=torch.float64)


def test_blocks_hold_what_a_loop_over_windows_finds(segmented: Callable[..., Counts]) -> None:
    counts = segmented([300, 95], expected=0.8)
    windows = windows_of(counts)
    mean = torch.tensor([0.5, 0.8, 1.1], dtype=torch.float64)
    blocks = describe_blocks(windows, mean)
    for k, (start, length) in enumerate(zip(windows.starts, windows.lengths, strict=True)):
        core = counts.counts[start : start + length].astype(float)
        assert blocks.n_bins[k] == length
        assert blocks.n_spikes[k] == core.sum()
        null = stats.poisson.logpmf(core, mean.numpy()).sum()
        assert (blocks.null_nats[k] - blocks.factorials[k]).item() == pytest.approx(null, rel=1e-12)


def test_the_glms_score_is_the_log_likelihood_of_its_bins(segmented: Callable[..., Counts]) -> None:
    counts = segmented([300, 95], expected=0.8)
    windows = windows_of(counts)
    generator = torch.Generator().manual_seed(0)
    basis = torch.eye(2, dtype=torch.float64)
    weights = 0.3 * torch.randn(3, 6, dtype=torch.float64, generator=generator)
    fit = GLMFit(weights, torch.full((3,), -0.5, dtype=torch.float64), torch.zeros(3), converged=True)
    found = glm_nats(fit, windows, basis, "softplus")
    y = counts.counts.astype(float)
    filters = weights.reshape(3, 3, 2).numpy()
    for k, (start, length) in enumerate(zip(windows.starts, windows.lengths, strict=True)):
        bins = np.arange(start, start + length)
        drive = -0.5 + y[bins - 1] @ filters[:, :, 0].T + y[bins - 2] @ filters[:, :, 1].T
        nats = (stats.poisson.logpmf(y[bins], np.logaddexp(0, drive)) + _log_factorial(y[bins])).sum()
        assert found[k].item() == pytest.approx(nats, rel=1e-10)


def _log_factorial(counts: np.ndarray) -> np.ndarray:
    return -stats.poisson.logpmf(counts, 1.0) - 1.0


def made_up(seed: int = 0, n: int = 12) -> tuple[Blocks, torch.Tensor]:
    rng = np.random.default_rng(seed)
    columns = [torch.from_numpy(rng.uniform(low, high, n)) for low, high in ((90, 110), (40, 60), (-9, -8), (1, 2))]
    return Blocks(*columns), torch.from_numpy(rng.normal(-5.0, 2.0, n))


def test_scores_are_ratios_of_sums() -> None:
    blocks, nats = made_up()
    assert nats_per_bin(nats, blocks).value == pytest.approx((nats.sum() / blocks.n_bins.sum()).item())
    gain = ((nats - blocks.null_nats).sum() / np.log(2) / blocks.n_spikes.sum()).item()
    assert bits_per_spike(nats, blocks).value == pytest.approx(gain)
    assert bits_per_spike(blocks.null_nats, blocks).value == pytest.approx(0.0)


@pytest.mark.statistical
def test_the_error_of_a_score_is_its_spread_over_recordings() -> None:
    """2000 recordings of 12 blocks: the spread of the score is known to 2 %, so 10 % is far outside chance."""
    found = [nats_per_bin(nats, blocks) for blocks, nats in (made_up(seed) for seed in range(2000))]
    spread = np.std([score.value for score in found])
    assert np.sqrt(np.mean([score.error**2 for score in found])) == pytest.approx(spread, rel=0.1)


def test_one_block_has_no_error_and_no_spikes_no_bits() -> None:
    blocks, nats = made_up(n=1)
    assert np.isnan(nats_per_bin(nats, blocks).error)
    silent = Blocks(blocks.n_bins, torch.zeros(1, dtype=torch.float64), blocks.null_nats, blocks.factorials)
    assert np.isnan(bits_per_spike(nats, silent).value)


def test_the_smallest_candidate_within_one_standard_error_of_the_best_is_chosen() -> None:
    n_bins = torch.full((10,), 100.0, dtype=torch.float64)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=10))
    noise -= noise.mean()
    base = torch.full((10,), -500.0, dtype=torch.float64)
    error = (noise.std() / 10**0.5).item()  # of the mean difference, per block
    clear = {0: base, 2: base + noise + 3 * error, 4: base + noise + 3 * error + 0.01 * noise}
    assert choose_hidden(clear, n_bins) == 2  # 4 is no better, 0 is clearly worse
    assert choose_hidden({0: base, 2: base + noise + 0.5 * error}, n_bins) == 0
    assert choose_hidden({0: base, 2: base + noise + 1.5 * error}, n_bins) == 2
    assert choose_hidden({0: base, 2: base - noise - 3 * error}, n_bins) == 0
    # What all blocks share does not blur a paired difference.
    shared = 100 * torch.from_numpy(np.random.default_rng(1).normal(size=10))
    assert choose_hidden({0: base + shared, 2: base + shared + noise + 1.5 * error}, n_bins) == 2
