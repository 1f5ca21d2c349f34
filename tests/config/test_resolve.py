import os
import subprocess
import sys

import pytest

from spikefit.config import all_keys, resolve_config, resolve_with_faults
from spikefit.errors import ConfigError, UsageError


@pytest.fixture
def file(tmp_path):
    def write(text, name="lab.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults_of(path, **rest):
    with pytest.raises(ConfigError) as caught:
        resolve_config(path, environ={}, **rest)
    assert caught.value.exit_code == 3
    return caught.value.message


# -- precedence and origin ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_file", "in_environment", "as_flag", "value", "origin"),
    [
        (False, False, False, 2, "default"),
        (True, False, False, 3, "lab.yaml line 3"),
        (True, True, False, 4, "environment SPIKEFIT_DRAWS"),
        (True, True, True, 5, "flag --draws"),
        (False, True, False, 4, "environment SPIKEFIT_DRAWS"),
        (True, False, True, 5, "flag --draws"),
    ],
)
def test_the_nearer_source_goes_first_and_is_named(file, in_file, in_environment, as_flag, value, origin):
    resolved = resolve_config(
        file("# ours\ngradient:\n  draws: 3\n") if in_file else None,
        environ={"SPIKEFIT_DRAWS": "4"} if in_environment else {},
        flags={"draws": 5} if as_flag else {"draws": None},
    )
    assert resolved.config.gradient.draws == value
    assert resolved.origin["draws"] == origin


def test_every_value_has_an_origin():
    resolved = resolve_config(environ={}, flags={"bin": "10ms"})
    assert resolved.origin.keys() == all_keys().keys()
    assert [name for name, origin in resolved.origin.items() if origin != "default"] == ["bin"]


def test_lists_come_from_the_environment_with_commas():
    config = resolve_config(
        environ={"SPIKEFIT_EPOCHS": "sleep, wake", "SPIKEFIT_HIDDEN": "0,2", "SPIKEFIT_CLIP": "1"}
    ).config
    assert config.recording.epochs == ("sleep", "wake")
    assert config.model.hidden == (0, 2)
    assert config.recording.clip is True


def test_an_empty_variable_is_not_set():
    assert resolve_config(environ={"SPIKEFIT_BIN": " "}).origin["bin"] == "default"


def test_the_environment_is_that_of_the_process_unless_given(monkeypatch):
    monkeypatch.setenv("SPIKEFIT_BIN", "7ms")
    assert resolve_config().config.model.bin == 0.007


def test_a_near_miss_in_the_environment_is_told_but_strangers_are_left_alone():
    notes = resolve_config(
        environ={"SPIKEFIT_DRAW": "3", "SPIKEFIT_RECORDINGS": "/data", "SPIKEFIT_CONFIG": "x.yaml"}
    ).notes
    assert notes == ("the environment variable SPIKEFIT_DRAW sets nothing; did you mean SPIKEFIT_DRAWS?",)


def test_flags_alone_at_fault_are_a_usage_error():
    with pytest.raises(UsageError) as caught:
        resolve_config(environ={}, flags={"bin": "banana", "draws": 0})
    assert caught.value.exit_code == 2
    assert "--bin: expected a time such as 5ms, 0.1s, 2min or 1h, got 'banana'" in caught.value.message
    assert "--draws: must be at least 1, got 0" in caught.value.message


def test_a_contradiction_names_where_both_sides_come_from(file):
    message = faults_of(file("window: 10ms\n"), flags={"bin": "20ms"})
    assert message.startswith("lab.yaml line 1 and flag --bin: the window (10ms) is shorter than one bin (20ms)")


def test_an_unknown_setting_from_python_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="there is no setting 'bins'; did you mean 'bin'"):
        resolve_config(environ={}, flags={"bins": "5ms"})


# -- files -------------------------------------------------------------------------------------------------------


