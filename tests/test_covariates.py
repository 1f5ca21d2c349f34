"""Covariates in the bins of a recording, against means and lines worked out bin by bin."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefit import SpikeTrains
from spikefit.covariates import Covariate, Covariates, Samples
from spikefit.errors import RecordingError, UsageError


class Given:
    """Hands out samples, and counts how often it is asked."""

    def __init__(self, time_s: Any, values: Any) -> None:
        self.time_s, self.values = np.asarray(time_s, float), np.asarray(values, float)
        self.asked = 0

    def __call__(self) -> Samples:
        self.asked += 1
        return Samples(self.time_s, self.values.reshape(self.time_s.size, 1))


def covariate(time_s: Any, values: Any, unit: str = "cm/s", name: str = "speed") -> Covariate:
    read = Given(time_s, values)
    n_columns = read().values.shape[1]
    read.asked = 0
    return Covariate(name, read.time_s.size, tuple("abc"[:n_columns]), unit, read)


def bins(*intervals: tuple[float, float], width: float = 0.1) -> Any:
    middles = np.array([(a + b) / 2 for a, b in intervals])
    return SpikeTrains.from_trains([middles, middles], intervals_s=intervals).bin(width)


def by_hand(time_s: np.ndarray, values: np.ndarray, start: float, width: float, max_gap: float) -> float:
    inside = (time_s >= start - 1e-9) & (time_s < start + width - 1e-9)
    if inside.any():
        return float(values[inside].mean())
    before, after = np.flatnonzero(time_s < start), np.flatnonzero(time_s >= start + width - 1e-9)
    if not before.size or not after.size:
        return float("nan")
    a, b = before[-1], after[0]
    if time_s[b] - time_s[a] > max_gap:
        return float("nan")
    share = (start + width / 2 - time_s[a]) / (time_s[b] - time_s[a])
    return float(values[a] + share * (values[b] - values[a]))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n_samples=st.integers(1, 200),
    width=st.sampled_from([0.01, 0.05, 0.37]),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_bins_hold_means_and_lines_as_worked_out_one_by_one(seed, n_samples, width, offset):
    random = np.random.default_rng(seed)
    time_s = np.sort(random.uniform(-1, 11, n_samples))
    values = offset + random.normal(size=n_samples)
    counts = bins((0, 4), (6, 10), width=width)
    found = covariate(time_s, values).at(counts, max_gap_s=0.3)
    expected = [by_hand(time_s, values, start, width, 0.3) for start in counts.time_s]
    np.testing.assert_allclose(found.values[:, 0], expected, atol=1e-9 * max(offset, 1))
    assert found.share_known == pytest.approx(np.isfinite(expected).mean())
    assert bool(found.warnings) == bool(np.isnan(expected).any())


def test_nothing_is_read_before_it_is_asked_for_and_then_once():
    speed = covariate([0, 1], [1, 2])
    assert (speed.shape, speed.is_angle, speed.read.asked) == ((2, 1), False, 0)
    assert speed.values[1, 0] == 2
    assert speed.time_s[1] == 1
    assert speed.read.asked == 1


@pytest.mark.parametrize(("unit", "turn"), [("radians", 2 * np.pi), ("Degrees", 360.0)])
def test_angles_are_averaged_on_the_circle(unit, turn):
    # Two samples in each bin, on either side of zero: their mean points to zero, not backwards.
    time_s = np.arange(20) * 0.05
    angle = np.tile([0.01, 0.99], 10) * turn
    found = covariate(time_s, angle, unit, "direction").at(bins((0, 1)))
    assert found.columns == ("sin a", "cos a")
    np.testing.assert_allclose(found.values[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(found.values[:, 1], np.cos(0.02 * np.pi))
    # The twin: as plain numbers they point backwards.
    plain = covariate(time_s, angle, "cm").at(bins((0, 1)))
    np.testing.assert_allclose(plain.values[:, 0], turn / 2)


def test_gaps_lost_samples_and_ends_are_nan_and_told():
    time_s = np.concatenate([np.arange(0, 2, 0.02), np.arange(5, 8, 0.02)])
    values = np.sin(time_s)
    values[(time_s > 6) & (time_s < 7)] = np.nan
    found = covariate(time_s, values).at(bins((0, 10)))
    lost = np.isnan(found.values[:, 0])
    start = np.arange(100) * 0.1
    inside = ((start > 2.05) & (start < 4.85)) | ((start > 6.05) & (start < 6.85)) | (start > 8.05)
    assert lost[inside].all()
    assert not lost[(start < 1.85) | ((start > 5.05) & (start < 5.85)) | ((start > 7.05) & (start < 7.85))].any()
    assert "speed is not known in" in found.warnings[0]
    assert "of 100 bins" in found.warnings[0]
    # A slow series is no gap: one sample a second, bins of 100 ms.
    slow = covariate(np.arange(12.0) - 0.5, np.arange(12.0)).at(bins((0, 10)))
    assert slow.share_known == 1
    assert not slow.warnings
    np.testing.assert_allclose(np.diff(slow.values[:, 0]).sum(), slow.values[-1, 0] - slow.values[0, 0])


@pytest.mark.parametrize(
    ("time_s", "words"), [([0, np.nan, 2], "1 of 3 sample times are NaN"), ([0, 2, 1], "2 s is followed by 1 s")]
)
def test_times_that_cannot_be(time_s, words):
    with pytest.raises(RecordingError, match=words):
        covariate(time_s, [1, 2, 3]).at(bins((0, 1)))


def test_a_series_without_samples_is_told():
    found = covariate([], np.empty((0, 1))).at(bins((0, 1)))
    assert np.isnan(found.values).all()
    assert found.share_known == 0
    assert found.warnings == ("speed holds no samples.",)


def test_a_gap_must_be_a_length():
    with pytest.raises(UsageError, match="above 0 s"):
        covariate([0, 1], [1, 2]).at(bins((0, 1)), max_gap_s=0)


def look() -> tuple[dict[str, Covariate], list[str]]:
    look.times += 1  # type: ignore[attr-defined]
    return {"speed": covariate([0, 1], [1, 2])}, ["lfp: too much"]


def test_the_file_is_looked_through_when_the_first_is_asked_for():
    look.times = 0  # type: ignore[attr-defined]
    found = Covariates(look)
    trains = SpikeTrains.from_trains([[0.0, 1.0]], covariates=found)
    assert "not looked for" in repr(found)
    kept = pickle.loads(pickle.dumps(trains.restrict([[0, 0.5]])))  # noqa: S301
    assert look.times == 0  # type: ignore[attr-defined]
    assert list(kept.covariates) == ["speed"]
    assert kept.covariates["speed"].values[1, 0] == 2
    assert "speed" in found
    assert "sped" not in found
    assert found.get("sped") is None
    assert found.left_out == ("lfp: too much",)
    with pytest.raises(UsageError, match="no covariate 'sped'") as caught:
        found["sped"]
    assert "speed" in caught.value.hint
    assert look.times == 2  # type: ignore[attr-defined]
