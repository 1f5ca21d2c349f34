"""Spike trains and their bins: edges, gaps, other clocks, and what must hold for any recording."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefit.errors import RecordingError, UsageError
from spikefit.intervals import intersection_of, union_of
from spikefit.spikes import Counts, SpikeTrains

Make = Callable[..., SpikeTrains]

# -- building ------------------------------------------------------------------------------------------------------


def test_trains_keep_order_ids_and_spikes() -> None:
    trains = SpikeTrains.from_trains({"b": [0.5, 1.5], "a": [], "ü,1": [0.25]}, intervals_s=[[0, 2]])
    assert trains.unit_ids == ("b", "a", "ü,1")
    assert list(trains) == ["b", "a", "ü,1"]
    assert (len(trains), trains.n_units, trains.n_spikes) == (3, 3, 3)
    assert trains.n_spikes_per_unit.tolist() == [2, 0, 1]
    assert trains["b"].tolist() == [0.5, 1.5]
    assert trains["a"].size == 0
    assert trains.rate_hz.tolist() == [1.0, 0.0, 0.5]
    assert "3 units, 3 spikes, 2.0 s" in repr(trains)


def test_without_intervals_the_spikes_tell() -> None:
    trains = SpikeTrains.from_trains([[4397.25, 4400.0], [4399.0]])
    assert trains.unit_ids == ("0", "1")
    assert trains.t_start_s == 4397.25
    assert 4400.0 < trains.t_stop_s < 4400.0 + 1e-9  # half-open, and the last spike is inside
    assert SpikeTrains.from_trains([[5.0]], t_start_s=0, t_stop_s=10).intervals_s.tolist() == [[0, 10]]


def test_a_train_is_not_copied() -> None:
    trains = SpikeTrains.from_trains([[1.0, 2.0], [3.0]])
    assert trains["0"].base is not None
    assert np.shares_memory(trains["0"], trains.spike_times_s)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ([0.0, np.nan, 1.0], "1 spike times are NaN or infinite (first in unit 'b', spike 1)"),
        ([0.0, np.inf], "NaN or infinite"),
        ([1.0, 3.0, 2.0], "first in unit 'b': 3 s is followed by 2 s"),
    ],
)
def test_times_that_cannot_be(train: list[float], words: str) -> None:
    with pytest.raises(RecordingError) as caught:
        SpikeTrains.from_trains({"a": [5.0], "b": train, "c": [0.0]}, intervals_s=[[0, 10]])
    assert words in str(caught.value)


def test_the_next_unit_may_start_earlier() -> None:
    trains = SpikeTrains.from_trains({"a": [5.0], "b": [], "c": [1.0, 1.0]}, intervals_s=[[0, 10]])
    assert trains["c"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("intervals", "words"),
    [
        ([[0, 5], [4, 9]], "overlap"),
        ([[5, 9], [0, 5]], "overlap"),
        ([[3, 3]], "do not run forward"),
        ([[3, 1]], "do not run forward"),
        ([[0, np.nan]], "do not run forward"),
        ([[0, np.inf]], "do not run forward"),
    ],
)
def test_intervals_that_cannot_be(intervals: Any, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        SpikeTrains.from_trains([[1.0]], intervals_s=intervals)


def test_programming_errors() -> None:
    with pytest.raises(ValueError, match="offsets do not divide"):
        SpikeTrains(np.zeros(3), np.array([0, 2]), ("a",), np.array([[0.0, 1.0]]))
    with pytest.raises(ValueError, match="offsets do not divide"):
        SpikeTrains(np.zeros(3), np.array([0, 3, 2, 3]), ("a", "b", "c"), np.array([[0.0, 1.0]]))
    with pytest.raises(ValueError, match="unit column 'q'"):
        SpikeTrains.from_trains([[1.0], [2.0]], unit_columns={"q": np.zeros(3)})
    with pytest.raises(ValueError, match="start and a stop"):
        SpikeTrains.from_trains([[1.0]], intervals_s=np.zeros((2, 3)))
    with pytest.raises(RecordingError, match="unit ids repeat"):
        SpikeTrains(np.zeros(0), np.zeros(3), ("a", "a"), np.array([[0.0, 1.0]]))


def test_pickled_and_copied_trains_are_equal(poisson_trains: Make) -> None:
    trains = poisson_trains(unit_columns={"q": np.array(["x", "y", "z"])}, epochs={"e": np.array([[1.0, 2.0]])})
    for other in (pickle.loads(pickle.dumps(trains)), copy.deepcopy(trains)):  # noqa: S301 - our own bytes
        assert other.spike_times_s.tobytes() == trains.spike_times_s.tobytes()
        assert other.epochs["e"].tolist() == [[1.0, 2.0]]
        assert other.unit_columns["q"].tolist() == ["x", "y", "z"]
        with pytest.raises(TypeError):
            other.epochs["new"] = np.zeros((0, 2))  # as read-only as the first


# -- bins ----------------------------------------------------------------------------------------------------------


def counts_of(train: list[float], intervals: list[list[float]], width: float) -> list[int]:
    return SpikeTrains.from_trains([train], intervals_s=intervals).bin(width).counts[:, 0].tolist()


def test_a_bin_is_closed_below_and_open_above() -> None:
    assert counts_of([0.0, 0.999, 1.0, 2.0, 2.5], [[0, 4]], 1.0) == [2, 1, 2, 0]


@pytest.mark.parametrize("start", [-2.0, 0.0, 4396.9975, 86_400.0])
@pytest.mark.parametrize("width", [0.001, 0.005, 0.01, 0.1, 1 / 3])
def test_spikes_written_on_an_edge_fall_into_the_bin_they_open(start: float, width: float) -> None:
    k = np.arange(300)
    rounded = np.round(start + k * width, 10)  # as a file of decimals holds them, some of them a hair below the edge
    assert counts_of(rounded.tolist(), [[start, start + 300 * width]], width) == [1] * 300


def test_only_whole_bins_are_kept() -> None:
    assert counts_of([0.5, 2.95], [[0, 2.99]], 1.0) == [1, 0]
    assert counts_of([0.05], [[0, 0.3]], 0.1) == [1, 0, 0]  # 0.3 / 0.1 is 2.9999999999999996


def test_gaps_are_left_out_and_every_interval_starts_its_own_bins() -> None:
    binned = SpikeTrains.from_trains([[0.5, 1.2, 3.75, 5.0]], intervals_s=[[0, 1.5], [3.25, 5.25]]).bin(0.5)
    assert binned.counts[:, 0].tolist() == [0, 1, 1, 0, 1, 0, 1]
    assert binned.segment_offsets.tolist() == [0, 3, 7]
    assert binned.segment_start_s.tolist() == [0, 3.25]
    assert binned.time_s.tolist() == [0, 0.5, 1.0, 3.25, 3.75, 4.25, 4.75]
    assert (binned.n_bins, binned.n_units, binned.n_segments) == (7, 1, 2)
    assert "7 bins of 500 ms × 1 units in 2 segments, uint8" in repr(binned)


def test_spikes_in_a_gap_are_not_counted() -> None:
    assert counts_of([0.5, 1.2, 2.5, 3.5], [[0, 1], [3, 4]], 1.0) == [1, 1]


def test_touching_intervals_are_two_segments() -> None:
    binned = SpikeTrains.from_trains([[0.9, 1.0]], intervals_s=[[0, 1], [1, 2]]).bin(0.5)
    assert binned.counts[:, 0].tolist() == [0, 1, 1, 0]
    assert binned.segment_offsets.tolist() == [0, 2, 4]


def test_intervals_shorter_than_a_bin_are_left_out() -> None:
    binned = SpikeTrains.from_trains([[0.1, 2.1]], intervals_s=[[0, 0.5], [2, 4]]).bin(1.0)
    assert binned.counts[:, 0].tolist() == [1, 0]
    assert binned.segment_start_s.tolist() == [2.0]


@pytest.mark.parametrize(("n", "dtype"), [(255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)])
def test_counts_are_as_small_as_they_can_be(n: int, dtype: type) -> None:
    binned = SpikeTrains.from_trains([[0.1], np.full(n, 1.5), [0.2, 0.3]], intervals_s=[[0, 2]]).bin(1.0)
    assert binned.counts.dtype == dtype
    assert binned.counts.tolist() == [[1, 0, 2], [0, n, 0]]  # what was counted before the type grew is still there
    assert binned.counts.flags.f_contiguous


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf])
def test_bin_widths_that_cannot_be(width: float) -> None:
    with pytest.raises(UsageError, match="must be above 0 s"):
        SpikeTrains.from_trains([[1.0]], intervals_s=[[0, 2]]).bin(width)


def test_a_bin_wider_than_the_recording() -> None:
    with pytest.raises(UsageError, match=r"a bin of 3 s is wider than the recording \(its longest interval: 2 s\)"):
        SpikeTrains.from_trains([[1.0]], intervals_s=[[0, 2], [5, 6]]).bin(3.0)


def test_a_recording_without_spikes_still_has_bins() -> None:
    assert SpikeTrains.from_trains([[], []], intervals_s=[[0, 2]]).bin(0.5).counts.tolist() == [[0, 0]] * 4


# -- choosing ------------------------------------------------------------------------------------------------------


def test_restrict_keeps_what_was_observed() -> None:
    trains = SpikeTrains.from_trains({"a": [0.5, 1.0, 2.0, 5.0, 6.5], "b": [3.0]}, intervals_s=[[0, 3], [5, 8]])
    part = trains.restrict([[1, 6]])
    assert part.intervals_s.tolist() == [[1, 3], [5, 6]]
    assert part["a"].tolist() == [1.0, 2.0, 5.0]
    assert part["b"].size == 0
    assert part.n_spikes_per_unit.tolist() == [3, 0]


def test_restrict_makes_edges() -> None:
    trains = SpikeTrains.from_trains([[0.5, 1.0, 1.5]], intervals_s=[[0, 2]])
    assert trains.restrict([[1, 2], [0, 1]]).intervals_s.tolist() == [[0, 1], [1, 2]]
    assert trains.restrict([[0, 1.2], [1, 2]]).intervals_s.tolist() == [[0, 2]]  # overlaps are taken once
    assert trains.restrict([[1, 2], [0, 1]])["0"].tolist() == [0.5, 1.0, 1.5]


def test_restrict_to_where_nothing_was() -> None:
    trains = SpikeTrains.from_trains([[0.5]], intervals_s=[[0, 2]])
    with pytest.raises(UsageError, match=r"nothing was observed inside.*\(recorded from 0 s to 2 s\)"):
        trains.restrict([[2, 5]])
    with pytest.raises(UsageError, match="nothing was observed"):
        trains.restrict(np.empty((0, 2)))


def test_epochs_by_name() -> None:
    epochs = {"sleep": np.array([[0.0, 4.0]]), "wake": np.array([[4.0, 6.0], [7.0, 8.0]])}
    trains = SpikeTrains.from_trains([[1.0, 4.0, 6.5, 7.5]], intervals_s=[[0, 10]], epochs=epochs)
    assert trains.restrict_to_epochs(["wake"])["0"].tolist() == [4.0, 7.5]
    both = trains.restrict_to_epochs(["wake", "sleep"])
    assert both.intervals_s.tolist() == [[0, 4], [4, 6], [7, 8]]  # the edge between sleep and wake stays an edge
    with pytest.raises(UsageError, match=r"no epoch 'wake2'.*did you mean 'wake'"):
        trains.restrict_to_epochs(["wake2"])


def test_select_takes_units_in_the_order_asked(poisson_trains: Make) -> None:
    trains = poisson_trains(3, unit_columns={"q": np.array([1.0, 2.0, 3.0])})
    chosen = trains.select(["u2", "u0"])
    assert chosen.unit_ids == ("u2", "u0")
    assert chosen["u0"].tobytes() == trains["u0"].tobytes()
    assert chosen.unit_columns["q"].tolist() == [3.0, 1.0]
    with pytest.raises(UsageError, match=r"no unit 'u7'.*did you mean"):
        trains.select(["u7"])
    with pytest.raises(UsageError, match="'u0' was asked for twice"):
        trains.select(["u0", "u0"])


# -- merging -------------------------------------------------------------------------------------------------------


def test_merge_adds_units_over_the_common_time() -> None:
    first = SpikeTrains.from_trains(
        {"a": [1.0, 5.0]},
        intervals_s=[[0, 6]],
        unit_columns={"q": np.array([1.0])},
        epochs={"e": np.array([[0.0, 2.0]])},
    )
    second = SpikeTrains.from_trains(
        {"b": [2.0, 7.0]}, intervals_s=[[2, 8]], unit_columns={"place": np.array(["CA1"])}, warnings=("odd",)
    )
    both = first.merge(second)
    assert both.unit_ids == ("a", "b")
    assert both.intervals_s.tolist() == [[2, 6]]
    assert (both["a"].tolist(), both["b"].tolist()) == ([5.0], [2.0])
    assert np.isnan(both.unit_columns["q"][1])
    assert both.unit_columns["place"].tolist() == ["", "CA1"]
    assert list(both.epochs) == ["e"]
    assert both.warnings == ("odd",)


def test_merge_refuses_what_does_not_fit() -> None:
    first = SpikeTrains.from_trains({"a": [1.0]}, intervals_s=[[0, 6]], epochs={"e": np.array([[0.0, 2.0]])})
    with pytest.raises(RecordingError, match="unit ids repeat"):
        first.merge(first)
    with pytest.raises(RecordingError, match="no observed time in common"):
        first.merge(SpikeTrains.from_trains({"b": [7.0]}, intervals_s=[[6, 9]]))
    with pytest.raises(RecordingError, match="disagree on the epoch 'e'"):
        first.merge(SpikeTrains.from_trains({"b": [1.0]}, intervals_s=[[0, 6]], epochs={"e": np.array([[0.0, 3.0]])}))


def test_merge_units_pools_spikes_in_the_first_place() -> None:
    trains = SpikeTrains.from_trains(
        {"a": [3.0], "b": [1.0, 5.0], "c": [2.0], "d": [1.0]},
        intervals_s=[[0, 6]],
        unit_columns={"q": np.array(["qa", "qb", "qc", "qd"])},
    )
    merged = trains.merge_units({"bd": ["d", "b"]})
    assert merged.unit_ids == ("a", "bd", "c")
    assert merged["bd"].tolist() == [1.0, 1.0, 5.0]
    assert merged.unit_columns["q"].tolist() == ["qa", "qb", "qc"]
    assert merged.n_spikes == trains.n_spikes
    with pytest.raises(UsageError, match="'b' stands in two groups"):
        trains.merge_units({"x": ["a", "b"], "y": ["b", "c"]})
    with pytest.raises(UsageError, match="no unit 'z'"):
        trains.merge_units({"x": ["a", "z"]})


# -- what must hold for any recording ------------------------------------------------------------------------------

# Times as files hold them: whole numbers of a tenth of a millisecond, on clocks that start anywhere.
TICK_S = 1e-4
ticks = st.lists(st.integers(0, 20_000), max_size=40).map(sorted)
clocks = st.sampled_from([0, -20_000, 43_969_975])
some_intervals = st.lists(st.integers(0, 20_000), min_size=2, max_size=12, unique=True).map(
    lambda edges: [[a, b] for a, b in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)]
)
widths = st.sampled_from([1, 5, 10, 37, 100, 1000])


def seconds(values: Any) -> np.ndarray:
    return np.round(np.asarray(values, dtype=np.float64) * TICK_S, 4)


def bins_in_whole_numbers(train: list[int], intervals: list[list[int]], width: int) -> list[int]:
    """The definition, in whole ticks where nothing is rounded."""
    counts = []
    for start, stop in intervals:
        for k in range((stop - start) // width):
            low = start + k * width
            counts.append(sum(low <= t < low + width for t in train))
    return counts


@settings(max_examples=200, deadline=None)
@given(train=ticks, intervals=some_intervals, clock=clocks, width=widths)
def test_bins_are_those_of_the_definition(train: list[int], intervals: list[list[int]], clock: int, width: int) -> None:
    expected = bins_in_whole_numbers(train, intervals, width)
    trains = SpikeTrains.from_trains(
        [seconds([t + clock for t in train])], intervals_s=seconds(intervals) + clock * TICK_S
    )
    if not expected:
        with pytest.raises(UsageError, match="wider than the recording"):
            trains.bin(width * TICK_S)
        return
    assert trains.bin(width * TICK_S).counts[:, 0].tolist() == expected


def test_restrict_and_bin_agree_on_spikes_a_hair_below_an_edge() -> None:
    edges = 0.01 * np.arange(201)  # 57 × 0.01 is 0.5700000000000001, and the file says 0.57
    trains = SpikeTrains.from_trains([np.round(edges[:-1], 2)], intervals_s=[[0, edges[-1]]])
    assert np.any(np.round(edges, 2) < edges)
    assert all(trains.restrict([[a, b]]).n_spikes == 1 for a, b in itertools.pairwise(edges))
    assert trains.restrict(np.stack([edges[:-1], edges[1:]], axis=1)).n_spikes == 200


@settings(max_examples=200, deadline=None)
@given(
    train=ticks,
    clock=clocks,
    width=st.sampled_from([5, 10, 100]),
    edges=st.tuples(st.integers(0, 199), st.integers(1, 200)),
)
def test_restricting_to_whole_bins_and_binning_commute(
    train: list[int], clock: int, width: int, edges: tuple[int, int]
) -> None:
    first, last = min(edges), max(edges) + (edges[0] == edges[1])
    trains = SpikeTrains.from_trains(
        [seconds([t + clock for t in train])], intervals_s=[[clock * TICK_S, (clock + 20_000) * TICK_S]]
    )
    whole = trains.bin(width * TICK_S)
    low, high = whole.time_s[first], whole.time_s[last] if last < whole.n_bins else trains.t_stop_s
    part = trains.restrict([[low, high]]).bin(width * TICK_S)
    assert part.counts[:, 0].tolist() == whole.counts[first : min(last, whole.n_bins), 0].tolist()


@settings(max_examples=100, deadline=None)
@given(train=ticks, intervals=some_intervals)
def test_restrict_loses_nothing_inside_and_is_idempotent(train: list[int], intervals: list[list[int]]) -> None:
    trains = SpikeTrains.from_trains([seconds(train)], intervals_s=[[0, 3]])
    part = trains.restrict(seconds(intervals))
    expected = [t for t in train if any(a <= t < b for a, b in intervals)]
    assert part["0"].tolist() == seconds(expected).tolist()
    again = part.restrict(seconds(intervals))
    assert again["0"].tolist() == part["0"].tolist()
    assert again.intervals_s.tolist() == part.intervals_s.tolist()


@settings(max_examples=100, deadline=None)
@given(first=some_intervals, second=some_intervals)
def test_sets_of_intervals_are_sets(first: list[list[int]], second: list[list[int]]) -> None:
    def members(rows: Any) -> set[int]:
        return {t for a, b in np.asarray(rows, dtype=int) for t in range(a, b)}

    assert members(union_of(first + second)) == members(first) | members(second)
    assert members(intersection_of(first, second)) == members(first) & members(second)
    assert members(intersection_of(second, first)) == members(first) & members(second)
    joined = union_of(first + second)
    assert np.all(joined[1:, 0] >= joined[:-1, 1])


def test_counts_say_where_they_are() -> None:
    counts = Counts(np.zeros((5, 2), np.uint8), 0.1, np.array([0, 2, 5]), np.array([-2.0, 4397.0]), ("a", "b"))
    assert counts.time_s == pytest.approx([-2.0, -1.9, 4397.0, 4397.1, 4397.2])


def test_binning_many_spikes_takes_seconds(poisson_trains: Make) -> None:
    import time

    trains = poisson_trains(50, duration_s=1000, rate_hz=40)  # two million spikes
    begin = time.process_time()
    binned = trains.bin(0.005)
    assert time.process_time() - begin < 5  # a tenth of this here; a loop over spikes would take minutes
    assert int(binned.counts.sum(dtype=np.int64)) == trains.n_spikes