def test_all_faults_are_listed_at_once_by_line(file):
    message = faults_of(
        file(
            "bin: fast\n"  # 1
            "fitt:\n"  # 2
            "  ridge: 1\n"
            "model:\n"
            "  hiden: 2\n"  # 5
            "  link: softpus\n"  # 6
            "fit:\n"
            "  heldout: 1.5\n"  # 8
            "  draws: 4\n"  # 9
            "  restarts: [1, 2]\n"  # 10
        )
    )
    lines = message.splitlines()
    assert lines[0] == "lab.yaml has 7 faults:"
    assert [line.split(":")[0] for line in lines[1:]] == [f"  - lab.yaml line {n}" for n in (1, 2, 5, 6, 8, 9, 10)]
    assert "did you mean 'fit'" in lines[2]
    assert "did you mean 'hidden'" in lines[3]
    assert "draws belongs in the section gradient, not in fit" in lines[6]
    assert "expected a whole number, got ['1', '2']" in lines[7]


@pytest.mark.parametrize("text", ["ridge: 1e-3\n", "ridge: 1E-3\n", "fit: {ridge: .001}\n", "fit:\n  ridge: '1e-3'\n"])
def test_a_number_may_be_written_plainly(file, text):
    assert resolve_config(file(text), environ={}).config.fit.ridge == 0.001


def test_names_keep_their_letters_and_intervals_their_colon(file):
    text = "drop_unit: [010, 1e5, no, 0x1f, 12:30, 2020-01-01]\ninterval: [10:20, 600:, ':5', [30, 40]]\nepochs: on\n"
    recording = resolve_config(file(text), environ={}).config.recording
    assert recording.drop_unit == ("010", "1e5", "no", "0x1f", "12:30", "2020-01-01")
    assert recording.interval == ((10.0, 20.0), (600.0, None), (None, 5.0), (30.0, 40.0))
    assert recording.epochs == ("on",)


def test_null_takes_a_value_away_and_a_section_may_be_empty(file):
    base = file("t_stop: 30\nbin: 1ms\n", "base.yaml")
    config = resolve_config(file(f"extends: {base.name}\nt_stop: null\nbin: ~\nmodel:\nfit: null\n"), environ={}).config
    assert config.recording.t_stop is None
    assert config.model.bin == 0.005


def test_a_key_stands_in_its_section_or_at_the_top_with_a_dash_or_without(file):
    config = resolve_config(file("max-epochs: 7\nfit:\n  restarts: 2\n"), environ={}).config
    assert (config.fit.max_epochs, config.fit.restarts) == (7, 2)


def test_an_empty_file_changes_nothing(file):
    for text in ("", "# nothing yet\n", "---\n"):
        assert set(resolve_config(file(text), environ={}).origin.values()) == {"default"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bin: 5ms\nbin: 6ms\n", "line 2: bin is given twice (first on line 1)"),
        ("bin: 5ms\nmodel:\n  bin: 6ms\n", "line 3: bin is given twice (first on line 1)"),
        ("model:\n  bin: 5ms\nmodel:\n  link: exp\n", "line 3: section model is given twice (first on line 1)"),
        ("model: 5ms\n", "line 1: model is a section; its keys stand below it, indented (bin: …)"),
        ("- bin\n", "line 1: expected sections or keys with values (bin: 5ms)"),
        ("just words\n", "line 1: expected sections or keys with values"),
        ("bin: [5ms\n", "line 2: this is not YAML that can be read"),
        ("model:\n bin: 5ms\n  link: exp\n", "line 3: this is not YAML that can be read"),
        ("a: 1\n---\nb: 2\n", "this is not YAML that can be read"),
        ("\tbin: 5ms\n", "line 1: this is not YAML that can be read"),
        ("bin: &x 5ms\nwindow: *x\n", "line 2: this is not YAML that can be read: anchors and aliases"),
        ("bin: !!python/object/apply:os.system ['true']\n", "line 1: bin: the tag python/object/apply"),
        ("bin: {a: 1}\n", "line 1: bin: expected a time such as 5ms"),
        ("hidden: [[[1]]]\n", "line 1: hidden: lists are nested too deeply"),
        ("? [a]\n: 1\n", "line 1: a key must be one word"),
    ],
)
def test_a_fault_of_form_has_its_line(file, text, words):
    assert words in faults_of(file(text))


def test_files_that_are_none_are_told_apart(tmp_path, file):
    assert "there is no such file" in faults_of(tmp_path / "none.yaml")
    assert "this is a folder" in faults_of(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"bin: \xff\xfe")
    assert "this is no UTF-8 text (byte 5)" in faults_of(binary)
    assert "this is too long for a config (more than 1,000,000 bytes)" in faults_of(file("#" * 1_000_001))


