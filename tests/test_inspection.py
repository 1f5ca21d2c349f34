"""What `inspect` says of a recording, and which units an analysis would use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spikefit.errors import RecordingError, UsageError
from spikefit.inspection import choose_units, inspect_recording, keep_chosen, suggest_bin_width
from spikefit.loaders import read
from spikefit.loaders.raw import NOT_A_NEURON
from spikefit.spikes import SpikeTrains

TRAINS = SpikeTrains.from_trains(
    {"a": np.arange(0.5, 60), "b": [], "c": [1.0, 2.0], "u": np.arange(0.25, 60)},
    intervals_s=[[0, 30], [40, 60]],
    unit_columns={NOT_A_NEURON: np.array(["", "", "", "unsorted"], dtype=object)},
    epochs={"rest": np.array([[0.0, 30.0]])},
    format="nwb",
    warnings=("odd",),
)


def test_units_are_kept_or_not_with_a_reason() -> None:
    choices = choose_units(TRAINS, min_spikes=5)
    assert [(c.id, c.kept) for c in choices] == [("a", True), ("b", False), ("c", False), ("u", False)]
    assert [c.reason for c in choices] == [
        "",
        "no spikes in the chosen time",
        "2 spikes, fewer than 5",
        "unsorted, not a sorted neuron",
    ]
    assert [c.kept for c in choose_units(TRAINS)] == [True, False, True, False]
    assert [c.kept for c in choose_units(TRAINS, units="a,u")] == [True, False, False, True]  # asked for by name
    assert choose_units(TRAINS, units="c")[0].reason == "not chosen by --units c"
    with pytest.raises(UsageError, match=r"no unit column 'rate'.*did you mean 'rate_hz'"):
        choose_units(TRAINS, units="rate > 1")


def test_keeping_too_few_says_why() -> None:
    assert keep_chosen(TRAINS, choose_units(TRAINS)).unit_ids == ("a", "c")
    with pytest.raises(RecordingError) as caught:
        keep_chosen(TRAINS, choose_units(TRAINS, min_spikes=5))
    assert "1 of 4 units can be used, expected at least 2" in caught.value.message
    assert "1 left out: 2 spikes, fewer than 5" in caught.value.message


def test_the_object_of_inspect() -> None:
    found = inspect_recording(TRAINS)
    assert list(found) == [
        "format", "n_units", "n_spikes", "t_start_s", "t_stop_s", "intervals_s", "epochs", "unit_columns", "covariates", "units", "suggested_bins",
        "warnings",
    ]  # fmt: skip
    assert (found["format"], found["n_units"], found["n_spikes"]) == ("nwb", 4, TRAINS.n_spikes)
    assert (found["t_start_s"], found["t_stop_s"]) == (0, 60)
    assert found["intervals_s"] == [[0, 30], [40, 60]]
    assert found["epochs"] == {"rest": [[0, 30]]}
    assert found["warnings"] == ["odd"]
    first, empty = found["units"][:2]
    assert list(first) == [
        "id", "n_spikes", "rate_hz", "first_spike_s", "last_spike_s", "kept", "reason", "observed_s", "lost_share",
    ]  # fmt: skip
    assert first == {
        "id": "a", "n_spikes": 60, "rate_hz": 1.2, "first_spike_s": 0.5, "last_spike_s": 59.5, "kept": True, "reason": "",
        "observed_s": 50.0, "lost_share": 0.0,
    }  # fmt: skip
    assert (empty["first_spike_s"], empty["last_spike_s"], empty["rate_hz"]) == (None, None, 0.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_bin_widths_are_described_by_what_they_would_hold() -> None:
    train = np.concatenate([np.arange(0.0005, 10, 0.1), np.arange(0.0045, 10, 0.1)])  # pairs of spikes 4 ms apart
    trains = SpikeTrains.from_trains([np.sort(train)] * 2, intervals_s=[[0, 10]])
    found = {b["bin_width_s"]: b for b in inspect_recording(trains)["suggested_bins"]}
    assert found[0.002]["share_of_spiking_bins_with_two_or_more"] == 0
    assert found[0.005]["share_of_spiking_bins_with_two_or_more"] == 1
    assert found[0.005]["n_bins"] == 2000
    assert found[0.005]["spikes_per_bin_median"] == pytest.approx(0.1)
    assert found[0.005]["share_of_bins_with_two_or_more"] == pytest.approx(0.05)
    assert suggest_bin_width(list(found.values())) == 0.002
    assert suggest_bin_width([]) is None
    counts = trains.bin(0.005).counts
    assert float(np.mean(counts >= 2)) == pytest.approx(found[0.005]["share_of_bins_with_two_or_more"])


def test_the_mouse(recordings: Path) -> None:
    mouse = read(recordings / "mouse_hd_a2929.nwb")
    found = inspect_recording(mouse, units="g1*")
    assert [unit["kept"] for unit in found["units"]] == [True] * 7 + [False] * 8
    assert suggest_bin_width(inspect_recording(mouse)["suggested_bins"]) == 0.01
