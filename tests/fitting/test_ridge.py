"""The ridge penalty chosen from the data: strong where there is nothing to find, weaker where there is, and never by peeking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from spikefit.config import Config
from spikefit.errors import ConfigError
from spikefit.fitting.fit import fit_network
from spikefit.fitting.folds import folds_of
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.problem import pose_problem
from spikefit.fitting.ridge import N_FOLDS, RIDGE_PATH, choose_ridge
from spikefit.fitting.scores import glm_nats
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.without_hidden import fit_observed
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

MakeCounts = Callable[..., Counts]
Settings = Callable[..., FitSettings]
CPU = torch.device("cpu")


def test_where_there_is_nothing_to_find_the_penalty_is_strong_and_couplings_weaken_it(
    segmented: MakeCounts, tiny_settings: Settings
) -> None:
    settings = tiny_settings(ridge=None)
    alone, path = choose_ridge(pose_problem(segmented([4000], n_units=6, expected=0.1), settings, CPU), Hooks())
    assert alone >= 100
    assert [score.ridge for score in path] == list(RIDGE_PATH[: len(path)])
    assert min(score.behind for score in path) == 0
    network = random_network(n_visible=6, n_drivers=0, seed=2, window_s=0.05, density=0.3, strength=2.0, rate_hz=15.0)
    coupled = simulate(network, duration_s=120, seed=3).visible_counts
    found, _ = choose_ridge(pose_problem(coupled, settings, CPU), Hooks())
    assert found <= 10


def test_a_score_is_that_of_fits_which_did_not_see_the_bins(segmented: MakeCounts, tiny_settings: Settings) -> None:
    problem = pose_problem(segmented([1500, 900]), tiny_settings(ridge=RIDGE_PATH[0]), CPU)
    _, path = choose_ridge(problem, Hooks())
    total = n_bins = 0.0
    for train, aside in folds_of(problem.split.train, len(problem.basis), N_FOLDS):
        _, fit = fit_observed(problem, train, Hooks(), None)
        total += glm_nats(fit, problem.windows(aside, 2000), problem.basis, problem.settings.link).sum().item()
        n_bins += np.diff(aside, axis=1).sum()
    assert path[0].nats_per_bin == pytest.approx(total / n_bins, abs=1e-5)


@pytest.mark.parametrize("train", [[[10, 400]], [[10, 90], [100, 300], [330, 500], [700, 1300]]])
def test_no_fold_sees_the_history_of_what_it_sets_aside(train: list[list[int]]) -> None:
    n_lags = 7
    folds = folds_of(np.array(train), n_lags, 4)
    assert len(folds) == 4
    allowed = {b for start, stop in train for b in range(start, stop)}
    seen: set[int] = set()
    for kept, aside in folds:
        inside = {b for start, stop in aside.tolist() for b in range(start, stop)}
        history = {b - lag for b in inside for lag in range(n_lags + 1)}
        for start, stop in kept.tolist():
            # Neither what is scored nor its history trains, and what trains is not history of it either.
            assert not history & set(range(start, stop))
            assert not inside & set(range(start - n_lags, stop))
        assert inside <= allowed
        assert not inside & seen
        seen |= inside


def test_the_fit_uses_and_tells_what_was_chosen(segmented: MakeCounts, tiny_settings: Settings) -> None:
    counts = segmented([3000])
    chosen = fit_network(counts, tiny_settings(ridge=None), device=CPU)
    given = fit_network(counts, tiny_settings(ridge=chosen.metrics["ridge"]), device=CPU)
    np.testing.assert_array_equal(chosen.coupling_filters, given.coupling_filters)
    assert chosen.metrics["ridge"] in [score["ridge"] for score in chosen.metrics["ridge_path"]]
    assert "ridge_path" not in given.metrics


@pytest.mark.parametrize("wrong", [-1, "strong", float("nan"), True])
def test_other_penalties_are_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="expected a penalty of at least 0, or auto"):
        Config().replace(ridge=wrong)
    assert Config().replace(ridge="AUTO").fit.ridge == "auto"
