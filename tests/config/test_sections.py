import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spikefit.config import ChecksConfig, Config, all_keys, keys_of, resolve_config
from spikefit.errors import ConfigError

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
TIMES = st.floats(1e-6, 1e5, allow_nan=False)
INTERVALS = (
    st.tuples(st.floats(-100, 100), st.floats(101, 1e6))
    | st.tuples(st.none(), st.floats(-10, 10))
    | st.tuples(st.floats(-10, 10), st.none())
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "format": st.none() | TEXTS,
        "units": st.none() | TEXTS,
        "time_unit": st.sampled_from([None, "ms", "30kHz", "samples@20000"]),
        "t_start": st.none() | st.floats(-1e4, 0),
        "t_stop": st.none() | st.floats(1, 1e6),
        "clip": st.booleans(),
        "drop_unit": st.lists(
            TEXTS | st.sampled_from(["010", "1e5", "no", "null", "~", "12:30", "0x1f", "2020-01-01"]), max_size=4
        ),
        "epochs": st.lists(TEXTS, max_size=3),
        "interval": st.lists(INTERVALS, max_size=3),
        "mapping": st.dictionaries(TEXTS, TEXTS, max_size=3),
        "bin": TIMES.map(lambda t: t / 1e3),
        "window": st.floats(1e5, 1e6).map(lambda t: t / 1e3),
        "hidden": st.integers(0, 20) | st.lists(st.integers(0, 20), min_size=2, max_size=4, unique=True),
        "ridge": st.floats(0, 1e6),
        "temperature": st.floats(1e-6, 1),
        "heldout": st.floats(1e-6, 0.8),
        "learning_rate": st.floats(1e-8, 1),
        "seed": st.integers(0, 2**63 - 1),
        "device": st.sampled_from(["auto", "cpu", "cuda", "cuda:3", "mps"]),
        "threads": st.none() | st.integers(1, 64),
        "max_read_bytes": st.integers(1, 10**15),
    },
)


def changed(values):
    kept = dict(values)
    # The longest filters are refused; that has its own test.
    if kept.get("window", 0.1) / kept.get("bin", 0.005) > 90_000:
        kept["bin"] = kept.get("window", 0.1) / 10
    if kept.get("window", 0.1) < kept.get("bin", 0.005):
        kept["window"] = kept["bin"]
    return Config().replace(**kept)


@given(VALUES)
@settings(max_examples=25, deadline=None)
def test_a_config_survives_its_dict_and_json(values):
    config = changed(values)
    assert Config(**json.loads(json.dumps(config.to_dict()))) == config


@given(VALUES)
@settings(max_examples=25, deadline=None)
def test_a_config_survives_its_file(tmp_path_factory, values):
    config = changed(values)
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    file.write_text(config.to_yaml(dict.fromkeys(all_keys(), "flag --it\nwas")), encoding="utf-8")
    assert resolve_config(file, environ={}).config == config


@given(VALUES)
@settings(max_examples=25, deadline=None)
def test_any_yaml_writer_may_have_written_the_file(tmp_path_factory, values):
    yaml = pytest.importorskip("yaml")
    config = changed(values)
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    odd = set("\x85\u2028\u2029\ufeff")
    text = yaml.safe_dump(
        config.to_dict(), allow_unicode=not odd & set(json.dumps(config.to_dict(), ensure_ascii=False))
    )
    file.write_text(text, encoding="utf-8")
    assert resolve_config(file, environ={}).config == config


def test_two_configs_that_differ_do_not_compare_equal():
    assert Config() != Config().replace(bin="6ms")


def test_replace_changes_what_it_is_told_and_nothing_else():
    config = Config().replace(bin="10ms", hidden="0,2,4", interval="0:600")
    assert (config.model.bin, config.model.hidden, config.recording.interval) == (0.01, (0, 2, 4), ((0.0, 600.0),))
    assert config.replace(bin=0.005, hidden=0, interval=[]) == Config()


