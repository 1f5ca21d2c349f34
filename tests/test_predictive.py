"""Free runs of a fit, against what can be computed exactly, and the stretch of the recording that travels along."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spikefit.excerpt import liveliest_stretch, with_excerpt
from spikefit.predictive import RATE, RATE_SE, free_runs, run_starts, with_simulated_rates
from spikefit.report.pair_correlations import pair_correlations as pair_correlations_part
from spikefit.results import CommonDriveTerm, HiddenActivity, Result, UnitRow
from spikefit.spikes import Counts, SpikeTrains

WIDTH_S = 0.01


def result_of(baseline, filters, *, link="softplus", n_hidden=0, n_bins=0, **changes):
    n_units = len(baseline)
    ids = [f"u{k}" for k in range(n_units - n_hidden)]
    n_lags = filters.shape[2]
    hidden = None
    if n_hidden:
        hidden = HiddenActivity(np.arange(n_lags, n_bins) * WIDTH_S, np.full((n_bins - n_lags, n_hidden), 0.02))
    fields = {
        "unit_id": (*ids, *(f"hidden-{k}" for k in range(n_hidden))),
        "unit_kind": ("visible",) * len(ids) + ("hidden",) * n_hidden,
        "connectivity": filters.sum(-1),
        "coupling_filters": filters,
        "lag_s": WIDTH_S * np.arange(1, n_lags + 1),
        "baseline": np.asarray(baseline),
        "bin_width_s": WIDTH_S,
        "units": tuple(UnitRow(unit, "visible", True, "", 100, 5.0, {"region": "x"}) for unit in ids),
        "hidden": hidden,
        "config": {"model": {"link": link}},
    }
    return Result(**(fields | changes))


def counts_of(n_units, n_bins=5000, seed=0, offsets=None):
    rng = np.random.default_rng([seed, 11])
    values = np.asfortranarray(rng.poisson(0.08, (n_bins, n_units)).astype(np.uint8))
    offsets = np.array([0, n_bins] if offsets is None else offsets)
    return Counts(values, WIDTH_S, offsets, offsets[:-1] * WIDTH_S, tuple(f"u{k}" for k in range(n_units)))


@pytest.mark.statistical
@pytest.mark.parametrize("link", ["softplus", "exp"])
def test_the_first_bin_of_a_run_has_the_rate_that_the_recorded_past_gives(link):
    """Exact reference: the link of baseline plus filters over the true counts; false alarms: one in a million a unit."""
    rng = np.random.default_rng(5)
    counts = counts_of(3)
    result = result_of(np.array([-2.0, -1.0, -1.5]), rng.normal(0, 1.0, (3, 3, 4)), link=link)
    starts = np.repeat(run_starts(result, counts, 1), 100)
    runs = free_runs(result, counts, starts, 1, seed=8)
    assert runs.n_runaway == 0
    drive = result.baseline + np.zeros((starts.size, 3))
    for lag in range(4):
        drive += counts.counts[starts - 1 - lag].astype(float) @ result.coupling_filters[:, :, lag].T
    expected = np.exp(drive) if link == "exp" else np.logaddexp(0, drive)
    error = np.sqrt(expected.mean(axis=0) / starts.size)
    z = (runs.rate_hz.mean(axis=0) * WIDTH_S - expected.mean(axis=0)) / error
    assert np.abs(z).max() < 5
    backwards = result.baseline + sum(
        counts.counts[starts - 4 + lag].astype(float) @ result.coupling_filters[:, :, lag].T for lag in range(4)
    )
    wrong = np.exp(backwards) if link == "exp" else np.logaddexp(0, backwards)
    assert np.abs(runs.rate_hz.mean(axis=0) * WIDTH_S - wrong.mean(axis=0)).max() > 5 * error.min()


@pytest.mark.statistical
def test_a_run_is_moved_by_the_common_drive_of_the_past_and_of_its_own_spikes():
    """Against explicit sums over the recorded past; the second bin, which its own spikes move, against the first's.

    False alarms: one in a million a unit.
    """
    counts = counts_of(3, n_bins=400, offsets=[0, 150, 400])
    common = CommonDriveTerm(np.array([0.05, 0.2]), np.array([[0.3, 0.05], [-0.2, 0.1], [0.0, 0.0]]), 20.0)
    result = result_of(np.array([-2.0, -1.0, -1.5]), np.zeros((3, 3, 2)), common_drive=common)
    at = 230
    weights = sum(
        (counts.counts[t].sum() - 20.0 * WIDTH_S)
        * (common.weights @ np.exp(-(at - 1 - t) * WIDTH_S / common.time_constant_s))
        for t in range(150, at)
    )
    expected = np.logaddexp(0, result.baseline + weights)
    starts = np.full(20_000, at)
    runs = free_runs(result, counts, starts, 1, seed=3)
    found, error = runs.rate_hz.mean(axis=0) * WIDTH_S, np.sqrt(expected / starts.size)
    assert np.abs((found - expected) / error).max() < 5
    # The twin: without the common drive the same rates would be seen to be wrong.
    assert np.abs((np.logaddexp(0, result.baseline) - expected) / error).max() > 10
    # What the whole first bin added on average, carried into the second through the same weights; to first order.
    excess = expected.sum() - 20.0 * WIDTH_S
    decay = np.exp(-WIDTH_S / common.time_constant_s)
    trace = np.linalg.lstsq(common.weights, weights, rcond=None)[0]
    drive = result.baseline + common.weights @ (decay * trace + excess)
    second = free_runs(result, counts, starts, 2, seed=4).rate_hz.mean(axis=0) * 2 * WIDTH_S - expected
    assert np.abs((second - np.logaddexp(0, drive)) / np.sqrt(3 * expected / starts.size)).max() < 5


@pytest.mark.statistical
def test_units_without_couplings_fire_at_their_baseline_and_errors_are_of_the_mean():
    """False alarms: about one in a million."""
    counts = counts_of(4)
    baseline = np.array([-2.0, -3.0, -2.5, -1.0])
    result = with_simulated_rates(result_of(baseline, np.zeros((4, 4, 3))), counts, seed=1)
    exact_hz = np.logaddexp(0, baseline) / WIDTH_S
    rates = np.array([row.columns[RATE] for row in result.unit_rows])
    errors = np.array([row.columns[RATE_SE] for row in result.unit_rows])
    n_runs = result.metrics["simulated_runs"]
    np.testing.assert_allclose(errors, np.sqrt(exact_hz / n_runs), rtol=0.3)
    assert np.abs((rates - exact_hz) / errors).max() < 5
    assert np.abs((rates - 1.5 * exact_hz) / errors).max() > 5
    assert result.unit_rows[0].columns["region"] == "x"
    assert result.warnings == ()


def test_a_network_that_runs_away_is_told_of():
    filters = np.full((2, 2, 3), 4.0)
    result = with_simulated_rates(result_of([-1.0, -1.0], filters), counts_of(2), seed=0)
    assert result.metrics["simulated_runaway"] == result.metrics["simulated_runs"]
    assert RATE not in result.unit_rows[0].columns
    assert "runs away within 1 s in 200 of 200 runs" in result.warnings[0]


def test_runs_start_after_a_whole_history_and_end_inside_a_segment():
    counts = counts_of(2, 1000, offsets=[0, 300, 320, 1000])
    result = result_of([-2.0, -2.0], np.zeros((2, 2, 5)))
    starts = run_starts(result, counts, 100)
    assert starts.min() == 5
    assert starts.max() == 900
    assert not np.any((starts > 200) & (starts < 325))
    short = counts_of(2, 60)
    assert run_starts(result, short, 100).size == 0
    assert with_simulated_rates(result, short, seed=0) is result


@pytest.mark.statistical
def test_hidden_units_take_part_with_their_posterior():
    """Exact reference: the link averaged over Poisson hidden counts in two lags; false alarms: one in two million."""
    counts = counts_of(2)
    filters = np.zeros((3, 3, 2))
    filters[0, 2] = 5.0
    result = result_of([-4.0, -4.0, -20.0], filters, n_hidden=1, n_bins=5000)
    starts = np.repeat(run_starts(result, counts, 1), 50)
    rate = free_runs(result, counts, starts, 1, seed=0).rate_hz[:, 0]
    k = np.arange(20)
    exact_hz = np.sum(stats.poisson.pmf(k, 2 * 0.02) * np.logaddexp(0, -4 + 5.0 * k)) / WIDTH_S
    error = rate.std() / np.sqrt(rate.size)
    assert abs(rate.mean() - exact_hz) < 5 * error
    assert abs(rate.mean() - np.logaddexp(0, -4) / WIDTH_S) > 5 * error


def test_the_same_seed_gives_the_same_runs():
    counts = counts_of(3)
    result = result_of([-2.0, -2.0, -2.0], np.random.default_rng(0).normal(0, 0.3, (3, 3, 4)))
    first, again, other = (with_simulated_rates(result, counts, seed=seed) for seed in (1, 1, 2))
    assert [row.columns for row in first.units] == [row.columns for row in again.units]
    assert [row.columns for row in first.units] != [row.columns for row in other.units]


# -- excerpt -------------------------------------------------------------------------------------------------------


def test_the_excerpt_is_where_hidden_units_vary_most():
    n_bins = 20_000
    result = result_of([-2.0, -2.0, -3.0], np.zeros((3, 3, 2)), n_hidden=1, n_bins=n_bins)
    expected = np.full((n_bins - 2, 1), 0.1)
    expected[12_000:13_500:20] = 0.9
    result = Result(**{**vars(result), "hidden": HiddenActivity(result.hidden.time_s, expected)})
    start_s, stop_s = liveliest_stretch(result)
    assert stop_s - start_s == pytest.approx(20.0)
    assert start_s < 121
    assert stop_s > 134
    trains = SpikeTrains.from_trains(
        {"u1": np.arange(0.005, 200, 0.5), "u0": np.arange(0.005, 200, 1.0)}, t_start_s=0, t_stop_s=200
    )
    excerpt = with_excerpt(result, trains).excerpt
    inside = [trains[unit][(trains[unit] >= start_s) & (trains[unit] < stop_s)] for unit in ("u0", "u1")]
    np.testing.assert_array_equal(excerpt.spike_time_s, np.concatenate(inside))
    np.testing.assert_array_equal(excerpt.unit, np.repeat([0, 1], [train.size for train in inside]))


def test_an_excerpt_never_spans_a_gap_and_is_not_made_without_hidden_units():
    result = result_of([-2.0, -3.0], np.zeros((2, 2, 2)), n_hidden=1, n_bins=4000)
    time_s = np.concatenate([np.arange(1000) * WIDTH_S, 500 + np.arange(2998) * WIDTH_S])
    activity = np.zeros((3998, 1))
    activity[900:1100:3] = 1.0  # the liveliest bins lie on both sides of the gap
    gapped = Result(**{**vars(result), "hidden": HiddenActivity(time_s, activity)})
    start_s, stop_s = liveliest_stretch(gapped)
    assert start_s >= 500 or stop_s <= 10.01
    assert liveliest_stretch(result_of([-2.0], np.zeros((1, 1, 2)))) is None


def test_correlations_of_counts_are_those_of_the_stretches_and_of_the_runs():
    """Units that follow one another in the recording but not in the fit: the runs lack their correlation.

    Of independent counts one correlation in two million lies beyond five times one over the root of the number of stretches.
    """
    rng = np.random.default_rng(3)
    course = np.repeat(rng.gamma(2.0, 0.5, 300), 100)
    values = np.asfortranarray(rng.poisson(0.1 * course[:, None], (30_000, 3)).astype(np.uint8))
    counts = Counts(values, WIDTH_S, np.array([0, 30_000]), np.zeros(1), ("u0", "u1", "u2"))
    found = with_simulated_rates(result_of(np.full(3, -2.2), np.zeros((3, 3, 2))), counts, seed=0)
    starts = run_starts(found, counts, 100)
    stretches = np.array([values[start : start + 100].sum(axis=0) for start in starts])
    off = ~np.eye(3, dtype=bool)
    recorded, simulated = (found.diagnostics[key] for key in ("pair_correlation", "simulated_pair_correlation"))
    np.testing.assert_allclose(recorded[off], np.corrcoef(stretches.T)[off], rtol=1e-9)
    assert np.isnan(np.diag(recorded)).all()
    bound = 5 / starts.size**0.5
    assert np.abs(simulated[off]).max() < bound < recorded[off].min()
    # The twin: a unit that strongly excites another is correlated with it in the runs.
    filters = np.zeros((3, 3, 2))
    filters[1, 0] = 3.0
    coupled = with_simulated_rates(result_of(np.array([-1.0, -4.0, -2.0]), filters), counts, seed=0)
    assert coupled.diagnostics["simulated_pair_correlation"][1, 0] > bound
    assert "Counts of two units" in pair_correlations_part(found)
    assert pair_correlations_part(result_of(np.full(3, -2.2), np.zeros((3, 3, 2)))) == ""
