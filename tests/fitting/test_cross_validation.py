"""Folds of the training bins: what they score they have not seen, what they say decides, and they resume to the same bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from spikefit.errors import UsageError
from spikefit.fitting.candidates import fit_candidates
from spikefit.fitting.cross_validation import CrossValidation, cross_validate
from spikefit.fitting.fit import fit_network
from spikefit.fitting.folds import folds_of
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.iwae import iwae_nats
from spikefit.fitting.outcome import FittedNetwork
from spikefit.fitting.problem import pose_problem
from spikefit.fitting.scores import glm_nats
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.without_hidden import fit_observed
from spikefit.spikes import Counts

Settings = Callable[..., FitSettings]
CPU = torch.device("cpu")


class Stopped(Exception):
    """What a test raises to stop a fit."""


@pytest.fixture(scope="module")
def whole(small_counts: Counts, tiny_settings: Settings) -> FittedNetwork:
    """None or one hidden unit, two folds, one restart."""
    return fit_network(small_counts, tiny_settings(hidden=(0, 1), folds=2, restarts=1, max_epochs=1), device=CPU)


def test_without_hidden_units_a_fold_scores_the_glm_of_the_other_bins(
    small_counts: Counts, tiny_settings: Settings
) -> None:
    problem = pose_problem(small_counts, tiny_settings(folds=3), CPU)
    found = cross_validate(problem, (0,), Hooks())
    expected = []
    for train, aside in folds_of(problem.split.train, len(problem.basis), 3):
        _, fit = fit_observed(problem, train, Hooks(), None)
        expected.append(glm_nats(fit, problem.windows(aside, 2000), problem.basis, problem.settings.link))
    torch.testing.assert_close(found.nats[0], torch.cat(expected), atol=1e-4, rtol=0)
    assert found.n_folds == 3
    # Every block was set aside once; between our own cuts a window is purged.
    assert 0 <= problem.split.n_train - int(found.n_bins.sum()) <= 6 * len(problem.basis)
    assert found.models == {}
    # Fold by fold: the scores of its own blocks, and of no other's.
    by_fold = [nats.sum().item() for nats in expected]
    assert sum(found.fold_bins) == int(found.n_bins.sum())
    scores = np.array(found.fold_nats_per_bin(0))
    np.testing.assert_allclose(scores * found.fold_bins, by_fold, rtol=1e-6)
    with pytest.raises(AssertionError):  # the folds in another order
        np.testing.assert_allclose(np.roll(scores, 1) * found.fold_bins, by_fold, rtol=1e-6)


def test_a_fold_does_not_see_what_it_scores(small_counts: Counts, tiny_settings: Settings) -> None:
    """Other counts well inside the bins set aside change no fit of that fold; in its training bins they do."""
    settings = tiny_settings(hidden=(1,), folds=2, restarts=1, max_epochs=1)
    problem = pose_problem(small_counts, settings, CPU)
    (train, aside), _ = folds_of(problem.split.train, len(problem.basis), 2)
    own = cross_validate(problem, (1,), Hooks())
    reach = 3 * len(problem.basis)  # beside its targets a posterior looks at counts as context

    def changed(ranges: np.ndarray) -> CrossValidation:
        longest = ranges[np.diff(ranges, axis=1).argmax()]
        counts = problem.counts.clone()
        counts[:, int(longest[0]) + reach : int(longest[1]) - reach] = 1
        return cross_validate(dataclasses.replace(problem, counts=counts), (1,), Hooks())

    def weights(found: CrossValidation) -> torch.Tensor:
        return found.models[1][0].hidden_weights.detach()

    assert torch.equal(weights(own), weights(changed(aside)))
    assert not torch.equal(weights(own), weights(changed(train)))
    # Scores are the importance-weighted bounds of the fold's own model on its own bins.
    first = iwae_nats(own.models[1][0], problem.windows(aside, 2000))[:, 0]
    torch.testing.assert_close(own.nats[1][: len(first)], first)


def test_the_times_of_the_folds_are_those_of_their_bins(
    segmented: Callable[..., Counts], tiny_settings: Settings
) -> None:
    """In a recording with gaps: each stretch ends with its own last bin, not where the next segment starts."""
    counts = segmented([900, 1300])
    starts = np.array([5.0, 100.0])
    counts = dataclasses.replace(counts, segment_start_s=starts)
    problem = pose_problem(counts, tiny_settings(folds=2), CPU)
    found = cross_validate(problem, (0,), Hooks())
    told = found.fold_intervals_s(counts.time_s, counts.bin_width_s)
    bins = np.array([sum(stop - start for start, stop in fold) for fold in told]) / 0.01
    np.testing.assert_allclose(bins, found.fold_bins)
    for (_, aside), fold in zip(folds_of(problem.split.train, len(problem.basis), 2), told, strict=True):
        segment = np.searchsorted(counts.segment_offsets[1:], aside[:, 0], side="right")
        expected = starts[segment, None] + 0.01 * (aside - counts.segment_offsets[segment, None])
        np.testing.assert_allclose(fold, expected, atol=1e-8)
        with pytest.raises(AssertionError):  # a bin later
            np.testing.assert_allclose(fold, expected + 0.01, atol=1e-8)
    assert {len(fold) > 1 for fold in told} == {True}


def test_folds_are_told_and_their_units_count_for_stability(whole: FittedNetwork) -> None:
    assert whole.metrics["cross_validation"]["folds"] == 2
    rows = {row["n_hidden"]: row for row in whole.metrics["candidates"]}
    assert rows[0]["cv_gain_nats_per_bin"] == 0
    bins = np.array(whole.metrics["cross_validation"]["fold_bins"])
    by_fold = [np.array(rows[h]["cv_fold_nats_per_bin"]) for h in (0, 1)]
    assert bins.size == by_fold[0].size == by_fold[1].size == 2
    times = whole.metrics["cross_validation"]["fold_intervals_s"]
    np.testing.assert_allclose([np.diff(fold, axis=1).sum() / 0.01 for fold in times], bins, rtol=1e-6)
    gained = float((by_fold[1] - by_fold[0]) @ bins / bins.sum())
    np.testing.assert_allclose(gained, rows[1]["cv_gain_nats_per_bin"], rtol=1e-9)
    gain, error = rows[1]["cv_gain_nats_per_bin"], rows[1]["cv_gain_nats_per_bin_se"]
    # One standard error below the best the simpler one is kept.
    assert whole.n_hidden == (1 if gain > error else 0)
    assert "in 2 folds" in whole.metrics["hidden_choice"]
    if whole.n_hidden:
        assert whole.stability is not None
        assert whole.stability.likeness.shape == (1, 2)


def test_folds_decide_where_there_are_some(small_counts: Counts, tiny_settings: Settings) -> None:
    """The same candidates with opposite verdicts of held-out bins and folds."""
    candidates = fit_candidates(pose_problem(small_counts, tiny_settings(hidden=(0,)), CPU), Hooks(), None)
    n = candidates.blocks.n_bins
    noise = torch.randn(len(n), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    none = candidates.nats[0]
    up, down = none + 50 + noise, none - 50 + noise

    def choice(held: torch.Tensor, folds: torch.Tensor | None, *asked: int, auto: bool = False) -> int:
        settings = dataclasses.replace(candidates.problem.settings, hidden_auto=auto)
        cross = None if folds is None else CrossValidation(2, {0: none, 2: folds}, n, 60 + 0 * n, {})
        return dataclasses.replace(
            candidates,
            problem=dataclasses.replace(candidates.problem, settings=settings),
            nats={0: none, 2: held},
            iwae={2: held},
            asked=asked,
            cross=cross,
        ).choose()

    assert choice(up, None, 0, 2) == 2
    assert choice(down, None, 0, 2) == 0
    assert choice(up, down, 0, 2) == 0
    assert choice(down, up, 0, 2) == 2
    # Where the number was left to spikefit, none is given what estimating its parameters cost it: 60 nats a block here.
    assert choice(down, up, 0, 2, auto=True) == 0
    # A number that was asked for alone is kept.
    assert choice(down, down, 2) == 2


def test_none_is_always_a_candidate(small_counts: Counts, tiny_settings: Settings) -> None:
    """One epoch teaches too little to beat the GLM, and 0 was not even asked for."""
    fit = fit_network(
        small_counts, tiny_settings(hidden=(1, 2), restarts=1, max_epochs=1, learning_rate=1e-6), device=CPU
    )
    assert fit.n_hidden == 0
    assert "hidden units are not needed: of 0, 1, 2 hidden units none" in fit.metrics["hidden_choice"]


@pytest.mark.slow
def test_a_fit_stopped_inside_a_fold_ends_at_the_same_bits(
    small_counts: Counts, tiny_settings: Settings, tmp_path: Path, whole: FittedNetwork
) -> None:
    settings = tiny_settings(hidden=(0, 1), folds=2, restarts=1, max_epochs=1)
    stages: list[str] = []
    epochs: list[int] = []

    def stop() -> None:
        raise Stopped

    def update(done: int, **figures: float) -> None:
        epochs.append(done)

    hooks = Hooks(
        stage=lambda stage, total: stages.append(stage),
        update=update,
        checkpoints=tmp_path,
        stop=stop,
        should_stop=lambda: stages[-1] == "fold 2 of 2: fitting 1 hidden unit" and epochs[-1] == 5,
    )
    with pytest.raises(Stopped):
        fit_network(small_counts, settings, device=CPU, hooks=hooks)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.safetensors")) == [
        "fold-1-of-2/hidden-1.safetensors",
        "fold-2-of-2/hidden-1.safetensors",
        "hidden-1.safetensors",
    ]
    fit = fit_network(small_counts, settings, device=CPU, hooks=Hooks(checkpoints=tmp_path, resume=True))
    np.testing.assert_array_equal(fit.coupling_filters, whole.coupling_filters)
    assert fit.metrics["candidates"] == whole.metrics["candidates"]


def test_more_folds_than_blocks_are_refused(segmented: Callable[..., Counts], tiny_settings: Settings) -> None:
    problem = pose_problem(segmented([260]), tiny_settings(folds=50), CPU)
    with pytest.raises(UsageError, match="do not make 50 folds"):
        cross_validate(problem, (1,), Hooks())
