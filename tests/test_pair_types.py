"""Types of units: from columns and tables, what is refused and in which words, and which pairs of types get a null of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import spikefit
from spikefit.config import Config
from spikefit.errors import ConfigError, UsageError
from spikefit.fitted import pair_types
from spikefit.inspection import inspect_recording
from spikefit.pair_types import fault_of, group_sizes, null_of_each, types_in_column, types_of_units
from spikefit.spikes import SpikeTrains

IDS = tuple(f"n{k:02d}" for k in range(24))
COLUMNS = {
    "cell_type": np.array(["exc"] * 14 + ["inh"] * 10, dtype=object),
    "area": np.array(["CA1"] * 24, dtype=object),
    "layer": np.array(["2"] * 12 + ["3"] * 10 + ["", ""], dtype=object),
    "shank": np.repeat([0, 1, 2], 8),
    "depth": np.arange(24) * 20.0,
    "place": np.zeros((24, 3)),
}


@pytest.fixture
def trains() -> SpikeTrains:
    rng = np.random.default_rng(0)
    spikes = {unit: np.sort(rng.uniform(0, 60, 50)) for unit in IDS}
    return SpikeTrains.from_trains(spikes, intervals_s=[[0, 60]], unit_columns=COLUMNS, name="session")


def table(folder: Path, *lines: str, name: str = "types.csv") -> str:
    path = folder / name
    path.write_text("\n".join(["unit_id,type", *lines]) + "\n", encoding="utf-8")
    return str(path)


def given(source: str, trains: SpikeTrains, kept: tuple[str, ...] = IDS, **settings: object) -> tuple[str, ...] | None:
    return pair_types(Config().replace(pair_types=source, **settings), trains, kept)


def test_a_column_gives_the_types_of_the_units_that_are_kept(trains: SpikeTrains) -> None:
    assert given("none", trains) is None
    assert given("cell_type", trains) == ("exc",) * 14 + ("inh",) * 10
    kept = tuple(IDS[k] for k in (23, 0, *range(1, 13), *range(14, 23)))
    found = given("cell_type", trains, kept)
    assert found is not None
    assert found[:2] == ("inh", "exc")


@pytest.mark.parametrize(
    ("values", "types"),
    [
        (np.array([1, 2]), ("1", "2")),
        (np.array([1.0, np.nan, 0.5]), ("1", "", "0.5")),
        (np.array([True, False]), ("True", "False")),
        (np.array([" CA1  so", "", b"CA3"], dtype=object), ("CA1 so", "", "CA3")),
    ],
)
def test_values_of_a_column_as_types(values: np.ndarray, types: tuple[str, ...]) -> None:
    assert types_in_column(values) == types


def test_a_table_gives_types_by_id_and_pattern_and_later_lines_overrule(trains: SpikeTrains, tmp_path: Path) -> None:
    found = given(table(tmp_path, "n*,exc", "n1?, inh ", "n10,exc", "n10,exc"), trains)
    assert found == tuple("inh" if unit[:2] == "n1" and unit != "n10" else "exc" for unit in IDS)
    # Counts know ids alone, and a table needs no more.
    assert types_of_units(table(tmp_path, "n*,exc"), IDS, None) == ("exc",) * 24


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "cell_typ",
            r"no unit column 'cell_typ'; it has cell_type, area, layer, shank, depth\. \(did you mean 'cell_type'\?",
        ),
        ("place", "no unit column 'place'"),
        ("area", r"unit column 'area': all 24 units are of one type, 'CA1'\. \(leave --pair-types away"),
        ("layer", r"unit column 'layer': 2 of 24 units have no type \(n22, n23\)\. \(leave these units out"),
        ("depth", r"24 types, and no pair of types has the 90 pairs .* within types 0 in all, between types 552"),
        ("nowhere.csv", "there is no such table of unit types"),
    ],
)
def test_what_cannot_be_used_is_refused(trains: SpikeTrains, source: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        given(source, trains)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("n00,exc", "m7,inh"), r"types.csv, line 3, unit_id: the recording has no unit 'm7'"),
        (("m*,exc",), r"line 2, unit_id: no unit matches the pattern 'm\*'"),
        (("n00,exc", "n01,inh", "n00,inh"), "line 4: 'n00' is of type 'inh' here and of type 'exc' on line 2"),
        (("n0*,exc",), r"types.csv: 14 of 24 units have no type \(n10, n11, .*, …\)"),
        (("n00,exc,1",), "line 2: expected unit_id,type"),
    ],
)
def test_what_a_table_cannot_say(trains: SpikeTrains, tmp_path: Path, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        given(table(tmp_path, *lines), trains)


def test_a_table_may_name_units_that_were_left_out_and_must_be_called_csv(trains: SpikeTrains, tmp_path: Path) -> None:
    without = trains.select([unit for unit in IDS if unit != "n00"])
    source = table(tmp_path, "n0*,exc", "n1*,inh", "n2*,inh", "n00,exc")
    with pytest.raises(UsageError, match="no unit 'n00'"):
        given(source, without, without.unit_ids)
    assert given(source, without, without.unit_ids, drop_unit=("n00",)) is not None
    with pytest.raises(UsageError, match=r"must have a name that ends in \.csv"):
        given(table(tmp_path, "n*,exc", name="types.txt"), trains)


def test_counts_have_no_columns(trains: SpikeTrains) -> None:
    counts = trains.bin(0.05)
    with pytest.raises(UsageError, match="counts alone do not hold unit columns"):
        spikefit.POGLM(pair_types="cell_type", bin="50ms").fit(counts)
    bare = SpikeTrains.from_trains({"a": [1.0], "b": [2.0]}, intervals_s=[[0, 3]])
    with pytest.raises(UsageError, match="it has none at all"):
        given("cell_type", bare, ("a", "b"))


@pytest.mark.parametrize("significance", ["jitter", "shift", "trials", "none"])
def test_other_tests_have_no_use_for_types(significance: str) -> None:
    with pytest.raises(ConfigError, match=f"for the test null, and significance is {significance}"):
        Config().replace(pair_types="cell_type", significance=significance)


def test_pairs_of_types_are_counted_without_pairs_of_a_unit_with_itself() -> None:
    assert group_sizes(("b", "a", "b", "b")) == {("a", "a"): 0, ("a", "b"): 3, ("b", "a"): 3, ("b", "b"): 6}


@pytest.mark.parametrize(
    ("sizes", "nulls"),
    [
        ({"aa": 90, "ab": 100, "ba": 100, "bb": 89}, {"aa": "own", "ab": "own", "ba": "own", "bb": "all"}),
        ({"aa": 56, "ab": 64, "ba": 64, "bb": 56}, {"aa": "within", "ab": "between", "ba": "between", "bb": "within"}),
        ({"aa": 380, "ab": 80, "ba": 80, "bb": 12}, {"aa": "own", "ab": "between", "ba": "between", "bb": "all"}),
        ({"aa": 380, "ab": 40, "ba": 40, "bb": 12}, {"aa": "own", "ab": "rest", "ba": "rest", "bb": "rest"}),
        ({"aa": 380, "ab": 20, "ba": 20, "bb": 0}, {"aa": "own", "ab": "all", "ba": "all", "bb": "all"}),
    ],
)
def test_small_groups_share_a_null(sizes: dict[str, int], nulls: dict[str, str]) -> None:
    sized = {(pair[0], pair[1]): size for pair, size in sizes.items()}
    if sizes["ab"] == 40:
        sized["a", "b"] = 45  # 97 in all: enough together, neither alone
    found = null_of_each(sized, 90)
    assert {pre + post: null for (pre, post), null in found.items()} == nulls


def test_types_are_of_use_where_one_null_would_differ_from_another() -> None:
    shanks = tuple(str(k // 8) for k in range(24))  # 56 and 64 pairs each, 168 within and 384 between
    assert fault_of(shanks, IDS, least=90) is None
    pairs_of_two = tuple(
        str(k // 2) for k in range(24)
    )  # 24 within: the others would be held against about the same null
    fault = fault_of(pairs_of_two, IDS, least=90)
    assert fault is not None
    assert "within types 24 in all" in fault[0]


def test_inspect_says_which_columns_can_be_used(trains: SpikeTrains) -> None:
    found = {row["name"]: row for row in inspect_recording(trains)["unit_columns"]}
    assert list(found) == ["cell_type", "area", "layer", "shank", "depth"]
    assert found["cell_type"] == {
        "name": "cell_type",
        "types": {"exc": 14, "inh": 10},
        "for_pair_types": True,
        "reason": "",
    }
    assert found["area"]["reason"] == "all 24 units are of one type, 'CA1'"
    assert found["layer"]["reason"] == "2 of 24 units have no type (n22, n23)"
    assert found["depth"]["types"] == {}
    assert not found["depth"]["for_pair_types"]
    assert found["shank"]["for_pair_types"]
    # Units that would not be used count for nothing.
    alone = {row["name"]: row for row in inspect_recording(trains, units="layer != ''")["unit_columns"]}
    assert alone["layer"]["for_pair_types"]
    assert alone["layer"]["types"] == {"2": 12, "3": 10}
