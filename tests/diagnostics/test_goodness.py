"""Time rescaling of binned counts: uniform where the fit is right, and not where it is wrong or the bins are not allowed for."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import spikefit
from spikefit.config import Config
from spikefit.diagnostics.goodness import (
    COLUMNS,
    FEWEST_SPIKES,
    goodness_of_fit,
    ks_distance,
    rescaled_intervals,
    scores,
)
from spikefit.fitted import fit_settings
from spikefit.fitting.fit import fit_network
from spikefit.report import write_report
from spikefit.results.json_schema import METRICS_SCHEMA
from spikefit.simulate import random_network, simulate


def from_the_model(seed: int, n_units: int = 300, n_bins: int = 1500):
    """Expected counts that vary widely, some above one, and Poisson counts from them; (bin, unit)."""
    rng = np.random.default_rng([seed, 41])
    expected = 0.25 * np.exp(rng.normal(0, 1.0, (n_bins, n_units)))
    return rng.poisson(expected), expected


@pytest.mark.statistical
def test_p_is_uniform_on_data_from_the_model_itself_and_not_without_the_correction():
    """Three hundred p-values against the uniform law; false alarms: one in a thousand for each of the two tests."""
    counts, expected = from_the_model(1)
    found = goodness_of_fit(counts, expected, expected.mean(axis=0), seed=7)
    assert stats.kstest(found.columns["ks_p_value"], "uniform").pvalue > 1e-3
    assert stats.kstest(found.columns["interval_correlation_p_value"], "uniform").pvalue > 1e-3
    assert found.metrics["ks_units_tested"] == 300
    assert found.metrics["ks_units_failed"] <= 3
    # The twin: every spike at the end of its bin, as time rescaling without the correction would have it.
    ends = np.cumsum(expected, axis=0)
    naive = []
    for unit in range(300):
        places = np.repeat(ends[:, unit], counts[:, unit])
        levels = -np.expm1(-np.diff(places, prepend=0.0))
        naive.append(stats.kstwo.sf(ks_distance(levels), levels.size))
    assert stats.kstest(naive, "uniform").pvalue < 1e-6


@pytest.mark.statistical
def test_wrong_fits_are_seen():
    """False alarms: none to speak of; what is wrong is wrong by a fifth of the rate, or by the whole of its course."""
    counts, expected = from_the_model(2, n_units=40, n_bins=6000)
    constant = expected.mean(axis=0)
    for wrong in (1.2 * expected, np.broadcast_to(constant, expected.shape)):
        found = goodness_of_fit(counts, wrong, constant, seed=7)
        assert found.metrics["ks_units_failed"] > 30
    # Rhythm that the fit does not know: right rates, but every second interval is long; successive intervals tell.
    rng = np.random.default_rng(3)
    gaps = np.tile([3, 17], 400) + rng.integers(0, 2, 800)
    train = np.zeros((int(gaps.sum()) + 1, 1), dtype=np.int64)
    train[np.cumsum(gaps), 0] = 1
    alternating = goodness_of_fit(train, np.full(train.shape, train.mean()), np.array([train.mean()]), seed=7)
    assert alternating.columns["interval_correlation"][0] < -0.5
    assert alternating.columns["interval_correlation_p_value"][0] < 1e-6


def test_at_most_one_spike_in_a_bin_has_the_law_of_haslinger_pipa_and_brown():
    """For a bin with one spike and probability p the place is −log(1 − r p) there, r uniform: both laws, by their quantiles.

    Given any spike in a Poisson bin the first lies by that law; one uniform place for each of the bin's spikes gives it.
    """
    rng = np.random.default_rng(11)
    expected = 1.3
    n = rng.poisson(expected, 200_000)
    first = np.array([0.0])
    places = rng.random(int(n.sum())) * expected
    first = np.minimum.reduceat(places, (np.cumsum(n) - n)[n > 0])
    theirs = -np.log1p(-rng.random(first.size) * -np.expm1(-expected))
    assert stats.ks_2samp(first, theirs).pvalue > 1e-3
    assert stats.ks_2samp(first, rng.random(first.size) * expected).pvalue < 1e-12


def test_distance_and_scores_are_those_of_the_formulas():
    rng = np.random.default_rng(5)
    levels = rng.random(80) ** 1.3
    assert ks_distance(levels) == pytest.approx(stats.kstest(levels, "uniform").statistic)
    counts, expected = np.array([0.0, 1.0, 2.0, 0.0]), np.array([0.2, 0.9, 1.5, 0.1])
    log_likelihood = stats.poisson.logpmf(counts, expected).sum()
    constant = stats.poisson.logpmf(counts, 0.7).sum()
    perfect = stats.poisson.logpmf(counts, np.maximum(counts, 1e-300)).sum()
    bits, share = scores(counts, expected, 0.7)
    assert bits == pytest.approx((log_likelihood - constant) / math.log(2) / 3)
    assert share == pytest.approx((log_likelihood - constant) / (perfect - constant))
    assert math.isnan(scores(np.zeros(4), expected, 0.7)[0])


def test_too_few_spikes_have_scores_but_no_test():
    counts = np.zeros((1000, 2), dtype=np.int64)
    counts[: FEWEST_SPIKES - 1, 0] = 1
    found = goodness_of_fit(counts, np.full((1000, 2), 0.04), np.full(2, 0.04), seed=0)
    assert np.isnan(found.columns["ks_p_value"]).all()
    assert found.columns["bits_per_spike"][0] == pytest.approx(0.0)
    assert np.isnan(found.columns["bits_per_spike"][1])
    assert found.metrics == {"ks_units_tested": 0}
    assert rescaled_intervals(counts[:, 1], np.full(1000, 0.04), np.random.default_rng(0)).size == 0


SETTINGS = {"bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "threads": 1, "common_drive": "off"}


@pytest.fixture(scope="module")
def simulated():
    network = random_network(n_visible=8, n_drivers=0, seed=6, window_s=0.05, rate_hz=12.0)
    return simulate(network, duration_s=120, seed=6).visible_counts


def test_a_fit_carries_it_to_its_files_and_its_page(simulated, tmp_path: Path):
    fit = spikefit.POGLM(**SETTINGS).fit(simulated)
    assert fit.metrics["goodness_heldout"] is True
    assert fit.metrics["ks_units_tested"] == 8
    assert fit.metrics["ks_units_failed"] <= 2
    assert {"ks_units_tested", "ks_units_failed", "ks_median_distance"} <= METRICS_SCHEMA["properties"].keys()
    columns = fit.unit_rows[0].columns
    assert set(COLUMNS) <= columns.keys()
    # The units' own scores add up to the score of all.
    n = np.array([row.columns["judged_spikes"] for row in fit.unit_rows])
    bits = np.array([row.columns["bits_per_spike"] for row in fit.unit_rows])
    assert (n * bits).sum() / n.sum() == pytest.approx(fit.metrics["heldout_bits_per_spike"], rel=1e-4)
    fit.save(tmp_path / "out", figures=False)
    again = spikefit.load_result(tmp_path / "out")
    np.testing.assert_array_equal(again.diagnostics["ks_curve"], fit.diagnostics["ks_curve"])
    assert again.unit_rows[0].columns["ks_p_value"] == columns["ks_p_value"]
    write_report(again, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'id="goodness"' in page
    assert page.count("rescaled intervals of unit") == 8
    assert "By time rescaling on held-out bins" in page


def test_without_held_out_bins_it_is_said_so(simulated):
    settings = dataclasses.replace(fit_settings(Config().replace(**SETTINGS)), heldout=0.0)
    judged = fit_network(simulated, settings, device=torch.device("cpu")).judged
    assert judged is not None
    assert not judged.heldout
    assert judged.bins.size == simulated.n_bins - 5
    np.testing.assert_allclose(judged.expected_count.mean(axis=0), simulated.counts[5:].mean(axis=0), rtol=0.01)


@pytest.mark.parametrize("posterior", ["forward-backward", "forward-self"])
def test_with_hidden_units_the_expectation_is_over_draws(simulated, posterior):
    fit = spikefit.POGLM(hidden=1, posterior=posterior, max_epochs=2, restarts=1, draws=1, **SETTINGS).fit(simulated)
    assert fit.metrics["ks_units_tested"] == 8
    assert np.isfinite([row.columns["bits_per_spike"] for row in fit.unit_rows[:8]]).all()
    assert set(COLUMNS).isdisjoint(fit.unit_rows[8].columns)