def test_replace_lists_every_fault():
    with pytest.raises(ConfigError) as caught:
        Config().replace(binn="10ms", draws=0)
    assert "did you mean 'bin'" in caught.value.message
    assert "draws=: draws: must be at least 1, got 0" in caught.value.message


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Config().model.bin = 1.0


def test_each_key_is_used_once_and_has_help():
    assert len(all_keys()) == len(Config().flat())
    for key in all_keys().values():
        assert key.help[0].isupper(), key.name
        assert key.help[-1] == ".", key.name
        assert key.is_switch or key.metavar, key.name


def test_the_checks_stand_alone():
    # Loaders take this section without the rest.
    assert ChecksConfig() == Config().checks
    assert all(not key.is_flag for key in keys_of(["checks"]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"bin": "20ms", "window": "10ms"},
            "the window (10ms) is shorter than one bin (20ms); it must hold at least one bin",
        ),
        ({"bin": "1us", "window": "1h"}, "at most 100,000 can be fitted"),
        ({"t_start": 10, "t_stop": 5}, "the recording would end (5s) before it starts (10s)"),
        ({"min_median_rate_hz": 600}, "no rate lies above 600 Hz"),
    ],
)
def test_contradictions_are_refused(values, words):
    with pytest.raises(ConfigError) as caught:
        Config().replace(**values)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bin", "0ms", "must be longer than 0 s"),
        ("bin", "-5ms", "must be longer than 0 s"),
        ("hidden", -1, "must lie between 0 and 1000, got -1"),
        ("hidden", "0,2,2", "each number of hidden units is wanted once"),
        ("hidden", "autos", "expected a whole number of hidden units, several as 0,2,4, or auto"),
        ("hidden", 2.5, "must lie between 0 and 1000"),
        ("hidden", [], "got an empty list"),
        ("temperature", 0, "must be above 0, got 0"),
        ("temperature", 1.5, "must be at most 1, got 1.5"),
        ("heldout", 0.9, "must be below 0.9, got 0.9"),
        ("heldout", 0, "must be above 0, got 0"),
        ("draws", "two", "expected a whole number, got 'two'"),
        ("ridge", "nan", "expected a penalty of at least 0, or auto; got 'nan'"),
        ("clip", "perhaps", "expected true or false, got 'perhaps'"),
        ("link", "softpus", "'softpus' is none of softplus, exp, sigmoid; did you mean softplus?"),
        ("device", "gpu", "expected auto, cpu, cuda, cuda:0 (or another number) or mps, got 'gpu'"),
        ("time_unit", "parsec", "expected s, ms, us, ns, min, or the sampling rate"),
        ("time_unit", "0Hz", "must lie above 0"),
        ("interval", "600:0", "an interval must run forward, got 10min to 0s"),
        ("interval", "600", "expected START:STOP in seconds"),
        ("interval", ":", "needs a start or a stop"),
        ("mapping", "times", "expected ROLE=PATH pairs"),
        ("t_start", "noon", "expected a time such as 5ms"),
    ],
)
def test_a_wrong_value_is_told_in_words(name, value, words):
    with pytest.raises(ConfigError) as caught:
        Config().replace(**{name: value})
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("hidden", "3", 3),
        ("hidden", "Auto", "auto"),
        ("hidden", [4], 4),
        ("interval", [0, 600], ((0.0, 600.0),)),
        ("interval", [":30", "10min:"], ((None, 30.0), (600.0, None))),
        ("interval", "-2:10", ((-2.0, 10.0),)),
        ("time_unit", "samples@30000", "30000Hz"),
        ("time_unit", "MS", "ms"),
        ("mapping", "times=/a, units=/b", {"times": "/a", "units": "/b"}),
        ("drop_unit", 3, ("3",)),
        ("device", "CUDA:1", "cuda:1"),
    ],
)
def test_a_value_may_be_written_in_several_ways(name, value, read):
    assert Config().replace(**{name: value}).flat()[name] == read
