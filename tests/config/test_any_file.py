"""Whatever stands in a config file, the answer is a config or a list of faults, never a traceback."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spikefit.config import Config, all_keys, resolve_with_faults

KEYS = st.sampled_from([*all_keys(), *Config.model_fields, "extends", "binn", "<<", ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5ms", "0:600", "auto", "1e-3"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=3),
    max_leaves=8,
)
SIGNS = st.text(alphabet="abin: \n\t-[]{}&*!|>'\"%@`#?,~<=0159.e\x00\x85\ufeff", max_size=60)


def assert_answered(path):
    resolved, faults = resolve_with_faults(path, {})
    assert (resolved is None) == bool(faults)
    for fault in faults:
        assert str(fault).strip()
        assert fault.where


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "any.yaml"


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_document_is_answered(path, document):
    import yaml

    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert_answered(path)


@given(SIGNS)
@settings(max_examples=200, deadline=None)
def test_any_text_is_answered(path, text):
    path.write_text(text, encoding="utf-8")
    assert_answered(path)


@given(st.binary(max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_answered(path, content):
    path.write_bytes(content)
    assert_answered(path)


@example(name="figures", value=True)
@given(st.sampled_from(sorted(all_keys())), VALUES)
@settings(max_examples=150, deadline=None)
def test_any_value_from_python_is_answered(name, value):
    resolved, faults = resolve_with_faults(None, {}, {name: value})
    assert (resolved is None) == bool(faults)


@given(
    st.sampled_from(sorted(all_keys())), st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
)
@settings(max_examples=100, deadline=None)
def test_any_variable_is_answered(name, text):
    resolved, faults = resolve_with_faults(None, {all_keys()[name].environment: text})
    assert (resolved is None) == bool(faults)
