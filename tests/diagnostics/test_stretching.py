"""Intervals reach out as far as couplings can be too small."""

from __future__ import annotations

import numpy as np
import pytest

import spikefit
from spikefit.diagnostics.edge_test import EdgeTest
from spikefit.diagnostics.stretching import attenuation_note, stretched
from spikefit.simulate import random_network, simulate


def test_the_end_away_from_zero_moves_and_the_other_stays():
    low = np.array([[2.0, -4.0, -1.0], [2.0, np.nan, 0.0]])
    high = np.array([[4.0, -2.0, 3.0], [4.0, np.nan, 1.0]])
    nothing = np.full(low.shape, np.nan)
    test = stretched(EdgeTest(nothing, nothing, low, high), np.array([0.8, 1.0]))
    np.testing.assert_allclose(test.ci_low, [[2.0, -5.0, -1.25], [2.0, np.nan, 0.0]])
    np.testing.assert_allclose(test.ci_high, [[5.0, -2.0, 3.75], [4.0, np.nan, 1.0]])


def test_the_reader_is_told_of_receivers_that_lose_much():
    assert attenuation_note(np.array([0.95, 1.0]), ["a", "b"], tested=True) == ()
    (one,) = attenuation_note(np.array([0.95, 0.7]), ["a", "b"], tested=True)
    assert "onto b come out too small, at 70% of their size:" in one
    (two,) = attenuation_note(np.array([0.8, 0.7, 1.0]), ["a", "b", "c"], tested=True)
    assert "onto 2 of 3 units come out too small, those onto b most, at 70% of their size:" in two


def test_intervals_that_are_the_models_own_are_not_said_to_reach_out():
    network = random_network(
        n_visible=10, n_drivers=2, seed=5, window_s=0.05, rate_hz=8.0, driver_strength=5.0, fan_out=0.6
    )
    counts = simulate(network, duration_s=120, seed=5).visible_counts
    words = {"bin": counts.bin_width_s, "window": 0.05, "hidden": 0, "device": "cpu"}
    for significance, reach in (("null", True), ("none", False)):
        fit = spikefit.POGLM(significance=significance, **words).fit(counts)
        (note,) = (text for text in fit.warnings if "too small" in text)
        assert ("Intervals reach out" in note) == reach
        middle = 0.5 * (fit.ci_low + fit.ci_high)
        assert np.allclose(middle, fit.connectivity) == (not reach)


@pytest.mark.parametrize("drivers", [0, 2])
def test_a_fit_carries_it(drivers: int, tmp_path):
    network = random_network(
        n_visible=10, n_drivers=drivers, seed=5, window_s=0.05, rate_hz=8.0, driver_strength=5.0, fan_out=0.6
    )
    counts = simulate(network, duration_s=300, seed=5).visible_counts
    fit = spikefit.POGLM(bin=counts.bin_width_s, window=0.05, hidden=0, device="cpu").fit(counts)
    found = np.array([row.columns["attenuation"] for row in fit.units])
    assert ((found > 0) & (found <= 1)).all()
    assert fit.metrics["attenuation_median"] == np.median(found)
    told = any("too small" in warning for warning in fit.warnings)
    assert told == (drivers > 0) == bool((found < 0.9).any())
    # What was taken off is told apart from how far the intervals reach.
    off = ~np.eye(10, dtype=bool)
    left = fit.connectivity - fit.diagnostics["shared_z"] * fit.std_error
    assert ((fit.ci_low < left) & (left < fit.ci_high))[off].all()
    reach = np.maximum(fit.ci_high - left, left - fit.ci_low) / np.minimum(fit.ci_high - left, left - fit.ci_low)
    assert (reach[off].max() > 1.1) == (drivers > 0)
    again = spikefit.load_result(fit.save(tmp_path / "out", figures=False))
    assert [row.columns["attenuation"] for row in again.units] == pytest.approx(found.tolist())
    exponential = spikefit.POGLM(bin=counts.bin_width_s, window=0.05, hidden=0, link="exp", device="cpu").fit(counts)
    assert exponential.metrics["attenuation_median"] == 1.0


def test_where_there_are_no_errors_there_is_none():
    network = random_network(n_visible=10, n_drivers=0, seed=5, window_s=0.05, rate_hz=8.0)
    counts = simulate(network, duration_s=60, seed=5).visible_counts
    words = {"bin": counts.bin_width_s, "window": 0.05, "hidden": 0, "device": "cpu"}
    assert "attenuation_median" not in spikefit.POGLM(group_lasso=3.0, **words).fit(counts).metrics
    scattered = spikefit.POGLM(count_law="negative-binomial", **words).fit(counts)
    assert "attenuation_median" not in scattered.metrics  # such counts scatter by their law
