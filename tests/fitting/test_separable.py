"""Weights without a finite optimum are found and named, and nothing is said of data that have one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikefit.fitting.design import Design
from spikefit.fitting.fit import fit_network
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.separable import find_separable, parameters_note
from spikefit.fitting.settings import FitSettings
from spikefit.models.basis import make_basis
from spikefit.spikes import Counts

N_LAGS = 5


def make_design(counts: NDArray[np.uint8], basis: str = "raised-cosine-log") -> Design:
    functions = make_basis(basis, window_s=0.05, bin_width_s=0.01, n_functions=2)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T))
    return Design(by_unit, np.array([[N_LAGS, len(counts)]]), torch.from_numpy(functions), cache_bytes=10**8)


def independent(n_bins: int = 3000, n_units: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).poisson(0.15, (n_bins, n_units)).astype(np.uint8)


def test_data_with_an_optimum_are_left_in_peace() -> None:
    found = find_separable(make_design(independent()), 2)
    assert found.never_after == ()
    assert found.in_step == ()


def test_a_unit_that_never_fires_after_another_is_named_and_its_weights_run_away() -> None:
    counts = independent()
    for bin_ in np.flatnonzero(counts[:, 1]):
        counts[bin_ + 1 : bin_ + 1 + N_LAGS, 2] = 0
    design = make_design(counts)
    found = find_separable(design, 2)
    assert [(post, pre) for post, pre, _ in found.never_after] == [(2, 1)]
    assert found.in_step == ()
    # Less and less penalty: the coupling goes on and on, and those of others do not.
    weak, weaker = (fit_glm(design, ridge=ridge).weights for ridge in (1e-2, 1e-6))
    assert weaker[2, 2:4].sum() < 2 * weak[2, 2:4].sum() < -20
    assert (weaker[0] - weak[0]).abs().max() < 0.1
    # One spike within the window, and there is an optimum again.
    counts[np.flatnonzero(counts[100:, 1])[0] + 100 + 2, 2] = 1
    assert find_separable(make_design(counts), 2).never_after == ()
    # A pair that is forbidden has no weights to run away.
    free = torch.ones(4, 8, dtype=torch.bool)
    free[2, 2:4] = False
    assert find_separable(design, 2, free).never_after == ()


def test_a_unit_that_only_fires_in_step_with_another_is_named() -> None:
    counts = independent(1500)
    counts[:, 3] = 0
    leader = (np.random.default_rng(2).random(1500) < 0.1).astype(np.uint8)
    counts[:, 0] = leader
    follows = np.flatnonzero(leader[:-2]) + 2
    counts[follows, 3] = np.random.default_rng(1).random(len(follows)) < 0.7
    design = make_design(counts, "raw")
    found = find_separable(design, N_LAGS)
    assert [unit for unit, _ in found.in_step] == [3]
    assert 0 in found.in_step[0][1]
    # The log-likelihood rises without an end along that way: half the penalty, and the baseline falls further.
    first, second = (fit_glm(design, ridge=ridge, max_iterations=500).baseline[3].item() for ridge in (1e-2, 1e-5))
    assert second < first - 2
    # A spike out of step, and it is over.
    alone = next(t for t in range(500, 1500) if not leader[t - N_LAGS : t].any())
    counts[alone, 3] = 1
    assert find_separable(make_design(counts, "raw"), N_LAGS).in_step == ()


def test_features_that_repeat_one_another_are_not_taken_for_it() -> None:
    counts = independent()
    counts[:, 1] = counts[:, 0]
    assert find_separable(make_design(counts), 2).in_step == ()


@pytest.mark.parametrize("ridge", [1.0, 0.0])
def test_the_notes_of_a_fit_name_units_and_what_holds_them(
    tiny_settings: Callable[..., FitSettings], ridge: float
) -> None:
    counts = independent()
    for bin_ in np.flatnonzero(counts[:, 1]):
        counts[bin_ + 1 : bin_ + 1 + N_LAGS, 2] = 0
    recording = Counts(
        counts=np.asfortranarray(counts),
        bin_width_s=0.01,
        segment_offsets=np.array([0, len(counts)]),
        segment_start_s=np.zeros(1),
        unit_ids=("a", "b", "c", "d"),
    )
    fit = fit_network(recording, tiny_settings(ridge=ridge), device=torch.device("cpu"))
    (note,) = [note for note in fit.notes if "never fire" in note]
    assert "'c' after 'b' (" in note
    assert ("a ridge of 1 alone says how strong it is" in note) == (ridge == 1.0)
    assert ("pass a --ridge above 0" in note) == (ridge == 0.0)


def test_more_parameters_than_bins_are_told_with_what_the_penalty_leaves() -> None:
    design = make_design(independent(60, n_units=40))
    (note,) = parameters_note(design, 1.0, "softplus")
    assert "81 parameters for 55 bins" in note
    left = [int(word) for word in note.split() if word.isdigit()][-1]
    # By hand, for the unit in the middle: the trace of H (H + ridge)⁻¹, with the baseline.
    x = torch.cat([features for features, _ in design.blocks()], dim=1)
    y = torch.cat([counts for _, counts in design.blocks()], dim=1).double()
    centred = x - x.mean(1, keepdim=True)
    mean = y.mean(1).clamp(min=0.5 / 55)
    slope = 1 - torch.exp(-mean)  # of softplus where it has that value
    by_unit = []
    for information in (slope.square() / mean).tolist():
        h = information * centred @ centred.T
        by_unit.append(1 + torch.linalg.solve(h + torch.eye(80, dtype=h.dtype), h).trace().item())
    assert left == pytest.approx(np.median(by_unit), abs=0.51)
    assert parameters_note(make_design(independent(200, n_units=40)), 1.0, "softplus") == ()
    assert "pass a --ridge above 0" in parameters_note(design, 0.0, "softplus")[0]
