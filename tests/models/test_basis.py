"""Bases for coupling filters: their scale, their shapes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefit.errors import UsageError
from spikefit.models.basis import (
    BASES,
    b_spline,
    exponential,
    make_basis,
    raised_cosine_linear,
    raised_cosine_log,
)

NAMES = sorted(BASES)


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(NAMES), n_lags=st.integers(1, 120), n_functions=st.integers(1, 12))
def test_every_column_has_unit_energy_and_says_something_of_its_own(name: str, n_lags: int, n_functions: int) -> None:
    basis = make_basis(name, window_s=n_lags * 0.005, bin_width_s=0.005, n_functions=n_functions)
    n_expected = n_lags if name == "raw" or n_lags <= n_functions else n_functions
    assert basis.shape == (n_lags, n_expected)
    assert basis.dtype == np.float64
    np.testing.assert_allclose(np.square(basis).sum(axis=0), 1.0, rtol=1e-12)
    assert (basis >= 0).all()
    # Exponentials are always close to one another; none may be the same as the next. The others are far from it.
    alike = (basis.T @ basis)[~np.eye(n_expected, dtype=bool)]
    assert alike.max(initial=0) < (0.9999 if name == "exponential" else 0.999)
    if name != "exponential":
        assert np.linalg.cond(basis) <= 1000


@pytest.mark.parametrize(("n_lags", "n_functions"), [(3, 2), (8, 7), (13, 12), (20, 10), (60, 40)])
def test_many_functions_over_few_lags_can_still_be_told_apart(n_lags: int, n_functions: int) -> None:
    assert np.linalg.matrix_rank(raised_cosine_log(n_lags, n_functions)) == n_functions


def test_the_usual_sizes_keep_the_whole_warping() -> None:
    warped = np.log(np.arange(20) + 1.0)
    spacing = np.log(21.0) / 6
    phase = np.clip((warped[:, None] - spacing * np.arange(5)) / (2 * spacing), -1, 1)
    np.testing.assert_allclose(raised_cosine_log(20, 5), 0.5 * (1 + np.cos(np.pi * phase)), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_of_no_more_bins_than_functions_gets_a_weight_for_every_lag(name: str) -> None:
    np.testing.assert_array_equal(make_basis(name, window_s=0.04, bin_width_s=0.01, n_functions=4), np.eye(4))
    np.testing.assert_array_equal(make_basis(name, window_s=0.04, bin_width_s=0.01, n_functions=9), np.eye(4))


def test_raised_cosines_cover_the_window_evenly_in_log_lag() -> None:
    basis = raised_cosine_log(400, 7)
    peaks = basis.argmax(axis=0)
    assert peaks[0] == 0
    assert (np.diff(peaks) > 0).all()
    # Four functions overlap everywhere between the second peak and the last but one, and their cosines cancel.
    np.testing.assert_allclose(basis[peaks[1] + 1 : peaks[-2]].sum(axis=1), 2.0, rtol=1e-12)
    assert basis[-1].max() < 1e-4  # nothing is cut off at the end of the window


def test_raised_cosines_are_narrow_behind_the_spike_and_broad_far_from_it() -> None:
    widths = (raised_cosine_log(200, 6) > 0.5).sum(axis=0)
    assert (np.diff(widths) >= 0).all()
    assert widths[-1] > 10 * widths[0]


def test_exponentials_decay_by_the_same_share_in_every_bin() -> None:
    basis = exponential(30, 4)
    shares = basis[1:] / basis[:-1]
    np.testing.assert_allclose(shares, np.broadcast_to(shares[0], shares.shape), rtol=1e-9)
    np.testing.assert_allclose(-1 / np.log(shares[0]), np.geomspace(1, 10, 4), rtol=1e-9)
    assert not np.allclose(*exponential(3, 2).T)


def test_linear_raised_cosines_are_one_shape_moved_on_by_equal_steps() -> None:
    basis = raised_cosine_linear(80, 7)  # ten lags a step
    assert basis.argmax(axis=0).tolist() == [0, 10, 20, 30, 40, 50, 60]
    for moved in range(1, 7):
        np.testing.assert_allclose(basis[10 * moved :, moved], basis[: 80 - 10 * moved, 0], atol=1e-12)
    np.testing.assert_allclose(basis[10:50].sum(axis=1), 2.0, rtol=1e-12)  # evenly covered
    assert (basis[:, 6] > 0).any()
    assert (basis[70:, :5] == 0).all()  # each ends two steps behind its peak
    # The twin: in log lag they are not.
    assert not np.allclose(raised_cosine_log(80, 7)[10:, 1], raised_cosine_log(80, 7)[:70, 0])


@pytest.mark.parametrize("n_functions", [1, 2, 3, 4, 7])
def test_b_splines_hold_every_cubic_that_ends_at_zero(n_functions: int) -> None:
    n_lags = 60
    basis = b_spline(n_lags, n_functions)
    left = (n_lags - np.arange(n_lags, dtype=float)) / n_lags  # of the window; zero behind its end
    for power in range(1, min(3, n_functions) + 1):
        weights = np.linalg.lstsq(basis, left**power, rcond=None)[0]
        np.testing.assert_allclose(basis @ weights, left**power, atol=1e-10)
    # The twin: one that does not end at zero cannot be made.
    weights = np.linalg.lstsq(basis, np.ones(n_lags), rcond=None)[0]
    assert np.abs(basis @ weights - 1).max() > 1e-3
    assert basis[0, 0] == 1.0  # free at the first lag
    assert (basis[0, 1:] == 0).all()


def test_b_splines_are_local_smooth_and_sum_to_one_until_the_last_knots() -> None:
    basis = b_spline(80, 10)  # eight stretches of ten lags
    np.testing.assert_allclose(basis[:71].sum(axis=1), 1.0, rtol=1e-12)
    assert ((basis > 0).sum(axis=1) <= 4).all()
    third = np.diff(basis, n=3, axis=0)
    assert np.abs(np.diff(third[1:8], axis=0)).max() < 1e-12  # a cubic between two knots
    assert np.abs(np.diff(third, axis=0)).max() > 1e-5  # and another one behind the next


@pytest.mark.parametrize(("window_s", "n_lags"), [(0.1, 10), (0.104, 10), (0.096, 10), (0.006, 1), (0.1 + 1e-12, 10)])
def test_the_window_is_rounded_to_whole_bins(window_s: float, n_lags: int) -> None:
    assert len(make_basis("raw", window_s=window_s, bin_width_s=0.01, n_functions=1)) == n_lags


def test_a_window_shorter_than_a_bin_is_refused_with_both_in_seconds() -> None:
    with pytest.raises(UsageError, match=r"window \(0\.004 s\) is shorter than one bin \(0\.01 s\)") as refusal:
        make_basis("raised-cosine-log", window_s=0.004, bin_width_s=0.01, n_functions=5)
    assert refusal.value.hint is not None
    assert "--window" in refusal.value.hint
    assert "--bin" in refusal.value.hint


def test_programming_mistakes_are_value_errors() -> None:
    with pytest.raises(ValueError, match="raised-cosine-log, raised-cosine-linear, b-spline, exponential, raw"):
        make_basis("cosine", window_s=0.1, bin_width_s=0.01, n_functions=5)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        make_basis("raw", window_s=0.1, bin_width_s=0.01, n_functions=0)
