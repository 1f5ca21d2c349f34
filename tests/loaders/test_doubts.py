"""Warnings about what is usable but odd, and silence about what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefit.config import ChecksConfig
from spikefit.errors import RecordingError
from spikefit.loaders import read
from spikefit.loaders.checks import suspected_unit
from spikefit.loaders.copies import shared_pairs
from spikefit.loaders.doubts import doubts_about
from spikefit.spikes import SpikeTrains

Make = Callable[..., SpikeTrains]
LIMITS = ChecksConfig()


def doubts(trains: SpikeTrains, **limits: Any) -> list[str]:
    return doubts_about(trains, ChecksConfig(**limits), unit_was_given=False)


def apart(n: int, seed: int = 0, gap_s: float = 0.002, mean_s: float = 0.2) -> np.ndarray:
    """A train without two spikes closer than `gap_s`."""
    return 1 + np.cumsum(gap_s + np.random.default_rng(seed).exponential(mean_s, n))


def test_a_sound_recording_raises_none() -> None:
    assert doubts(SpikeTrains.from_trains([apart(200, k) for k in range(4)])) == []


def test_few_spikes_and_none() -> None:
    trains = SpikeTrains.from_trains({"a": apart(200), "b": apart(49, 1), "c": [], "d": apart(50, 2)})
    none, few = doubts(trains)
    assert none == "1 of 4 units have no spikes: 'c'."
    assert few.startswith("1 of 4 units have fewer than 50 spikes")
    assert few.endswith(": 'b'.")
    assert doubts(trains, few_spikes=10)[1:] == []


def test_a_single_unit() -> None:
    assert doubts(SpikeTrains.from_trains([apart(200)])) == [
        "the recording holds a single unit: connections need at least two."
    ]


def test_spikes_at_the_same_time() -> None:
    train = np.sort(np.concatenate([apart(200), apart(200)[:3]]))
    (doubt,) = doubts(SpikeTrains.from_trains({"a": train, "b": apart(200, 1)}))
    assert doubt == "3 spikes stand at the very time of the spike before, in 'a'."


def test_refractory_violations() -> None:
    train = np.sort(np.concatenate([apart(200), apart(200)[:20] + 0.0005]))
    (doubt,) = doubts(SpikeTrains.from_trains({"a": train, "b": apart(200, 1)}))
    assert "1 of 2 units break their refractory period (up to 9.1 % of intervals below 1 ms)" in doubt
    assert doubts(SpikeTrains.from_trains({"a": train, "b": apart(200, 1)}), max_refractory_share=0.2) == []


def test_a_unit_of_noise() -> None:
    quiet = [apart(200, k, mean_s=5) for k in range(4)]
    noise = np.arange(1, 1000, 0.0021)
    (doubt,) = doubts(SpikeTrains.from_trains([*quiet, noise], intervals_s=[[0, 1500]]))
    assert "'4' fires more than 100 times as often as the median unit" in doubt


def test_copies_of_one_unit() -> None:
    tetrode = {f"wire{k}": apart(300) for k in range(4)}
    trains = SpikeTrains.from_trains(
        {**tetrode, "b": apart(300, 1), "part of b": apart(300, 1)[:280], "c": apart(300, 2)}
    )
    (doubt,) = doubts(trains)
    assert "'wire0' = 'wire1' = 'wire2' = 'wire3'; 'b' = 'part of b'" in doubt
    assert "--drop-unit" in doubt


def test_spikes_in_common_by_chance_are_no_copies() -> None:
    random = np.random.default_rng(3)
    # Rounded to a millisecond, half of the spikes of each unit find one of the other at the same time.
    trains = SpikeTrains.from_trains([np.unique(np.round(random.random(5000) * 10, 3)) for _ in range(3)])
    assert shared_pairs(trains, 0.9) == []


def test_copies_are_found_in_a_sample_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikefit.loaders.copies.SHARED_SAMPLE", 2000)
    same = apart(20_000)
    trains = SpikeTrains.from_trains([same, apart(20_000, 1), same + 0, np.round(same, 3)])
    assert shared_pairs(trains, 0.9) == [(0, 2)]


@pytest.mark.parametrize("scale", [1e3, 3e4, 1e6])
@pytest.mark.parametrize("name", ["mouse_hd_a2929", "rat_hpc_tetrode", "rat_lineartrack"])
def test_the_unit_is_guessed_on_real_recordings(recordings: Path, name: str, scale: float) -> None:
    real = read(recordings / f"{name}.nwb")
    wrong = SpikeTrains.from_trains([np.rint(real[unit] * scale) for unit in real])
    assert suspected_unit(wrong)[0] == {1e3: "milliseconds", 3e4: "samples of an amplifier", 1e6: "microseconds"}[scale]


def test_odd_lengths_and_rates_name_the_unit() -> None:
    long = SpikeTrains.from_trains([1000 * apart(4000, k, mean_s=0.05) + 0.25 for k in range(3)])
    assert any("lasts" not in d or "--time-unit ms" in d for d in doubts(long))
    slow = SpikeTrains.from_trains([1000 * apart(200, k, mean_s=0.1) for k in range(3)])
    assert doubts(slow, max_duration_s=1e9)[0].endswith("pass --time-unit ms.")
    fast = SpikeTrains.from_trains([apart(2000, k) / 60 / 20 for k in range(3)])
    assert "more than neurons can" in doubts(fast)[0]
    date = SpikeTrains.from_trains([1.6e9 + apart(200, k) for k in range(3)])
    assert any("UNIX time" in d for d in doubts(date))
    assert not any("UNIX" in d for d in doubts_about(date, LIMITS, unit_was_given=True))


def test_lone_spikes_far_away() -> None:
    trains = {str(k): apart(300, k) for k in range(3)}
    trains["1"] = np.append(trains["1"], 5e4)
    (doubt,) = [d for d in doubts(SpikeTrains.from_trains(trains)) if "far from all others" in d]
    assert "'1' lie far" in doubt
    assert "--t-stop" in doubt


def sentences(recordings: Path) -> Iterator[tuple[str, str]]:
    for path in recordings.glob("*.nwb"):
        for warning in read(path).warnings:
            yield path.name, warning


def test_doubts_are_sentences(recordings: Path) -> None:
    for name, warning in sentences(recordings):
        assert warning.endswith("."), name
        assert str(recordings) not in warning


def test_thresholds_of_repeated_times_and_dates() -> None:
    train = np.sort(np.concatenate([apart(200), apart(200)[:3]]))
    trains = SpikeTrains.from_trains({"a": train, "b": apart(200, 1)})
    assert doubts(trains, max_repeated_share=0.01) == []
    late = SpikeTrains.from_trains({"a": 2e8 + apart(200), "b": 2e8 + apart(200, 1)})
    assert any("count from 1970" in text for text in doubts(late))
    assert not any("count from 1970" in text for text in doubts(late, unix_time_s=1e9))


def test_times_before_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=apart(200) - 3, b=apart(200, 1))
    (found,) = [text for text in read(path).warnings if "before 0 s" in text]
    n = int(np.count_nonzero(apart(200) < 3))
    assert found.startswith(f"{n} spikes of 'a' lie before 0 s (the first at -")
    assert found.endswith("pass --t-start 0 --clip.")
    assert not any("before" in text for text in read(path, checks=ChecksConfig(min_time_s=-5)).warnings)
    clipped = read(path, t_start_s=0, clip=True)
    assert clipped.t_start_s == 0
    assert not any("before 0 s" in text for text in clipped.warnings)


def test_frames_are_told_from_milliseconds() -> None:
    for per_second, word in ((60.0, "frames"), (1000.0, "milliseconds"), (30_000.0, "samples")):
        trains = SpikeTrains.from_trains([np.round(apart(400, k, mean_s=0.35) * per_second) for k in range(4)])
        assert word in suspected_unit(trains)[0], per_second


@pytest.mark.parametrize("kind", ["restart", "trials", "any order", "nearly in order"])
def test_clocks_that_start_again_in_a_list_of_spikes(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(3)
    if kind == "restart":
        times = np.concatenate([apart(300, 1), apart(300, 2)])
    elif kind == "trials":
        times = np.concatenate([np.sort(rng.uniform(0, 2, 8)) for _ in range(40)])
    else:
        times = apart(600, 1)
        if kind == "any order":
            times = rng.permutation(times)
        else:
            times[10:12] = times[11], times[10]
    path = tmp_path / "a.csv"
    path.write_text("time,unit\n" + "".join(f"{t!r},{k % 2}\n" for k, t in enumerate(times.tolist())))
    if kind in ("any order", "nearly in order"):
        assert read(path)["0"].tolist() == sorted(times[::2].tolist())
        return
    with pytest.raises(RecordingError, match="spike times in column 1 go back at"):
        read(path)
