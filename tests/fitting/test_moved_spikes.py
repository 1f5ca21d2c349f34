"""What stays and what goes when spikes are moved, and which recordings are refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.fitting.moved_spikes import CELL_WINDOWS, mover

N_LAGS = 5
CELL = CELL_WINDOWS * N_LAGS
OFFSETS = np.array([0, 487, 1200])
IDS = ("a", "b", "c")


def counts() -> NDArray[np.int64]:
    return np.random.default_rng(0).poisson(0.2, (3, 1200))


def moved(
    kind: str, given: NDArray[np.int64], offsets: NDArray[np.int64] = OFFSETS, seed: int = 1
) -> NDArray[np.int64]:
    move = mover(kind, given, offsets, n_lags=N_LAGS, unit_ids=IDS)
    return move(np.random.default_rng(seed)).astype(np.int64)


def test_jitter_keeps_the_count_of_every_cell_and_nothing_inside_it() -> None:
    given = counts()
    out = moved("jitter", given)
    edges = np.concatenate([np.arange(start, stop, CELL) for start, stop in itertools.pairwise(OFFSETS)])
    np.testing.assert_array_equal(np.add.reduceat(out, edges, axis=1), np.add.reduceat(given, edges, axis=1))
    assert (out != given).mean() > 0.2
    # Every place of a whole cell is as likely as any other: 200 draws of about 720 spikes, standard error 0.0008.
    move = mover("jitter", given, OFFSETS, n_lags=N_LAGS, unit_ids=IDS)
    rng = np.random.default_rng(2)
    total = sum(move(rng)[:, : 48 * CELL].reshape(3, 48, CELL).sum((0, 1)) for _ in range(200))
    np.testing.assert_allclose(total / total.sum(), 1 / CELL, atol=0.005)


def test_shift_turns_each_train_round_by_a_window_at_least() -> None:
    given = counts()
    out = moved("shift", given)
    by = [
        [k for k in range(1200) if np.array_equal(np.roll(before, k), after)]
        for before, after in zip(given, out, strict=True)
    ]
    assert all(len(found) == 1 for found in by)
    assert len({found[0] for found in by}) == 3
    assert all(N_LAGS <= found[0] <= 1200 - N_LAGS for found in by)


def test_trials_change_places_whole() -> None:
    given, offsets = counts(), np.arange(0, 1201, 100)
    out = moved("trials", given, offsets)
    for before, after in zip(given.reshape(3, 12, 100), out.reshape(3, 12, 100), strict=True):
        assert sorted(before.tolist()) == sorted(after.tolist())
        assert not np.array_equal(before, after)


def test_each_draw_is_new_and_the_seed_repeats_it() -> None:
    for kind in ("jitter", "shift"):
        np.testing.assert_array_equal(moved(kind, counts(), seed=4), moved(kind, counts(), seed=4))
        assert not np.array_equal(moved(kind, counts(), seed=4), moved(kind, counts(), seed=5))


def burst() -> NDArray[np.int64]:
    given = counts()
    given[1] = 0
    given[1, 300:340] = 1
    return given


@pytest.mark.parametrize(
    ("kind", "given", "offsets", "words"),
    [
        ("shift", burst(), OFFSETS, "unit 'b' lie in one stretch of 5% of the recording"),
        ("jitter", burst(), OFFSETS, "One long burst"),
        ("shift", counts()[:, :14], np.array([0, 14]), "leaves 4 places"),
        ("jitter", counts()[:, :9], np.array([0, 9]), "longest stretch of the recording has 9 bins"),
        ("trials", counts(), np.array([0, 1200]), "there is one stretch of time"),
        ("trials", counts(), OFFSETS, "there are 2 stretches of time"),
        ("trials", counts(), np.array([0, 200, 400, 600, 800, 1200]), "from 200 to 400 bins long"),
    ],
)
def test_what_cannot_break_timing_is_refused_with_the_reason(
    kind: str, given: NDArray[np.int64], offsets: NDArray[np.int64], words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        mover(kind, given, offsets, n_lags=N_LAGS, unit_ids=IDS)
    assert words in refused.value.message
    assert refused.value.hint
