"""Choosing units by ids, patterns and conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefit.errors import UsageError
from spikefit.expressions import select_units
from spikefit.spikes import SpikeTrains

TRAINS = SpikeTrains.from_trains(
    {"g1c02": np.linspace(0, 9, 50), "g1c03": [1.0], "g2c02": np.linspace(0, 9, 20), "mua 4": [], "7": [2.0, 3.0]},
    intervals_s=[[0, 10]],
    unit_columns={
        "quality": np.array(["good", "mua", "good", "noise", "o'k"], dtype=object),
        "snr": np.array([3.0, 1.5, np.nan, 0.5, 2.0]),
        "depth um": np.array([100, 200, 300, 400, 500]),
        "is_fast": np.array([True, False, True, False, False]),
        "cluster": np.array(["12", "13", "14", "15", "16"], dtype=object),
    },
)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("g1c02", [0]),
        (" g1c02 , 7 ", [0, 4]),
        ("mua 4", [3]),
        ("g1*", [0, 1]),
        ("g?c02", [0, 2]),
        ("g[2-9]*,7", [2, 4]),
        ("7", [4]),
        ("quality == 'good'", [0, 2]),
        ('quality = "good"', [0, 2]),
        ("quality != 'good'", [1, 3, 4]),
        ("quality == 'o\\'k'", [4]),
        ("rate_hz > 0.5", [0, 2]),
        ("firing_rate > 0.5", [0, 2]),
        ("n_spikes >= 2 and quality == 'good'", [0, 2]),
        ("snr < 2", [1, 3]),  # NaN is neither smaller nor larger
        ("not snr < 2", [0, 2, 4]),
        ("snr != snr", [2]),
        ("is_fast", [0, 2]),
        ("not is_fast", [1, 3, 4]),
        ("is_fast == true", [0, 2]),
        ("`depth um` > 250", [2, 3, 4]),
        ("150 < `depth um` <= 300", [1, 2]),
        ("quality in ('good', 'mua')", [0, 1, 2]),
        ("quality not in ['good', 'mua']", [3, 4]),
        ("row in (0, 3)", [0, 3]),
        ("id like 'g*'", [0, 1, 2]),
        ("id not like 'g*'", [3, 4]),
        ("cluster > 13 and cluster != 15", [2, 4]),  # numbers written as text
        ("cluster == 12", [0]),
        ("snr * 2 + 1 >= 5", [0, 4]),
        ("-snr < -1.9", [0, 4]),
        ("1 - -snr > 3.5", [0]),
        ("n_spikes / 2 == 1", [4]),
        ("is_fast or quality == 'mua' and snr > 2", [0, 2]),  # `and` binds tighter
        ("(is_fast or quality == 'mua') and n_spikes > 1", [0, 2]),
        ("not is_fast and not quality == 'mua'", [3, 4]),
        ("IS_FAST or true", None),
        ("n_spikes >= 0", [0, 1, 2, 3, 4]),
        ("quality == 'nobody'", []),
        ("row == 2e0", [2]),
    ],
)
def test_what_is_chosen(expression: str, rows: list[int] | None) -> None:
    if rows is None:  # names are told apart by case, words are not
        with pytest.raises(UsageError, match="no unit column 'IS_FAST'"):
            select_units(expression, TRAINS)
        return
    chosen = select_units(expression, TRAINS)
    assert chosen.dtype == bool
    assert np.flatnonzero(chosen).tolist() == rows


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("g1c2", "did you mean 'g1c02'"),
        ("g1c02,g9*", "no units match 'g9*'"),
        ("qualty == 'good'", "there is no unit column 'qualty'. (did you mean 'quality'?)"),
        ("id == g1c02", "write id == 'g1c02'"),
        ("quality == 'good", 'this cannot be read ("\'")'),
        ("quality == ", "a name or a value was expected here (the end)"),
        ("(quality == 'good'", "a closing bracket is missing"),
        ("quality == 'good')", "this was not expected here (')')"),
        ("quality > 3", "the text 'good' is compared with a number"),
        ("quality and is_fast", "expected a condition that is true or false"),
        ("snr + 1 == 2 and snr", "expected a condition that is true or false"),
        ("id like quality", "a pattern in quotes was expected here"),
        ("row in 3", "a list such as ('a', 'b') was expected here"),
        ("row in (1 2)", "a comma or the end of the list was expected here"),
        ("is_fast is true", "this was not expected here ('is')"),
        ("__import__('os').system('touch x')", "this cannot be read ('.')"),
        ("(lambda: 1)()", "this cannot be read (':')"),
        ("(eval)", "there is no unit column 'eval'"),
        ("(" * 1000 + "is_fast" + ")" * 1000, "nested more than 50 deep"),
        ("-" * 1000 + "snr > 0", "nested more than 50 deep"),
        ("snr > 1 or " * 2000 + "true", "longer than 10000 characters"),
    ],
)
def test_what_is_refused(expression: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_units(expression, TRAINS)
    assert words in str(caught.value)
    assert caught.value.hint


def test_long_chains_are_no_deep_ones() -> None:
    assert select_units(" or ".join(["row == 1"] * 500), TRAINS).tolist() == [False, True, False, False, False]
    assert select_units("not " * 500 + "is_fast", TRAINS).tolist() == [True, False, True, False, False]


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(
            st.sampled_from(
                [
                    "snr",
                    "quality",
                    "id",
                    "row",
                    "(",
                    ")",
                    "[",
                    "]",
                    ",",
                    "==",
                    "<",
                    "in",
                    "like",
                    "not",
                    "and",
                    "or",
                    "'good'",
                    "'*'",
                    "1",
                    "-2.5",
                    "true",
                    "+",
                    "*",
                    "/",
                    "`",
                    '"',
                    "g1*",
                ]
            ),
            max_size=15,
        ).map(" ".join),
    )
)
def test_any_text_is_an_answer_or_a_message(expression: str) -> None:
    try:
        chosen = select_units(expression, TRAINS)
    except UsageError:
        return
    assert chosen.shape == (5,)
    assert chosen.dtype == bool
