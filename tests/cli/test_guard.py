import logging
import signal
import subprocess
import sys
import time
import warnings

import pytest

from spikefit import errors


def failing_with(fault):
    def fail():
        raise fault

    return fail


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.ConfigError, 3),
        (errors.RecordingError, 4),
        (errors.ResultError, 4),
        (errors.DeviceError, 5),
        (errors.NotConvergedError, 6),
        (errors.Checkpointed, 75),
        (errors.SpikefitError, 1),
    ],
)
def test_each_error_has_its_exit_code_and_no_traceback(invoke, pipeline, tmp_path, kind, code):
    pipeline.before = failing_with(kind("what was found.", hint="the next step"))
    outcome = invoke("infer", "a.nwb", "-o", tmp_path)
    assert outcome.exit_code == code
    assert "error: what was found.\n  try: the next step\n" in outcome.stderr
    assert "Traceback" not in outcome.output


class OutOfMemoryError(RuntimeError):
    """Looks like torch's, which must not be imported to be recognised."""

    __module__ = "torch"


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError("Unable to allocate 90 GiB"),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8e12 bytes"),
    ],
)
def test_too_little_memory_is_told_with_a_way_out(invoke, pipeline, tmp_path, fault):
    pipeline.before = failing_with(fault)
    outcome = invoke("infer", "a.nwb", "-o", tmp_path)
    assert outcome.exit_code == 5
    assert "the memory is not enough" in outcome.stderr
    assert "wider --bin" in outcome.stderr


def test_an_internal_fault_keeps_its_traceback_in_the_log(invoke, pipeline, tmp_path):
    pipeline.before = failing_with(KeyError("a fault of our own"))
    outcome = invoke("infer", "a.nwb", "-o", tmp_path)
    assert outcome.exit_code == 1
    assert "KeyError: 'a fault of our own'" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert f"the whole traceback is in {tmp_path / 'spikefit.log'}" in outcome.stderr
    assert "spikefit doctor" in outcome.stderr
    assert "Traceback" in (tmp_path / "spikefit.log").read_text()


def test_without_a_folder_v_shows_it(invoke, pipeline, tmp_path):
    pipeline.before = failing_with(KeyError("ours"))
    hidden = invoke("infer", "a.nwb", "-o", tmp_path / "none")
    assert "-v shows the whole traceback" in hidden.stderr
    assert "Traceback" not in hidden.stderr
    shown = invoke("infer", "a.nwb", "-o", tmp_path / "none", "-v")
    assert "Traceback" in shown.stderr
    assert not (tmp_path / "none").exists()


def test_an_interrupt_ends_with_130(invoke, pipeline, tmp_path):
    pipeline.before = failing_with(KeyboardInterrupt())
    outcome = invoke("infer", "a.nwb", "-o", tmp_path)
    assert outcome.exit_code == 130
    assert outcome.stderr.endswith("error: interrupted.\n")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "hidden-3.safetensors").touch()
    assert "--resume" in invoke("infer", "a.nwb", "-o", tmp_path).stderr


def test_libraries_stay_off_the_terminal_unless_asked(invoke, pipeline, tmp_path):
    def chatter():
        warnings.warn("a library is unhappy", RuntimeWarning, stacklevel=1)
        logging.getLogger("some.library").error("so is another")

    pipeline.before = chatter
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        silent = invoke("infer", "a.nwb", "-o", tmp_path)
        loud = invoke("infer", "a.nwb", "-o", tmp_path, "-v")
    assert silent.exit_code == loud.exit_code == 0
    assert "unhappy" not in silent.output
    assert "so is another" not in silent.output
    assert "a library is unhappy" in loud.stderr
    assert "so is another" in loud.stderr


def run(*args, **rest):
    return subprocess.run([sys.executable, "-m", "spikefit", *map(str, args)], capture_output=True, text=True, **rest)


def test_the_process_ends_with_the_codes_of_the_classes(tmp_path):
    missing = run("inspect", tmp_path / "none.nwb")
    assert missing.returncode == 4
    assert missing.stdout == ""
    assert (
        missing.stderr.startswith(f"error: {tmp_path / 'none.nwb'}")
        or "none.nwb: there is no such file" in missing.stderr
    )
    assert "Traceback" not in missing.stderr
    assert run("config", "check", tmp_path / "none.yaml").returncode == 3
    assert run("infer").returncode == 2
    assert run("nonsense").returncode == 2


@pytest.mark.parametrize("args", [["config", "schema"], ["config", "show"], ["--help"]])
def test_a_reader_that_goes_away_is_no_fault(args):
    child = subprocess.Popen(
        [sys.executable, "-m", "spikefit", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # Python takes far longer to start than this takes: nobody is there when the command writes.
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == ""
    child.wait(timeout=20)
    assert child.returncode == 0


def test_ctrl_c_ends_the_process_with_130_and_one_line(tmp_path):
    code = (
        # A shell that runs the tests in the background has Ctrl-C ignored, and children inherit that.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys, time, types, spikefit; fake = types.ModuleType('spikefit.pipeline');"
        "fake.infer = lambda *a, **k: (print('ready', flush=True), time.sleep(60));"
        "sys.modules['spikefit.pipeline'] = fake;"
        "from spikefit.cli import main; sys.argv = ['spikefit', 'infer', 'a.nwb', '-o', 'x']; main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Traceback" not in told
    assert told.strip().endswith("error: interrupted.")
