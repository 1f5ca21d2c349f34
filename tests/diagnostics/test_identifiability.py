"""What there is to go by for a pair, against counting by hand and networks that can be solved."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import spikefit
from spikefit.diagnostics import identifiability
from spikefit.diagnostics.identifiability import (
    agreement_of_restarts,
    correlogram_z,
    spectral_radius,
    spike_pairs,
)
from spikefit.report import write_report
from spikefit.report.identifiability import doubts, starts
from spikefit.simulate import random_network, simulate

SETTINGS = {"bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "threads": 1}


def test_spike_pairs_are_those_counted_one_by_one():
    rng = np.random.default_rng(4)
    counts, offsets = rng.poisson(0.3, (90, 3)).astype(np.uint8), np.array([0, 40, 43, 90])
    found, chance = spike_pairs(counts, offsets, 5)
    expected, n_bins = np.zeros((3, 3)), 0
    for first, last in itertools.pairwise(offsets):
        for t in range(first, last):
            for s in range(max(first, t - 5), t):
                expected += np.outer(counts[t], counts[s].astype(float))
                n_bins += 1
    np.testing.assert_array_equal(found, expected)
    rate = counts.mean(axis=0)
    np.testing.assert_allclose(chance, n_bins * np.outer(rate, rate))
    assert not np.array_equal(found, spike_pairs(counts, np.array([0, 90]), 5)[0])  # across the gaps there are more


@pytest.mark.parametrize("some_lost", [False, True])
def test_spike_pairs_are_the_same_piece_by_piece(some_lost: bool, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(4)
    counts, offsets = rng.poisson(0.3, (90, 3)).astype(np.uint8), np.array([0, 40, 43, 90])
    lost = None
    if some_lost:
        lost = np.zeros(counts.shape, dtype=bool)
        lost[20:50, 1] = True
        counts[lost] = 0
    whole = spike_pairs(counts, offsets, 5, lost)
    monkeypatch.setattr(identifiability, "PIECE_COUNTS", 6)  # two bins and a window at once
    for one, other in zip(whole, spike_pairs(counts, offsets, 5, lost), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


@pytest.mark.statistical
def test_the_correlogram_sees_a_follower_and_is_normal_without_one():
    """Fixed lags of 3 bins for a fifth of the spikes; among the others |z| < 4.5, false alarms below 1 in 10,000."""
    rng = np.random.default_rng(8)
    counts = rng.poisson(0.05, (20_000, 4))
    counts[3:, 1] += (counts[:-3, 0] > 0) & (rng.random(19_997) < 0.2)
    z = correlogram_z(*spike_pairs(counts, np.array([0, 20_000]), 10))
    assert z[1, 0] > 6
    assert np.abs(np.delete(z.ravel(), [0, 4, 5, 10, 15])).max() < 4.5


def test_the_spectral_radius_is_that_of_a_ring_and_of_an_exponential_link():
    ring = np.roll(np.eye(4), 1, axis=0) * 3.0
    mean = np.full(4, 0.1)
    assert spectral_radius(ring, mean, link="exp") == pytest.approx(0.3)
    assert spectral_radius(ring, mean, link="softplus") == pytest.approx(3.0 * -np.expm1(-0.1))
    assert spectral_radius(ring, mean, link="sigmoid") == pytest.approx(0.3 * (1 - 0.1 / 5.0))
    assert spectral_radius(np.triu(ring, 1), mean, link="exp") == pytest.approx(0.0)


def test_a_shared_driver_is_named_where_it_explains_half():
    names = ("weight", "std_error", "n_spike_pairs", "correlogram_z", "shared_z")

    def row(*values):
        return np.array([values], dtype=[(name, float) for name in names])[0]

    assert doubts(row(2.0, 0.1, 500, 8.0, 2.0)) == ""
    assert doubts(row(2.0, 0.1, 500, 8.0, 12.0)) == "a shared driver could explain it"
    assert doubts(row(2.0, 0.1, 500, 8.0, -12.0)) == ""
    assert doubts(row(2.0, 0.1, 5, -8.0, 0.0)) == "few spikes speak for it; the plain correlogram has the other sign"


def test_restarts_agree_within_half_of_a_weight_and_never_across_signs():
    weight = np.array([[1.0, -2.0]])
    others = np.array([[[1.4, -2.9]], [[0.4, 2.0]]])
    spread, agreement = agreement_of_restarts(weight, others)
    np.testing.assert_allclose(agreement, [[0.5, 0.5]])
    np.testing.assert_allclose(spread, [[np.std([1.0, 1.4, 0.4], ddof=1), np.std([-2.0, -2.9, 2.0], ddof=1)]])
    assert agreement_of_restarts(weight, np.array([weight]))[1].min() == 1


def test_collinear_senders_and_restarts_that_disagree_are_named():
    names = ("weight", "std_error", "n_spike_pairs", "correlogram_z", "variance_inflation", "restart_agreement")

    def row(*values):
        return np.array([values], dtype=[(name, float) for name in names])[0]

    assert doubts(row(2.0, 0.1, 500, 8.0, 3.0, 1.0)) == ""
    assert "hard to tell apart" in doubts(row(2.0, 0.1, 500, 8.0, 12.0, 1.0))
    assert doubts(row(2.0, 0.1, 500, 8.0, 3.0, 0.4)) == "most other restarts do not agree on it"
    assert doubts(row(2.0, 0.1, 500, 8.0, np.nan, np.nan)) == ""


def test_a_fit_carries_it_behind_the_fixed_columns(tmp_path):
    network = random_network(n_visible=10, n_drivers=0, seed=5, window_s=0.05, rate_hz=12.0)
    counts = simulate(network, duration_s=60, seed=5).visible_counts
    fit = spikefit.POGLM(**SETTINGS).fit(counts)
    folder = fit.save(tmp_path / "out", figures=False)
    header = (folder / "edges.csv").read_text().splitlines()[0].split(",")
    assert header[12:] == [
        "n_post_spikes",
        "n_spike_pairs",
        "correlogram_z",
        "shared_z",
        "curvature",
        "variance_inflation",
    ]
    off = ~np.eye(10, dtype=bool)
    np.testing.assert_allclose(fit.diagnostics["curvature"][off], 1 / fit.std_error[off] ** 2)
    assert (fit.diagnostics["variance_inflation"] >= 1).all()
    assert "all agree by construction" in starts(fit)
    again = spikefit.load_result(folder)
    np.testing.assert_array_equal(again.diagnostics["shared_z"], fit.diagnostics["shared_z"])
    assert 0 < fit.metrics["spectral_radius"] < 2
    write_report(again, tmp_path / "page.html")
    assert 'id="identifiability"' in (tmp_path / "page.html").read_text()
    hidden = spikefit.POGLM(hidden=1, max_epochs=1, restarts=2, draws=1, **SETTINGS).fit(counts)
    how_sure = ("curvature", "variance_inflation", "restart_sd", "restart_agreement")
    assert hidden.edges().dtype.names[13:] == ("n_spike_pairs", "correlogram_z", "shared_z", "h0_weight", *how_sure)
    assert hidden.metrics["restarts_compared"] == 1
    assert "1 other restart " in starts(hidden)
    # The fit without hidden units to the training bins, so up to the spikes held out what the other fit says.
    ratio = hidden.diagnostics["curvature"][off] / fit.diagnostics["curvature"][off]
    assert 0.5 < np.median(ratio) < 1.2
    assert np.corrcoef(hidden.diagnostics["h0_weight"].ravel(), fit.connectivity.ravel())[0, 1] > 0.9
