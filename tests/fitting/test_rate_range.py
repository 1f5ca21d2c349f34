"""A learning rate that a trial finds: where the bound turns, reproducibly, and without a trace in what comes after."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from spikefit.config import Config
from spikefit.config.command_sections import PVAE_LEARNING_RATE
from spikefit.errors import ConfigError
from spikefit.fitting import training
from spikefit.fitting.fit import fit_network
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.loop import Loop, LoopSettings, judge
from spikefit.fitting.rate_range import LARGEST_CHOSEN, SAFE_SHARE, SMALLEST_CHOSEN, RateRange, try_rates
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob import get_estimator
from spikefit.pvae_pipeline import pvae_settings
from spikefit.spikes import Counts

CPU = torch.device("cpu")
SETTINGS = LoopSettings(learning_rate=0.0, n_draws=2, ridge=1.0, batch_windows=4)


class Stopped(Exception):
    """What a test raises to stop a fit."""


@pytest.fixture
def start(make_model: Callable[..., POGLMNetwork], segmented: Callable[..., Counts]) -> tuple[POGLMNetwork, Windows]:
    model = make_model(3, 2, n_restarts=2, dtype=torch.float32)
    counts = segmented([700, 500])
    usable = np.array([[3, 700], [703, 1200]])
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    return model, Windows(by_unit, counts.segment_offsets, usable, context=model.context, core_bins=60)


def trial(start: tuple[POGLMNetwork, Windows], seed: int = 0) -> RateRange:
    model, windows = start
    return try_rates(
        model, windows, estimator=get_estimator("eat-cubic"), settings=SETTINGS, early_signs=[0, 0], seed=seed
    )


def test_the_chosen_rate_lies_below_the_turn_and_training_with_it_climbs(start: tuple[POGLMNetwork, Windows]) -> None:
    model, windows = start
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    found = trial(start)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert len(found.turning) == 2
    assert found.chosen == pytest.approx(
        min(max(SAFE_SHARE * min(found.turning), SMALLEST_CHOSEN), LARGEST_CHOSEN), rel=1e-12
    )
    # The curve climbs to its turn, and the steps beyond lose what was won.
    at = found.rates.index(min(found.turning))
    assert (found.bounds[at] > found.bounds[0]).all()
    last = found.bounds[~found.bounds.isnan().any(1)][-1]
    assert (last < found.bounds[at] - 0.1).all()
    loop = Loop(
        model,
        windows,
        estimator=get_estimator("eat-cubic"),
        settings=LoopSettings(learning_rate=found.chosen, n_draws=2, ridge=1.0, batch_windows=4),
        generator=torch.Generator().manual_seed(1),
        shuffle=torch.Generator().manual_seed(1),
        name_unit=str,
    )
    bound = judge(model, windows).sum(0)
    loop.epoch(1.0, 1.0)
    assert (judge(model, windows).sum(0) > bound).all()


def test_a_trial_repeats_bit_for_bit_and_another_seed_sees_other_windows(start: tuple[POGLMNetwork, Windows]) -> None:
    first, again, other = trial(start), trial(start), trial(start, seed=1)
    assert torch.equal(first.bounds, again.bounds)
    assert first.turning == again.turning
    assert not torch.equal(first.bounds, other.bounds)


def test_one_window_is_enough(start: tuple[POGLMNetwork, Windows]) -> None:
    model, _ = start
    counts = torch.randint(0, 2, (3, 63), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    single = Windows(counts, np.array([0, 63]), np.array([[3, 63]]), context=model.context, core_bins=60)
    assert len(single) == 1
    assert SMALLEST_CHOSEN <= trial((model, single)).chosen <= LARGEST_CHOSEN


@pytest.fixture(scope="module")
def found_rate(small_counts: Counts, tiny_settings: Callable[..., FitSettings]) -> dict[str, object]:
    told: list[str] = []
    hooks = Hooks(stage=lambda stage, total: told.append(stage))
    fit = fit_network(small_counts, tiny_settings(hidden=(1,), learning_rate=None), device=CPU, hooks=hooks)
    return {"metrics": fit.metrics, "filters": fit.coupling_filters, "told": told}


def test_a_fit_says_which_rate_it_found_and_is_the_fit_with_that_rate_given(
    small_counts: Counts, tiny_settings: Callable[..., FitSettings], found_rate: dict[str, dict[str, float]]
) -> None:
    rate = found_rate["metrics"]["learning_rate"]
    assert len(found_rate["metrics"]["learning_rate_turning"]) == 2
    told = found_rate["told"]
    assert told[-2:] == ["finding the learning rate", f"fitting 1 hidden unit, learning rate {rate:.2g}"]
    given = fit_network(small_counts, tiny_settings(hidden=(1,), learning_rate=rate), device=CPU)
    assert np.array_equal(given.coupling_filters, found_rate["filters"])  # the trial took no random number from it
    assert "learning_rate_turning" not in given.metrics


def test_a_fit_that_goes_on_keeps_the_rate_and_tries_none(
    small_counts: Counts,
    tiny_settings: Callable[..., FitSettings],
    found_rate: dict[str, dict[str, float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epochs: list[int] = []

    def stop() -> None:
        raise Stopped

    def update(epoch: int, **figures: float) -> None:
        if "nats_to_go" not in figures:
            epochs.append(epoch)

    settings = tiny_settings(hidden=(1,), learning_rate=None)
    hooks = Hooks(checkpoints=tmp_path, update=update, should_stop=lambda: len(epochs) >= 5, stop=stop)
    with pytest.raises(Stopped):
        fit_network(small_counts, settings, device=CPU, hooks=hooks)
    monkeypatch.setattr(training, "try_rates", None)
    fit = fit_network(small_counts, settings, device=CPU, hooks=Hooks(checkpoints=tmp_path, resume=True))
    assert np.array_equal(fit.coupling_filters, found_rate["filters"])
    drop = {"fit_s"}
    both = [{k: v for k, v in metrics.items() if k not in drop} for metrics in (fit.metrics, found_rate["metrics"])]
    assert json.dumps(both[0]) == json.dumps(both[1])


@pytest.mark.parametrize("value", ["fast", 0, -1, 11, True])
def test_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 10, or auto"):
        Config().replace(learning_rate=value)


def test_a_poisson_vae_has_no_trial() -> None:
    assert pvae_settings(Config().replace(learning_rate="auto", latents=2)).learning_rate == PVAE_LEARNING_RATE == 0.01
    assert pvae_settings(Config().replace(learning_rate=0.02, latents=2)).learning_rate == 0.02
