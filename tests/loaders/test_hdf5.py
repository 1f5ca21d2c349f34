"""Plain HDF5 files in every layout that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikefit.errors import RecordingError, UsageError
from spikefit.loaders import read
from spikefit.spikes import SpikeTrains

Build = Callable[..., Path]
A, B, C = [0.5, 1.25, 2.0], [0.75], [0.1, 3.5]
NAMES = [b"a", b"b", b"c"]
FLAT = {"times": [0.1, 0.5, 0.75, 1.25, 2.0, 3.5], "unit": np.array([2, 0, 1, 0, 0, 2], np.uint16)}


def assert_holds(found: SpikeTrains, trains: Sequence[Sequence[float]], ids: Sequence[str]) -> None:
    assert found.unit_ids == tuple(ids)
    assert [found[unit].tolist() for unit in ids] == [list(train) for train in trains]
    assert found.format == "hdf5"


@pytest.mark.parametrize("group", ["spike_times", "spikes", "units", "deep/er/spiketrains"])
def test_a_dataset_per_unit(h5_file: Build, group: str) -> None:
    assert_holds(read(h5_file({f"{group}/a": A, f"{group}/b": B, f"{group}/c": C})), [A, B, C], "abc")


def test_a_group_per_unit(h5_file: Build) -> None:
    assert_holds(read(h5_file({"units/a/spike_times": A, "units/b/spike_times": B})), [A, B], "ab")


def test_units_are_counted_as_people_count(h5_file: Build) -> None:
    path = h5_file({f"spike_times/unit{k}": [k + 0.5] for k in range(12)})
    assert read(path).unit_ids == tuple(f"unit{k}" for k in range(12))


def test_an_order_that_was_kept_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ordered.h5"
    with h5py.File(path, "w", track_order=True) as file:
        group = file.create_group("spike_times", track_order=True)
        for name in ("z", "m", "a"):
            group[name] = A
    assert read(path).unit_ids == ("z", "m", "a")


@pytest.mark.parametrize("names", [{}, {"unit_names": NAMES}])
@pytest.mark.parametrize("unit", ["unit", "spike_clusters", "node_ids"])
def test_flat_times_and_units(h5_file: Build, names: dict[str, Any], unit: str) -> None:
    path = h5_file({"times": FLAT["times"], unit: FLAT["unit"], **names})
    assert_holds(read(path), [A, B, C], "abc" if names else "012")


def test_flat_in_any_order(h5_file: Build) -> None:
    order = [4, 0, 5, 2, 1, 3]
    path = h5_file({"times": np.array(FLAT["times"])[order], "unit": FLAT["unit"][order], "unit_names": NAMES})
    assert_holds(read(path), [A, B, C], "abc")


def test_flat_with_ids_that_are_no_rows(h5_file: Build) -> None:
    ids = np.array([17, 5, 900])
    assert_holds(read(h5_file({"times": FLAT["times"], "unit": ids[FLAT["unit"]]})), [B, A, C], ["5", "17", "900"])
    text = np.array([b"x", b"y", b"z"])[FLAT["unit"]]
    assert_holds(read(h5_file({"times": FLAT["times"], "unit": text})), [A, B, C], "xyz")
    floats = FLAT["unit"].astype(float)
    assert_holds(read(h5_file({"times": FLAT["times"], "unit": floats})), [A, B, C], "012")


def test_a_named_unit_without_spikes_is_still_a_unit(h5_file: Build) -> None:
    found = read(h5_file({**FLAT, "unit_names": [b"a", b"b", b"c", b"silent"]}))
    assert_holds(found, [A, B, C, []], ["a", "b", "c", "silent"])


@pytest.mark.parametrize("leading_zero", [False, True])
def test_ragged_with_an_index(h5_file: Build, leading_zero: bool) -> None:
    index = [0, 3, 4, 6] if leading_zero else [3, 4, 6]
    path = h5_file({"spike_times": A + B + C, "spike_times_index": index, "unit_names": NAMES})
    assert_holds(read(path), [A, B, C], "abc")


def test_ragged_with_a_broken_index(h5_file: Build) -> None:
    with pytest.raises(RecordingError, match="must never fall"):
        read(h5_file({"spike_times": A + B + C, "spike_times_index": [4, 3, 6]}))
    with pytest.raises(RecordingError, match="does not divide 6 spikes"):
        read(h5_file({"times": A + B + C, "index": [3, 4, 9]}))


# -- counts --------------------------------------------------------------------------------------------------------

COUNTS = np.array([[1, 0], [0, 3], [2, 0], [0, 0]])


@pytest.mark.parametrize("attribute", [{"bin_width_s": 0.02}, {"bin_width": 0.02}, {"bin_size_ms": 20}, {"dt": 0.02}])
def test_a_counts_matrix_gives_back_its_counts(h5_file: Build, attribute: dict[str, float]) -> None:
    found = read(h5_file({"counts": COUNTS, "unit_names": [b"a", b"b"]}, **attribute))
    assert found.bin(0.02).counts.tolist() == COUNTS.tolist()
    assert found.intervals_s.tolist() == [[0, 0.08]]
    assert "counts in bins of 20ms: use --bin 20ms or a multiple" in found.warnings[0]


def test_a_counts_matrix_lying_on_its_side(h5_file: Build) -> None:
    found = read(h5_file({"counts": COUNTS.T, "unit_names": [b"a", b"b"], "bin_width_s": 0.02}))
    assert found.bin(0.02).counts.tolist() == COUNTS.tolist()


def test_counts_of_trials_stay_apart(h5_file: Build) -> None:
    found = read(h5_file({"counts": np.stack([COUNTS, COUNTS[::-1]])}, bin_width_s=0.5, t_start=10.0))
    assert found.intervals_s.tolist() == [[10, 12], [12, 14]]
    assert found.epochs["trials"].tolist() == [[10, 12], [12, 14]]
    binned = found.bin(0.5)
    assert binned.counts.tolist() == [*COUNTS.tolist(), *COUNTS[::-1].tolist()]
    assert binned.segment_offsets.tolist() == [0, 4, 8]


def test_sparse_counts(h5_file: Build) -> None:
    rows, units = np.nonzero(COUNTS)
    path = h5_file({"bin": rows, "unit": units, "count": COUNTS[rows, units], "bin_width_s": 0.02})
    assert read(path).bin(0.02).counts.tolist() == COUNTS[:3].tolist()  # the last bin is empty, and nothing tells of it


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (COUNTS + 0.5, "holds fractions or numbers below zero"),
        (COUNTS - 1, "holds fractions or numbers below zero"),
        (COUNTS * np.nan, "holds fractions or numbers below zero"),
    ],
)
def test_counts_that_are_none(h5_file: Build, counts: np.ndarray, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        read(h5_file({"counts": counts}, bin_width_s=0.02))


def test_counts_without_a_bin_width(h5_file: Build) -> None:
    with pytest.raises(RecordingError, match="no bin width") as caught:
        read(h5_file({"counts": COUNTS}))
    assert "bin_width_s" in str(caught.value.hint)
    with pytest.raises(RecordingError, match=r"a bin width of 0\.0"):
        read(h5_file({"counts": COUNTS}, bin_width_s=0.0))


# -- MATLAB 7.3 ----------------------------------------------------------------------------------------------------


def matlab_file(path: Path, trains: Sequence[Sequence[float]], place: str) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        cells = np.empty((1, len(trains)), dtype=h5py.ref_dtype)
        for k, train in enumerate(trains):
            cell = refs.create_dataset(
                chr(97 + k), data=np.reshape(train, (1, -1)) if train else np.array([0, 0], np.uint64)
            )
            cell.attrs["MATLAB_class"] = np.bytes_(b"double")
            if not train:
                cell.attrs["MATLAB_empty"] = np.uint8(1)
            cells[0, k] = cell.ref
        file.create_dataset(place, data=cells, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_(b"cell")
        if place.startswith("spikes/"):
            file["spikes/UID"] = np.arange(10.0, 10 + len(trains))[:, None]
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize(("place", "ids"), [("spike_times", ["1", "2", "3"]), ("spikes/times", ["10", "11", "12"])])
def test_a_cell_array(tmp_path: Path, place: str, ids: list[str]) -> None:
    matlab_file(tmp_path / "session.mat", [A, [], C], place)
    assert_holds(read(tmp_path / "session.mat"), [A, [], C], ids)


# -- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["ms", "milliseconds", "msec"])
def test_the_file_says_what_unit_it_is_in(h5_file: Build, unit: str) -> None:
    data = {"times": 1000 * np.array(FLAT["times"]), "unit": FLAT["unit"]}
    found = read(h5_file(data, time_unit=unit, t_start=0.0, t_stop=4000.0))
    assert_holds(found, [A, B, C], "012")
    assert found.intervals_s.tolist() == [[0, 4]]


def test_the_unit_may_stand_at_the_dataset(h5_file: Build) -> None:
    path = h5_file({"spikes/net/timestamps": 1000 * np.array(FLAT["times"]), "spikes/net/node_ids": FLAT["unit"]})
    with h5py.File(path, "a") as file:
        file["spikes/net/timestamps"].attrs["units"] = "milliseconds"
    assert_holds(read(path), [A, B, C], "012")


def test_one_end_alone_and_neither(h5_file: Build) -> None:
    assert read(h5_file(FLAT, t_stop=9.0)).intervals_s.tolist() == [[0.1, 9.0]]
    assert read(h5_file(FLAT, t_start=0.0)).t_stop_s == np.nextafter(3.5, 9)
    assert "taken from the spikes" in read(h5_file(FLAT)).warnings[0]


def test_intervals_and_epochs(h5_file: Build) -> None:
    found = read(
        h5_file({**FLAT, "intervals": [[0.0, 1.0], [1.2, 4.0]], "epochs/run": [[0.0, 1.0]], "epochs/rest": [2.0, 4.0]})
    )
    assert found.intervals_s.tolist() == [[0, 1], [1.2, 4]]
    assert {key: rows.tolist() for key, rows in found.epochs.items()} == {"run": [[0, 1]], "rest": [[2, 4]]}


# -- pointing ------------------------------------------------------------------------------------------------------


def test_two_places_need_a_choice(h5_file: Build) -> None:
    path = h5_file({"left/times": A, "left/unit": [0, 1, 0], "right/times": C, "right/unit": [0, 0]})
    with pytest.raises(RecordingError, match=r"in 2 places \(/left/times, /right/times\)"):
        read(path)
    assert_holds(read(path, units_table="right"), [C], "0")


def test_a_mapping_points_anywhere(h5_file: Build) -> None:
    data = {
        "x/when": FLAT["times"],
        "y/who": FLAT["unit"],
        "z": NAMES,
        "ends": [3, 4, 6],
        "long": A + B + C,
        "seen": [[0, 5]],
    }
    path = h5_file(data)
    assert_holds(read(path, mapping={"times": "x/when", "units": "/y/who", "unit_names": "z"}), [A, B, C], "abc")
    found = read(path, mapping={"times": "/long", "index": "ends", "intervals": "seen", "time_unit": "min"})
    assert found["0"].tolist() == [60 * t for t in A]
    assert found.intervals_s.tolist() == [[0, 300]]
    matrix = h5_file({"m": COUNTS}, name="m.h5")
    assert read(matrix, mapping={"counts": "m", "bin_width": "20ms"}).bin(0.02).counts.tolist() == COUNTS.tolist()


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"time": "x"}, "the key 'time' is not known"),
        ({"times": "/nowhere"}, "has no dataset '/nowhere'"),
        ({"units": "/unit"}, "the key `times` is missing"),
        ({"times": "/times"}, "needs `units`"),
        ({"counts": "/unit", "bin_width": "soon"}, "expected a time such as 5ms"),
    ],
)
def test_a_mapping_that_misses(h5_file: Build, mapping: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(h5_file(FLAT), mapping=mapping)


# -- any recording ---------------------------------------------------------------------------------------------------

unit_names = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(
        lambda name: name.strip(". ") and not name.startswith("#")
    ),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=unit_names, data=st.data())
def test_both_layouts_give_back_any_trains(h5_file: Build, names: list[str], data: st.DataObject) -> None:
    times = st.floats(-1e6, 1e6, allow_nan=False)
    trains = {name: sorted(data.draw(st.lists(times, max_size=8))) for name in names}
    if not any(trains.values()):
        return
    stop = max(max(train) for train in trains.values() if train) + 1
    root = {"t_start": -1e6, "t_stop": stop, "time_unit": "s"}
    per_unit = read(
        h5_file({f"spike_times/{name}": np.array(train) for name, train in trains.items()}, **root), time_unit="s"
    )
    flat = np.array([t for train in trains.values() for t in train])
    rows = np.repeat(np.arange(len(names)), [len(train) for train in trains.values()])
    order = np.argsort(flat, kind="stable")
    stored = {"times": flat[order], "unit": rows[order], "unit_names": [name.encode() for name in names]}
    in_one = read(h5_file(stored, **root), time_unit="s")
    assert in_one.unit_ids == tuple(names)
    assert sorted(per_unit.unit_ids) == sorted(names)
    for name, train in trains.items():
        assert per_unit[name].tobytes() == np.array(train, dtype=float).tobytes()
        assert in_one[name].tobytes() == np.array(train, dtype=float).tobytes()
