"""Covariates as columns of a design, against columns worked out bin by bin in float64, and every refusal by its words."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from spikefit import SpikeTrains
from spikefit.config.terms import Term, parse_term, terms_of
from spikefit.covariate_columns import FittedTerm
from spikefit.covariate_design import design_columns, same_columns
from spikefit.covariates import Covariate, Samples
from spikefit.errors import UsageError

WIDTH = 0.1
Array = NDArray[np.float64]


def covariate(name: str, time_s: Array, values: Array, unit: str = "cm/s") -> Covariate:
    columns = values.reshape(time_s.size, -1)
    labels = ("x", "y", "z")[: columns.shape[1]] if columns.shape[1] > 1 else (name,)
    return Covariate(name, time_s.size, labels, unit, lambda: Samples(time_s, columns))


def recording(
    *covariates: Covariate, intervals: tuple[tuple[float, float], ...] = ((0.0, 30.0), (40.0, 60.0)), **more: Any
) -> SpikeTrains:
    spikes = np.array([(a + b) / 2 for a, b in intervals])
    return SpikeTrains.from_trains(
        [spikes, spikes], intervals_s=intervals, covariates={one.name: one for one in covariates}, **more
    )


def sampled(seed: int, stop_s: float = 60.0) -> tuple[Array, Array]:
    time_s = np.arange(0, stop_s, 0.1) + 0.05  # one sample in the middle of every bin
    return time_s, 3 + 2 * np.random.default_rng(seed).standard_normal(time_s.size)


def columns_of(trains: SpikeTrains, text: str, **options: Any) -> Any:
    terms = tuple(parse_term(*part.partition("=")[::2]) for part in text.split(","))
    return design_columns(trains, trains.bin(WIDTH), terms, **options)


def standardised(columns: Array) -> Array:
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def in_bins(trains: SpikeTrains, time_s: Array, values: Array) -> Array:
    """The sample in the middle of each bin."""
    return values[[int(np.argmin(np.abs(time_s - t - WIDTH / 2))) for t in trains.bin(WIDTH).time_s]]


def test_a_linear_column_is_the_value_brought_to_mean_0_and_sd_1() -> None:
    time_s, values = sampled(0)
    trains = recording(covariate("speed", time_s, values))
    found = columns_of(trains, "speed")
    wanted = in_bins(trains, time_s, values)
    np.testing.assert_allclose(found.values, standardised(wanted[:, None]), atol=2e-6)
    (term,) = found.terms
    assert term.basis == "linear"
    np.testing.assert_allclose((term.mean[0], term.sd[0]), (wanted.mean(), wanted.std()), rtol=1e-12)
    assert found.known.all()


def test_splines_are_those_of_de_boor_one_at_a_time() -> None:
    time_s, values = sampled(1)
    trains = recording(covariate("speed", time_s, values))
    found = columns_of(trains, "speed=b-spline:6")
    (term,) = found.terms
    knots = np.array(term.knots[0])
    assert found.n_columns == 6
    padded = np.concatenate([[knots[0]] * 3, knots, [knots[-1]] * 3])
    wanted = in_bins(trains, time_s, values)
    each = [BSpline.basis_element(padded[k : k + 5], extrapolate=False) for k in range(1, padded.size - 4)]
    dense = np.stack([np.nan_to_num(one(np.minimum(wanted, knots[-1] - 1e-12))) for one in each], axis=1)
    np.testing.assert_allclose(found.values, standardised(dense), atol=1e-5)


def test_harmonics_close_the_circle_in_degrees_too() -> None:
    time_s, _ = sampled(2)
    angle = np.random.default_rng(2).uniform(0, 360, time_s.size)
    trains = recording(covariate("direction", time_s, angle, "degrees"))
    found = columns_of(trains, "direction=cyclic:2")
    theta = np.deg2rad(in_bins(trains, time_s, angle))
    dense = np.stack([np.sin(theta), np.cos(theta), np.sin(2 * theta), np.cos(2 * theta)], axis=1)
    np.testing.assert_allclose(found.values, standardised(dense), atol=5e-6)
    assert columns_of(trains, "direction").terms[0].basis == "cyclic"  # what suits an angle, where nothing is said


def test_lags_look_back_inside_their_segment_only() -> None:
    time_s, values = sampled(3)
    trains = recording(covariate("speed", time_s, values))
    found = columns_of(trains, "speed=lags:3:700ms")
    counts = trains.bin(WIDTH)
    one_by_one = in_bins(trains, time_s, values)
    from spikefit.covariate_design.bases import lag_basis

    basis = lag_basis(0.7, WIDTH, 3)
    assert basis.shape == (7, 3)
    dense = np.zeros((counts.n_bins, 3))
    for start, stop in zip(counts.segment_offsets[:-1], counts.segment_offsets[1:], strict=True):
        for t in range(start, stop):
            for lag in range(7):
                dense[t] += basis[lag] * one_by_one[max(t - lag, start)]  # the first value stands before the segment
    np.testing.assert_allclose(found.values, standardised(dense), atol=1e-5)
    across = np.concatenate([one_by_one[:1].repeat(6), one_by_one])  # the twin that runs across the gap must differ
    wrong = np.stack([np.convolve(across, column)[6 : 6 + one_by_one.size] for column in basis.T], axis=1)
    assert np.abs(found.values - standardised(wrong)).max() > 0.1


def test_a_window_of_few_bins_gives_each_lag_a_weight() -> None:
    time_s, values = sampled(13)
    found = columns_of(recording(covariate("speed", time_s, values)), "speed=lags:4:200ms")
    assert found.names == ("speed lags 1", "speed lags 2")
    np.testing.assert_allclose(found.values[1:300, 1], found.values[:299, 0], atol=0.02)


def test_drift_and_time_in_trial_need_no_file() -> None:
    trials = np.array([[0.0, 10.0], [10.0, 20.0], [20.0, 30.0], [40.0, 60.0]])
    trains = recording(epochs={"trials": trials, "task": np.array([[0.0, 60.0]])})
    found = columns_of(trains, "time-in-trial=linear,drift=linear")
    middle = trains.bin(WIDTH).time_s + WIDTH / 2
    start = np.array([trials[(trials[:, 0] <= t) & (t < trials[:, 1])][0, 0] for t in middle])
    np.testing.assert_allclose(found.values, standardised(np.stack([middle - start, middle], axis=1)), atol=5e-6)
    assert [term.basis for term in columns_of(trains, "time-in-trial,drift").terms] == ["b-spline", "b-spline"]
    np.testing.assert_array_equal(
        columns_of(trains, "time-in-task=linear").values, columns_of(trains, "drift=linear").values
    )


def test_another_recording_gets_the_columns_by_the_numbers_of_the_first() -> None:
    time_s, values = sampled(4)
    first = recording(covariate("speed", time_s, values))
    fitted = columns_of(first, "speed=b-spline:4,drift")
    again = tuple(FittedTerm.from_dict(json.loads(json.dumps(term.to_dict()))) for term in fitted.terms)
    assert again == fitted.terms
    np.testing.assert_array_equal(same_columns(first, first.bin(WIDTH), again).values, fitted.values)
    second = recording(covariate("speed", time_s, values + 100), intervals=((0.0, 20.0),))
    moved = same_columns(second, second.bin(WIDTH), again).values[:, :4]
    # Far beyond the outer knot the last spline is 1 and the others 0, by the scale of the first recording.
    term = again[0]
    np.testing.assert_allclose(moved, np.tile((np.eye(4)[3] - term.mean) / term.sd, (200, 1)), rtol=1e-5)


def test_bins_without_a_value_are_refused_or_left_out() -> None:
    time_s, values = sampled(5, stop_s=45.0)
    trains = recording(covariate("speed", time_s, values))
    with pytest.raises(
        UsageError, match=r"speed is not known in 149 of 500 bins .* run from 0.05 s to 44.95 s"
    ) as told:
        columns_of(trains, "speed")
    assert told.value.hint is not None
    assert "--interval 0:45.1" in told.value.hint
    assert "--covariate-gaps leave-out" in told.value.hint
    found = columns_of(trains, "speed", leave_out=True)
    np.testing.assert_array_equal(found.known, trains.bin(WIDTH).time_s < 45.05)
    assert not found.values[~found.known].any()
    inside = found.values[found.known]
    np.testing.assert_allclose((inside.mean(), inside.std()), (0, 1), atol=1e-5)


def test_the_last_sample_holds_for_one_interval() -> None:
    time_s = np.arange(0, 60.0, 0.5)  # the last one at 59.5 s, so that the last five bins have none
    trains = recording(covariate("speed", time_s, np.sin(time_s)))
    found = columns_of(trains, "speed")
    assert found.known.all()
    np.testing.assert_array_equal(found.values[-4:], np.tile(found.values[-5], (4, 1)))
    late = covariate("speed", time_s[:-1], np.sin(time_s[:-1]))
    with pytest.raises(UsageError, match="not known in 4 of 500 bins"):
        columns_of(recording(late), "speed")


def noise(seed: int) -> Array:
    return sampled(seed)[1]


@pytest.mark.parametrize(
    ("asked", "said", "hint"),
    [
        ("sped", "there is no covariate 'sped'", "did you mean 'speed'?"),
        ("dirft", "there is no covariate 'dirft'", "did you mean 'drift'?"),
        ("flat", "the covariate 'flat' never changes (it is 3 in every bin)", "leave it out"),
        ("flat=b-spline", "the covariate 'flat' never changes", "leave it out"),
        ("speed,twice", "the covariates 'speed' and 'twice' say the same", "leave out 'twice'"),
        ("position,x", "the covariates 'position' and 'x' say the same", "leave out 'x'"),
        ("pair", "the covariate 'pair' has columns that say the same", "leave one of them out of the table"),
        ("speed=cyclic", "speed=cyclic: speed is no angle (unit 'cm/s', series speed)", "speed=b-spline"),
        ("angle=b-spline", "angle=b-spline: angle is an angle", "angle=cyclic:3"),
        ("time-in-trial", "there is no covariate 'time-in-trial'", "needs an epoch of that name"),
        ("elsewhere", "elsewhere is not known in 500 of 500 bins", "on the clock of the spikes"),
    ],
)
def test_what_no_fit_could_use_is_refused(asked: str, said: str, hint: str) -> None:
    time_s, speed = sampled(6)
    x = noise(7)
    given = (
        covariate("speed", time_s, speed),
        covariate("twice", time_s, 2 * speed - 1),
        covariate("flat", time_s, np.full(time_s.size, 3.0)),
        covariate("position", time_s, np.stack([x, noise(8)], axis=1)),
        covariate("x", time_s, x),
        covariate("pair", time_s, np.stack([x, 3 - 2 * x], axis=1)),
        covariate("angle", time_s, noise(9), "radians"),
        covariate("elsewhere", time_s + 1000, speed),
    )
    with pytest.raises(UsageError) as told:
        columns_of(recording(*given), asked)
    assert said in told.value.message
    assert hint in (told.value.hint or "")


def test_independent_covariates_are_not_taken_for_collinear() -> None:
    time_s, speed = sampled(10)
    given = (covariate("speed", time_s, speed), covariate("near", time_s, speed + 0.05 * noise(11)))
    assert columns_of(recording(*given), "speed=b-spline:8,near,drift").n_columns == 8 + 1 + 5


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("", Term("a", "auto", 1)),
        ("b-spline:7", Term("a", "b-spline", 7)),
        ("Cyclic", Term("a", "cyclic", 1)),
        ("lags:3", Term("a", "lags", 3, 0.5)),
        ("lags:3:20ms", Term("a", "lags", 3, 0.02)),
    ],
)
def test_the_words_of_a_term(text: str, term: Term) -> None:
    found = parse_term("a", text)
    assert found == term
    assert parse_term("a", found.text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spline", "did you mean 'b-spline'"),
        ("b-spline:2", "between 3 and 100, got '2'"),
        ("linear:3", "expected linear, got 'linear:3'"),
        ("lags:3:0ms", "longer than 0 s"),
        ("cyclic:x", "between 1 and 100, got 'x'"),
    ],
)
def test_words_that_make_no_term(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        parse_term("a", text)


def test_the_setting_can_be_written_in_three_ways() -> None:
    from spikefit.config import Config

    forms: tuple[Any, ...] = ("speed,head=cyclic:2", ["speed", "head=cyclic:2"], {"speed": None, "head": "cyclic:2"})
    found = [Config().replace(with_covariates=form) for form in forms]
    assert found[0].model == found[1].model == found[2].model
    assert [term.name for term in terms_of(found[0].model.with_covariates)] == ["speed", "head"]
    assert Config.model_validate(found[0].to_dict()) == found[0]


def test_columns_and_bins_must_agree() -> None:
    time_s, speed = sampled(12)
    found = columns_of(recording(covariate("speed", time_s, speed)), "speed")
    with pytest.raises(ValueError, match="do not go with"):
        dataclasses.replace(found, known=found.known[:-1])
