"""Averages over trials: which epochs are trials, which of them were observed whole, and sums against a plain loop."""

import numpy as np
import pytest

from spikefit.diagnostics.trial_averages import average_over_trials, find_trials, trial_types
from spikefit.spikes import SpikeTrains


def rows(starts, length=0.2):
    return np.stack([np.asarray(starts, dtype=float), np.asarray(starts, dtype=float) + length], axis=1)


def test_which_epochs_are_trials():
    left, right, sleep = rows(range(6)), rows(np.arange(6) + 0.5), rows([0.0], 300.0)
    all_trials = np.concatenate([left, right])
    assert set(trial_types({"trials": all_trials, "trials/left": left, "trials/right": right, "sleep": sleep})) == {
        "left",
        "right",
    }
    assert list(trial_types({"trials": all_trials, "left": left})) == ["trials"]
    assert list(trial_types({"left": left, "sleep": sleep, "uneven": np.concatenate([left, rows([10], 5.0)])})) == [
        "left"
    ]
    assert trial_types({"sleep": sleep}) == {}


def test_trials_that_were_not_observed_whole_are_left_out(counts):
    # Segments of 1 s at 0 s and 10 s.
    data = counts(lengths=(100, 100))
    epochs = {"a": rows([0.0, 0.2, 0.4, 0.6, 0.9, 5.0, 9.9, 10.0, 10.3])}
    found = find_trials([data, data], [epochs, {}])
    assert found.n_bins == 20
    assert found.first_bin["a"].tolist() == [0, 20, 40, 60, 100, 130]
    assert find_trials([data], [{"sleep": rows([0.0], 1.0)}]) is None
    assert find_trials([data], [{"a": rows([0.0, 0.2, 0.4])}]) is None  # three are no average


def test_averages_are_those_of_a_plain_loop(counts):
    data = counts(lengths=(400,))
    starts = np.array([0, 30, 55, 100, 320])
    found = find_trials([data], [{"a": rows(starts * 0.01)}])
    random = np.random.default_rng(0)
    expected, latent = random.random((400, 8)), random.random((400, 3))
    pieces = (
        (first, data.counts[first : first + 37], expected[first : first + 37], latent[first : first + 37])
        for first in range(0, 400, 37)
    )
    averages = average_over_trials(found, data.bin_width_s, pieces)
    assert averages.n_trials == {"a": 5}
    for values, told in (
        (data.counts, averages.counted_hz),
        (expected, averages.expected_hz),
        (latent, averages.latent_hz),
    ):
        plain = np.mean([values[start : start + 20] for start in starts], axis=0) / 0.01
        np.testing.assert_allclose(told[0], plain)
    np.testing.assert_allclose(averages.time_s, 0.01 * (np.arange(20) + 0.5))


@pytest.mark.slow
def test_the_page_of_a_recording_with_trials_shows_them_by_type(tmp_path):
    from spikefit import pvae_pipeline
    from spikefit.config import Config

    random = np.random.default_rng(0)
    starts = np.arange(40) * 1.0
    trains = {}
    for k in range(6):
        rate = 20 + 15 * (-1) ** (np.arange(40) % 2) * (1 if k < 3 else -1)  # odd trials are of the other type
        times = [start + np.sort(random.random(random.poisson(r))) for start, r in zip(starts, rate, strict=True)]
        trains[f"u{k}"] = np.concatenate(times)
    both = {"trials/left": rows(starts[::2], 1.0), "trials/right": rows(starts[1::2], 1.0)}
    recording = SpikeTrains.from_trains(trains, intervals_s=rows(starts, 1.0), name="two types")
    import dataclasses

    recording = dataclasses.replace(recording, epochs=both)
    config = Config().replace(bin="20ms", latents=3, width=16, max_epochs=60, context="100ms", smoothing="60ms")
    found = pvae_pipeline.fit(recording, tmp_path / "out", config=config)
    assert found.metrics["trials"] == {"left": 20, "right": 20}
    assert (tmp_path / "out" / "trials.png").stat().st_size > 10_000
    assert "Trials by type" in (tmp_path / "out" / "report.html").read_text()
    left, right = found.trials.expected_hz.mean(axis=1)
    assert (left[:3] > right[:3] + 5).all()
    assert (left[3:] < right[3:] - 5).all()
