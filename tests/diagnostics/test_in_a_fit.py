"""Significance as it comes with a fit: in the result, in its file, and left out where it cannot be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import spikefit
from spikefit.errors import ConfigError
from spikefit.results.json_schema import METRICS_SCHEMA
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

SETTINGS = {"bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def counts() -> Counts:
    """Ten units, 120 s."""
    network = random_network(n_visible=10, n_drivers=0, seed=5, window_s=0.05, rate_hz=12.0)
    return simulate(network, duration_s=120, seed=5).visible_counts


def test_a_fit_tests_its_pairs_and_its_file_keeps_the_answer(counts: Counts, tmp_path: Path) -> None:
    fit = spikefit.POGLM(**SETTINGS).fit(counts)
    pairs = ~np.eye(10, dtype=bool)
    np.testing.assert_array_equal(np.isfinite(fit.q_value), pairs)
    assert (fit.q_value[pairs] >= fit.p_value[pairs]).all()
    assert fit.metrics["significance"] == "null"
    assert fit.metrics["n_tested_pairs"] == 90
    assert fit.metrics["n_edges"] == (fit.q_value[pairs] <= 0.05).sum() > 0
    known = METRICS_SCHEMA["properties"]
    assert {
        "z_spread",
        "n_shared_inputs",
        "null_centre",
        "null_spread",
        "null_shape",
    } <= known.keys() & fit.metrics.keys()
    # The diagonal is no edge; its interval is the model's own.
    np.testing.assert_allclose(np.diag(fit.ci_high - fit.ci_low), 2 * 1.6449 * np.diag(fit.std_error), rtol=1e-3)
    fit.save(tmp_path / "out", figures=False)
    again = spikefit.load_result(tmp_path / "out")
    for key in ("p_value", "q_value", "ci_low", "ci_high"):
        np.testing.assert_array_equal(getattr(again, key), getattr(fit, key))


def test_none_means_none(counts: Counts) -> None:
    fit = spikefit.POGLM(significance="none", **SETTINGS).fit(counts)
    assert np.isnan(fit.q_value).all()
    assert np.isfinite(fit.ci_low).all()
    assert fit.metrics["significance"] == "none"


def test_shuffled_units_have_no_edges(counts: Counts) -> None:
    """Every unit turned round in time against the others: what was an edge must go."""
    rng = np.random.default_rng(0)
    turned = np.stack([np.roll(column, rng.integers(1000, 11_000)) for column in counts.counts.T], axis=1)
    shuffled = Counts(
        counts=np.asfortranarray(turned),
        bin_width_s=counts.bin_width_s,
        segment_offsets=counts.segment_offsets,
        segment_start_s=counts.segment_start_s,
        unit_ids=counts.unit_ids,
    )
    assert spikefit.POGLM(**SETTINGS).fit(shuffled).metrics["n_edges"] <= 1


def test_long_lags_are_a_control(counts: Counts) -> None:
    fit = spikefit.POGLM(long_lags="on", **SETTINGS).fit(counts)
    assert fit.metrics["control_first_lag_s"] == pytest.approx(0.16)
    assert fit.metrics["control_last_lag_s"] == pytest.approx(0.20)
    assert fit.metrics["control_edges"] == 0 < fit.metrics["n_edges"]
    assert not any("no synapses" in note for note in fit.warnings)
    # The twin: senders that come 15 bins late; what they did is then to be found at those lags.
    ahead = np.asfortranarray(
        np.concatenate([np.roll(counts.counts[:, :5], -15, axis=0), counts.counts[:, 5:]], axis=1)
    )
    twin = spikefit.POGLM(long_lags="on", **SETTINGS).fit(dataclasses.replace(counts, counts=ahead))
    assert twin.metrics["control_edges"] > 0.01 * 90
    assert any("do not trust" in note for note in twin.warnings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"significance": "jitter", "hidden": 2}, "refits without hidden units"),
        ({"long_lags": "on", "significance": "none"}, "long_lags counts what the test null calls"),
        ({"surrogates": 3}, "surrogates"),
    ],
)
def test_settings_that_cannot_stand_together_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spikefit.POGLM(**(SETTINGS | settings))
