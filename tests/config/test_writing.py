import re
from pathlib import Path

import pytest

from spikefit.config import Config, all_keys, commented_yaml, config_schema, reference_page, resolve_config
from spikefit.config.writing import yaml_value
from spikefit.errors import ConfigError


def uncommented(text):
    return re.sub(r"^  #(\w+: )", r"  \1", text, flags=re.MULTILINE)


def test_the_file_to_start_from_changes_nothing_as_it_is(tmp_path):
    path = tmp_path / "spikefit.yaml"
    path.write_text(commented_yaml(), encoding="utf-8")
    assert set(resolve_config(path, environ={}).origin.values()) == {"default"}


def test_every_line_of_it_can_be_used(tmp_path):
    path = tmp_path / "spikefit.yaml"
    path.write_text(uncommented(commented_yaml()), encoding="utf-8")
    resolved = resolve_config(path, environ={})
    assert resolved.config == Config()
    assert not [name for name, origin in resolved.origin.items() if origin == "default"]


def test_it_holds_the_help_and_choices_of_every_key():
    text = " ".join(line.strip("# ") for line in commented_yaml().splitlines())
    for key in all_keys().values():
        assert key.help in text, key.name
    assert "(softplus, exp, sigmoid)" in text


def test_the_written_config_names_origins():
    resolved = resolve_config(environ={}, flags={"bin": "10ms"})
    assert "  bin: 10ms  # flag --bin\n" in resolved.config.to_yaml(resolved.origin)
    assert "#" not in resolved.config.to_yaml()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("cpu", "cpu"),
        ("5ms", "5ms"),
        ("no", '"no"'),
        ("010", '"010"'),
        ("1e5", '"1e5"'),
        ("0:600", '"0:600"'),
        ("a b", '"a b"'),
        ("", '""'),
        ('say "so"\n', '"say \\"so\\"\\x0a"'),
        ("\u2028", '"\\u2028"'),
        (None, "null"),
        (True, "true"),
        (0.001, "0.001"),
        ([1, "x"], "[1, x]"),
        ({"times": "/t"}, '{times: "/t"}'),
    ],
)
def test_values_are_quoted_where_some_reader_needs_it(value, text):
    assert yaml_value(value) == text


def test_the_schema_takes_what_we_take_and_refuses_what_we_refuse(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(config_schema())
    good = [
        {},
        {"bin": "5ms"},
        {"model": {"bin": 0.005, "hidden": [0, 2]}},
        {"model": None},
        {"extends": "a.yaml"},
        Config().to_dict(),
    ]
    bad = [
        {"binn": 1},
        {"model": {"ridge": 1}},
        {"model": {"link": "softpus"}},
        {"draws": 0},
        {"bin": "fast"},
        {"hidden": -1},
    ]
    for document in good:
        assert validator.is_valid(document), document
    for document in bad:
        assert not validator.is_valid(document), document
        path = tmp_path / "bad.yaml"
        import yaml

        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        with pytest.raises(ConfigError):
            resolve_config(path, environ={})


def test_the_page_in_the_docs_is_the_one_made_from_the_code():
    # Made again by `spikefit config schema --markdown > docs/settings.md`.
    page = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference_page()


def test_the_reference_has_a_row_for_every_key():
    page = reference_page()
    for key in all_keys().values():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{key.name}` |")]
        assert row.count("|") == 5
        assert key.help in row
        assert not key.default_text or f"`{key.default_text}`" in row