def test_depth_and_size_cannot_exhaust_the_reader(file):
    assert "this is not YAML that can be read" in faults_of(file("bin: " + "[" * 3_000))
    assert "nested too deeply" in faults_of(file("drop_unit: " + "[" * 50 + "]" * 50))


# -- extends -----------------------------------------------------------------------------------------------------


def test_a_file_may_extend_another_and_the_line_is_that_of_the_right_file(file):
    file("bin: 10ms\nwindow: 50ms\n", "base/lab.yaml")
    resolved = resolve_config(file("extends: base/lab.yaml\nwindow: 80ms\n", "mine.yaml"), environ={})
    assert (resolved.config.model.bin, resolved.config.model.window) == (0.01, 0.08)
    assert (resolved.origin["bin"], resolved.origin["window"]) == ("lab.yaml line 1", "mine.yaml line 2")


def test_recordings_are_relative_to_the_file_that_names_them(file, tmp_path):
    file("files: [data/*.nwb, $LAB/x.nwb, ~/y.nwb, /z.nwb]\nsessions: table.csv\n", "base/deep/lab.yaml")
    file("extends: deep/lab.yaml\n", "base/all.yaml")
    batch = resolve_config(file("extends: base/all.yaml\n", "mine.yaml"), environ={}).config.batch
    assert batch.files == ("base/deep/data/*.nwb", "$LAB/x.nwb", "~/y.nwb", "/z.nwb")
    assert batch.sessions == "base/deep/table.csv"
    file("files: one.nwb\n", "base/one.yaml")
    assert resolve_config(file("extends: base/one.yaml\n"), environ={}).config.batch.files == ("base/one.nwb",)
    assert resolve_config(tmp_path / "base" / "one.yaml", environ={}).config.batch.files == ("one.nwb",)


def test_later_files_of_a_list_go_first(file):
    file("bin: 10ms\ndraws: 3\n", "a.yaml")
    file("bin: 20ms\n", "b.yaml")
    config = resolve_config(file("extends: [a.yaml, b.yaml]\n"), environ={}).config
    assert (config.model.bin, config.gradient.draws) == (0.02, 3)


def test_variables_stand_in_paths(file, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_CONFIGS", str(tmp_path / "deep"))
    file("bin: 10ms\n", "deep/lab.yaml")
    assert resolve_config(file("extends: $LAB_CONFIGS/lab.yaml\n"), environ={}).config.model.bin == 0.01
    monkeypatch.delenv("LAB_CONFIGS")
    assert "line 1: extends: the environment variable LAB_CONFIGS is not set" in faults_of(tmp_path / "lab.yaml")


def test_circles_and_missing_files_are_refused(file, tmp_path):
    file("extends: two.yaml\n", "one.yaml")
    file("extends: one.yaml\n", "two.yaml")
    assert "two.yaml line 1: extends: one.yaml leads back to a file that extends it" in faults_of(tmp_path / "one.yaml")
    assert "there is no such file" in faults_of(file("extends: gone.yaml\n"))
    assert "embedded null byte" in faults_of(file('extends: "\\0"\n'))
    assert "expected the path of another config file" in faults_of(file("extends:\n"))


def test_a_circle_through_links_ends(file, tmp_path):
    (tmp_path / "here").symlink_to(tmp_path)
    assert "here/lab.yaml leads back" in faults_of(file("extends: here/lab.yaml\n"))


def test_faults_of_both_files_are_listed(file):
    file("binn: 1ms\n", "base.yaml")
    message = faults_of(file("extends: base.yaml\ndraws: none\n"))
    assert "base.yaml line 1" in message
    assert "lab.yaml line 2" in message


# -- the rest ----------------------------------------------------------------------------------------------------


def test_faults_can_be_had_without_raising(file):
    resolved, faults = resolve_with_faults(file("draws: none\n"), {})
    assert resolved is None
    assert [(fault.key, fault.where) for fault in faults] == [("draws", "lab.yaml line 1")]


def test_the_config_is_read_without_the_heavy_libraries():
    code = (
        "import sys, spikefit.config as c; c.resolve_config(); "
        "print([m for m in ('torch', 'numpy', 'yaml', 'rich', 'h5py', 'click') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ.copy()
    )
    assert out.stdout.strip() == "[]"
