import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefit.units_of_time import format_time, parse_time_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5ms", 0.005),
        ("0.1s", 0.1),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("250us", 0.00025),
        ("250 µs", 0.00025),
        ("40ns", 4e-8),
        ("3", 3.0),
        ("1e-3", 0.001),
        (" -2 s ", -2.0),
        (".5ms", 0.0005),
        (0.02, 0.02),
        (7, 7.0),
    ],
)
def test_times_are_read_to_the_last_bit(text, seconds):
    assert parse_time_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ms",
        "5 parsecs",
        "5m",
        "1h30min",
        "nan",
        "inf",
        "1e400s",
        "1e20",
        "5,0ms",
        True,
        None,
        [5],
        math.nan,
        math.inf,
    ],
)
def test_what_is_no_time_is_refused_with_what_was_expected(text):
    with pytest.raises(ValueError, match=r"expected a .*time|no unit of time"):
        parse_time_s(text)


def test_a_bare_m_is_told_apart():
    with pytest.raises(ValueError, match=r"minutes are min, milliseconds are ms"):
        parse_time_s("5m")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.005, "5ms"),
        (0.1, "100ms"),
        (120.0, "2min"),
        (3600.0, "1h"),
        (4397.0, "4397s"),
        (0.00025, "250us"),
        (0.0, "0s"),
        (-2.0, "-2s"),
    ],
)
def test_times_are_written_as_a_person_would(seconds, text):
    assert format_time(seconds) == text


@given(st.floats(min_value=-1e12, max_value=1e12, allow_nan=False))
def test_a_written_time_reads_back_as_the_very_same_number(seconds):
    assert parse_time_s(format_time(seconds)) == seconds


@given(st.integers(1, 9999), st.sampled_from(["h", "min", "s", "ms", "us", "ns"]))
def test_what_a_person_wrote_survives_two_readings(number, unit):
    first = parse_time_s(f"{number}{unit}")
    assert parse_time_s(format_time(first)) == first
