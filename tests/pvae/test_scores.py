"""Scores and baselines against definitions, scikit-learn and data whose answer is known."""

import numpy as np
import pytest
import scipy.stats

from spikefit.diagnostics.baselines import factor_analysis_baseline, smoothing_baseline
from spikefit.diagnostics.cosmoothing import bits_per_spike, fano_factor
from spikefit.diagnostics.factor_analysis import fit_factor_analysis
from spikefit.diagnostics.readout import decode, fit_poisson_readout
from spikefit.errors import RecordingError, UsageError
from spikefit.fitting.pvae.folds import cut_folds, take
from spikefit.latent_scoring import read_covariate


def test_bits_per_spike_is_the_benchmarks():
    random = np.random.default_rng(0)
    rates = random.gamma(2.0, 0.2, size=(500, 4))
    counts = random.poisson(rates)
    gain = scipy.stats.poisson.logpmf(counts, rates) - scipy.stats.poisson.logpmf(counts, counts.mean(0))
    found = bits_per_spike(rates, counts)
    assert found.pooled == pytest.approx(gain.sum() / np.log(2) / counts.sum())
    np.testing.assert_allclose(found.per_unit, gain.sum(0) / np.log(2) / counts.sum(0))
    assert bits_per_spike(np.tile(counts.mean(0), (500, 1)), counts).pooled == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="expected \\(bin, unit\\)"):
        bits_per_spike(rates[:-1], counts)


def test_poisson_regression_is_scikit_learns():
    from sklearn.linear_model import PoissonRegressor

    random = np.random.default_rng(1)
    x = random.normal(size=(2000, 5)) * [1, 10, 0.1, 1, 1]
    y = random.poisson(np.exp(0.3 * x[:, :1] - 0.05 * x[:, 1:2] - 0.5 + np.zeros((1, 2))))
    found = fit_poisson_readout(x, y, ridge=1e-6)
    for unit in range(2):
        known = PoissonRegressor(alpha=0, tol=1e-9, max_iter=1000).fit(x, y[:, unit])
        np.testing.assert_allclose(found.predict(x)[:, unit], known.predict(x), rtol=2e-3)


def test_factor_analysis_is_scikit_learns():
    from sklearn.decomposition import FactorAnalysis

    random = np.random.default_rng(2)
    x = random.normal(size=(1000, 2)) @ random.normal(size=(2, 6)) + 0.5 * random.normal(size=(1000, 6))
    found, known = fit_factor_analysis(x, 2), FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(x)
    assert found.log_likelihood == pytest.approx(known.score(x), abs=2e-3)
    assert fit_factor_analysis(x, 1).log_likelihood < known.score(x) - 0.1
    # Factors are known up to a rotation: what they say about the data is not.
    np.testing.assert_allclose(found.transform(x) @ found.loadings.T, known.transform(x) @ known.components_, atol=0.05)


def test_baselines_find_what_is_shared_and_nothing_where_nothing_is(counts):
    data = counts(lengths=(100,) * 20)
    folds = cut_folds(data.segment_offsets, shortest=100, heldout=0.2, seed=0).of(data)
    held_in, held_out = range(6), (6, 7)
    assert smoothing_baseline(folds, held_in, held_out).co_bps.pooled > 0.1
    assert factor_analysis_baseline(folds, held_in, held_out).co_bps.pooled > 0.1
    data.counts[:] = np.random.default_rng(3).poisson(0.3, size=data.counts.shape)
    folds = cut_folds(data.segment_offsets, shortest=100, heldout=0.2, seed=0).of(data)
    assert abs(smoothing_baseline(folds, held_in, held_out).co_bps.pooled) < 0.05


def test_decoding_knows_signal_from_noise():
    random = np.random.default_rng(4)
    x = random.normal(size=(600, 4))
    y = x @ random.normal(size=(4, 2)) + 0.1 * random.normal(size=(600, 2))
    y[::50] = np.nan  # not known there
    assert decode((x[:400], y[:400]), (x[400:], y[400:])) > 0.95
    noise = random.normal(size=(600, 2))
    assert decode((x[:400], noise[:400]), (x[400:], noise[400:])) < 0.05


def test_fano_factors(counts):
    data = counts(lengths=(500,) * 8)
    data.counts[:] = np.random.default_rng(5).poisson(0.5, size=data.counts.shape)
    np.testing.assert_allclose(fano_factor(data, 10), 1.0, atol=0.35)  # 400 windows: 5 standard errors
    data.counts[:] = 1
    assert (fano_factor(data, 10) == 0).all()


def test_gpfa_finds_what_is_shared_and_keeps_the_order_of_bins(counts):
    pytest.importorskip("elephant")
    from spikefit.diagnostics.gpfa import fit_gpfa, gpfa_baseline

    data = counts(lengths=(60,) * 16)
    folds = cut_folds(data.segment_offsets, shortest=60, heldout=0.2, seed=0).of(data)
    assert gpfa_baseline(folds, range(6), (6, 7)).co_bps.pooled > 0.1
    # Segments of 60 bins are stretches of 50 and 10: what is inferred for one segment alone is what stands in its place.
    factors = fit_gpfa(folds.fit, tuple(range(6)), 2)
    alone = take(folds.fit, np.array([[120, 180]]))
    np.testing.assert_allclose(factors(folds.fit)[120:180], factors(alone), atol=1e-8)


def test_without_elephant_gpfa_is_refused_in_a_plain_sentence(counts, monkeypatch):
    from spikefit.diagnostics import gpfa

    monkeypatch.setattr(gpfa, "find_spec", lambda name: None)
    data = counts(lengths=(60,) * 16)
    folds = cut_folds(data.segment_offsets, shortest=60, heldout=0.2, seed=0).of(data)
    with pytest.raises(UsageError, match=r"elephant is not installed \(pip install 'spikefit\[gpfa\]'\)"):
        gpfa.gpfa_baseline(folds, range(6), (6, 7))


@pytest.mark.parametrize(
    ("first", "n_rows"),
    [("0.0,NaN", 3), ("1E-1 2.0", 3), ("0.5,-inf", 3), ("time (s),phase", 2), ("e nan", 2), ("# by hand", 2)],
)
def test_a_first_line_of_numbers_is_no_heading(first, n_rows, tmp_path):
    table = tmp_path / "phase.csv"
    table.write_text(f"{first}\n1.0,2.5\n2.0,3.5\n")
    time_s, values = read_covariate(table)
    assert time_s[-2:].tolist() == [1.0, 2.0]
    assert values[-2:].tolist() == [[2.5], [3.5]]
    assert len(time_s) == len(values) == n_rows


@pytest.mark.parametrize("times", ["1.0 1.0 2.0", "1.0 nan 2.0", "2.0 1.0 3.0"])
def test_seconds_of_a_covariate_that_do_not_rise_are_refused(times, tmp_path):
    table = tmp_path / "phase.txt"
    table.write_text("".join(f"{time} 0.5\n" for time in times.split()))
    with pytest.raises(RecordingError, match="seconds in the first column must rise"):
        read_covariate(table)
