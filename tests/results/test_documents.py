"""JSON without NaN and without numpy, YAML that can be read back."""

from __future__ import annotations

import datetime
import json
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spikefit.results.documents import clean_text, plain, to_json, to_yaml


class Kind(Enum):
    EXACT = "exact"


def test_numpy_paths_dates_and_enums_become_plain():
    value = {
        "n": np.int64(3),
        "x": np.float32(0.5),
        "nan": np.nan,
        "inf": [np.inf, -np.inf],
        "flags": np.array([True, False]),
        "path": PurePosixPath("a/b"),
        "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "kind": Kind.EXACT,
        "pair": (1, None),
        "ids": {"b", "a"},
        3: "key",
    }
    assert plain(value) == {
        "n": 3,
        "x": 0.5,
        "nan": None,
        "inf": [None, None],
        "flags": [True, False],
        "path": "a/b",
        "when": "2026-01-02T00:00:00+00:00",
        "kind": "exact",
        "pair": [1, None],
        "ids": ["a", "b"],
        "3": "key",
    }
    json.loads(to_json(value), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_what_has_no_plain_form_is_named():
    with pytest.raises(TypeError, match="generator"):
        plain({"x": (k for k in range(3))})


def test_file_names_that_are_not_utf8_are_shown_as_escapes():
    assert clean_text("caf\udce9\x00") == "caf\\udce9"
    assert json.loads(to_json({"argv": ["\udce9"]})) == {"argv": ["\\udce9"]}


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain_values)
def test_json_and_yaml_give_back_what_they_were_given(value):
    expected = plain(value)
    assert json.loads(to_json(value)) == expected
    assert yaml.safe_load(to_yaml(value)) == expected
