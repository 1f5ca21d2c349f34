"""Tables of pairs that are known beforehand: what they say, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefit.errors import UsageError
from spikefit.pair_rules import check_pair_rules, pair_tables, read_pair_rules

IDS = ("ca1-1", "ca1-2", "ca3-1")


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_row_receives_and_column_sends_whatever_the_order_of_the_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "rule,post_id,pre_id\nforbidden,ca3-1,ca1-1\n\nRequired, ca1-2 ,ca3-1\n")
    forbidden, required = pair_tables(read_pair_rules(path), IDS)
    assert np.argwhere(forbidden).tolist() == [[2, 0]]
    assert np.argwhere(required).tolist() == [[1, 2]]


def test_patterns_leave_own_history_alone_and_later_lines_overrule(tmp_path: Path) -> None:
    text = "pre_id,post_id,rule\n*,*,forbidden\nca1-*,ca3-1,required\nca1-2,ca1-2,forbidden\n"
    forbidden, required = pair_tables(read_pair_rules(table(tmp_path, text)), IDS)
    np.testing.assert_array_equal(forbidden, [[0, 1, 1], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(required, [[0, 0, 0], [0, 0, 0], [1, 1, 0]])


def test_an_id_that_looks_like_a_pattern_is_meant_as_it_stands(tmp_path: Path) -> None:
    path = table(tmp_path, "pre_id,post_id,rule\nu[1],u[1],forbidden\n")
    forbidden, _ = pair_tables(read_pair_rules(path), ("u[1]", "u1"))
    assert np.argwhere(forbidden).tolist() == [[0, 0]]


def test_rules_of_units_that_are_not_fitted_say_nothing(tmp_path: Path) -> None:
    rules = read_pair_rules(table(tmp_path, "pre_id,post_id,rule\nca1-1,ca3-1,forbidden\n"))
    assert not pair_tables(rules, IDS[:2])[0].any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line must be pre_id,post_id,rule, found nothing"),
        ("from,to,rule\na,b,forbidden\n", "found from,to,rule"),
        ("pre_id,post_id,rule\nca1-1,ca1-2\n", "line 2: expected pre_id,post_id,rule"),
        ("pre_id,post_id,rule\nca1-1,ca1-2,forbiden\n", "line 2.*'forbiden'.*did you mean 'forbidden'"),
        ("pre_id,post_id,rule\nca1-1,,forbidden\n", "line 2: expected"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_pair_rules(table(tmp_path, text))


def test_no_table_and_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such table"):
        read_pair_rules(tmp_path / "absent.csv")
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00pre_id")
    with pytest.raises(UsageError, match="cannot be read"):
        read_pair_rules(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "ca1-3,ca1-1,forbidden",
            r"pairs.csv, line 2, pre_id: the recording has no unit 'ca1-3'.*did you mean 'ca1-\d'",
        ),
        ("ca1-1,dg-*,forbidden", r"line 2, post_id: no unit matches the pattern 'dg-\*'"),
    ],
)
def test_unknown_units_are_named_with_the_nearest(tmp_path: Path, line: str, words: str) -> None:
    rules = read_pair_rules(table(tmp_path, f"pre_id,post_id,rule\n{line}\n"))
    with pytest.raises(UsageError, match=words):
        check_pair_rules(rules, IDS, "pairs.csv")
    check_pair_rules(rules[:0], IDS, "pairs.csv")


def test_all_lines_that_name_no_unit_are_told(tmp_path: Path) -> None:
    text = "pre_id,post_id,rule\nca1-3,ca1-1,forbidden\nca1-1,ca1-2,forbidden\ndg-1,dg-2,required\nca1-1,x,forbidden\n"
    rules = read_pair_rules(table(tmp_path, text))
    with pytest.raises(UsageError, match=r"line 2, pre_id: .*'ca1-3'\. Lines 4, 5 name no unit either\."):
        check_pair_rules(rules, IDS, "pairs.csv")
    with pytest.raises(UsageError, match=r"'ca1-3'\. Line 4 names no unit either\."):
        check_pair_rules(rules[:3], IDS, "pairs.csv")
    with pytest.raises(UsageError) as told:
        check_pair_rules(rules[:2], IDS, "pairs.csv")
    assert "either" not in told.value.message
