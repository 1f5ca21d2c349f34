"""The posterior's residual convolutions against plain loops, and what they may and may not see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from spikefit.fitting.fit import fit_network
from spikefit.fitting.objective import elbo, hard_draws
from spikefit.fitting.pruning import keep_hidden, keep_restarts
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.start import start_from_factors
from spikefit.fitting.windows import Windows
from spikefit.models.depth import CHANNELS, TAPS, DeepReadout, margin
from spikefit.models.poglm import POGLMNetwork
from spikefit.spikes import Counts

Make = Callable[..., POGLMNetwork]


def windows_of(model: POGLMNetwork, counts: Counts, core_bins: int) -> Windows:
    ranges = np.stack([counts.segment_offsets[:-1] + model.n_lags, counts.segment_offsets[1:]], axis=1)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    return Windows(
        by_unit, counts.segment_offsets, ranges, context=model.context, core_bins=core_bins, dtype=model.basis.dtype
    )


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_it_is_what_a_loop_over_bins_makes_of_it(causal: bool, depth: int) -> None:
    generator = torch.Generator().manual_seed(0)
    like = torch.empty(0, dtype=torch.float64)
    deep = DeepReadout(5, 2, depth=depth, causal=causal, like=like, n_restarts=3)
    with torch.no_grad():
        for parameter in deep.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    n_bins, beside = 7, margin(depth)
    features = torch.rand(2, 5, n_bins + 2 * beside, dtype=torch.float64, generator=generator)
    out = deep(features).detach()
    assert out.shape == (2, 3, 2, n_bins)
    taps = (-2, -1, 0) if causal else (-1, 0, 1)

    def hidden(restart: int, window: int, layer: int, bin_: int) -> torch.Tensor:
        if layer == 0:
            return deep.entry[restart] @ features[window, :, bin_] + deep.entry_offset[restart]
        value = hidden(restart, window, layer - 1, bin_) + deep.layer_offset[restart, layer - 1]
        for tap, shift in enumerate(taps):
            before = hidden(restart, window, layer - 1, bin_ + shift)
            value = value + deep.layers[restart, layer - 1, :, :, tap] @ (before * before.sigmoid())
        return value

    for restart, window, bin_ in ((0, 0, 0), (2, 1, 3), (1, 0, n_bins - 1)):
        h = hidden(restart, window, depth, beside + bin_)
        expected = deep.out[restart] @ (h * h.sigmoid())
        torch.testing.assert_close(out[window, restart, :, bin_], expected.detach())
    assert deep.layers.shape[3] * deep.layers.shape[4] == CHANNELS * TAPS


@pytest.mark.parametrize("posterior", ["forward", "forward-self", "forward-backward"])
def test_a_forward_posterior_does_not_see_the_future(make_model: Make, posterior: str) -> None:
    model = make_model(3, 2, posterior=posterior, depth=2)
    before, after = model.posterior.reach
    generator = torch.Generator().manual_seed(1)
    counts = torch.poisson(torch.full((1, 3, before + 20 + after), 0.3, dtype=torch.float64), generator=generator)
    later = counts.clone()
    at = before + 9
    later[..., at] += 1
    drive = model.posterior.drive(model.posterior.features(counts))
    moved = (model.posterior.drive(model.posterior.features(later)) - drive).abs().amax((0, 1, 2)) > 0
    # A spike in bin 9 is past from bin 10 on; only a posterior that looks ahead knows of it before.
    assert moved[10]
    assert bool(moved[:10].any()) == (posterior == "forward-backward")


@pytest.mark.parametrize("posterior", ["forward", "forward-backward"])
def test_the_bound_does_not_depend_on_the_length_of_the_windows(
    make_model: Make, segmented: Callable[..., Counts], posterior: str
) -> None:
    model = make_model(3, 2, posterior=posterior, depth=2)
    counts = segmented([90, 45])

    def rates(core_bins: int, context: tuple[int, int]) -> torch.Tensor:
        windows = windows_of(model, counts, core_bins)
        windows.context = context
        rows = []
        for k in range(len(windows)):
            batch = windows.batch(torch.tensor([k]))
            padded = torch.nn.functional.pad(batch.counts, [a - b for a, b in zip(model.context, context, strict=True)])
            log_rate = model.posterior(model.posterior.features(padded))
            rows.append(log_rate[0, ..., model.n_lags :][..., : int(windows.lengths[k])])
        return torch.cat(rows, dim=-1)

    whole = rates(10_000, model.context)
    torch.testing.assert_close(rates(7, model.context), whole)
    # With the context of a linear read-out it would.
    short = tuple(side - margin(2) for side in model.context)
    assert (rates(7, short) - whole).abs().max() > 1e-3  # type: ignore[arg-type]


def test_it_starts_as_the_linear_read_out_and_its_units_can_be_picked_out(
    make_model: Make, segmented: Callable[..., Counts]
) -> None:
    deep, linear = (make_model(4, 3, n_restarts=2, depth=depth, dtype=torch.float32) for depth in (2, 0))
    counts = segmented([400], n_units=4)
    mean = torch.full((4,), 0.2, dtype=torch.float64)
    factors = [torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    found = []
    for model in (deep, linear):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        windows = windows_of(model, counts, 100)
        start_from_factors(model, factors, mean, windows, torch.Generator().manual_seed(5))
        batch = windows.batch(torch.arange(len(windows)))
        bound = elbo(model, batch, hard_draws(model, 4, torch.Generator().manual_seed(6)))
        found.append(bound.total.sum().item())
    assert deep.posterior.deep is not None
    assert (deep.posterior.deep.entry != 0).all()
    # The dreams are as long and the posterior's reach is not, so the regressions see a few bins less.
    assert found[0] == pytest.approx(found[1], rel=0.05)

    model = make_model(3, 4, n_restarts=2, depth=1)
    windows = windows_of(model, segmented([60]), 20)
    features = model.posterior.features(windows.batch(torch.arange(len(windows))).counts)
    drive = model.posterior.drive(features)
    kept = keep_hidden(model, torch.tensor([[2, 0], [1, 3]]))
    picked = torch.stack([drive[:, 0, [2, 0]], drive[:, 1, [1, 3]]], dim=1)
    torch.testing.assert_close(kept.posterior.drive(features), picked)
    second = keep_restarts(model, torch.tensor([1]))
    torch.testing.assert_close(second.posterior.drive(features), drive[:, 1:])


def test_a_whole_fit_scores_and_resumes_its_shapes(
    small_counts: Counts, tiny_settings: Callable[..., FitSettings]
) -> None:
    fit = fit_network(
        small_counts, tiny_settings(hidden=(1,), posterior_depth=1, family="categorical"), device=torch.device("cpu")
    )
    assert fit.parameters["posterior.deep.layers"].shape == (1, CHANNELS, CHANNELS, TAPS)
    assert np.abs(fit.parameters["posterior.deep.out"]).max() > 0
    assert np.isfinite(fit.hidden_count).all()
    np.testing.assert_array_equal(fit.hidden_bins, np.arange(5, small_counts.n_bins))
    # The blocks that judge are the same bins, whatever the posterior needs beside them.
    plain = fit_network(small_counts, tiny_settings(hidden=(0,)), device=torch.device("cpu"))
    assert fit.metrics["h0_heldout_nats_per_bin"] == pytest.approx(plain.metrics["heldout_nats_per_bin"], rel=1e-9)
