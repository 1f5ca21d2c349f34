import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

import spikefit.cli.flag_table
from spikefit.cli.flags import default_table_text, flags_of_config, table_text
from spikefit.cli.main import COMMANDS, cli
from spikefit.config import all_keys

HEAVY = (
    "torch",
    "neo",
    "pynwb",
    "hdmf",
    "matplotlib",
    "pandas",
    "scipy",
    "networkx",
    "h5py",
    "numpy",
    "pydantic",
    "rich",
    "yaml",
)
CPU_LIMIT_S = 0.3


def every_command():
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        yield name, command
        for inner in getattr(command, "commands", {}):
            yield f"{name} {inner}", command.commands[inner]


@pytest.mark.parametrize(("name", "command"), [pytest.param(n, c, id=n) for n, c in every_command()])
def test_every_flag_has_help_and_shows_its_default(name, command):
    context = click.Context(command)
    for parameter in command.get_params(context):
        if not isinstance(parameter, click.Option) or "--help" in parameter.opts:
            continue
        assert parameter.help, f"{name}: {parameter.name} has no help"
        assert "default: " in parameter.help, f"{name}: {parameter.name} does not show its default"


def test_the_sentence_of_each_command_is_that_of_its_own_help(invoke):
    for name, sentence in COMMANDS.items():
        assert sentence in " ".join(invoke(name, "--help").stdout.split())


def test_the_table_of_flags_is_that_of_the_configuration():
    # Made again by `python -m spikefit.cli.flags`.
    assert flags_of_config() == spikefit.cli.flag_table.FLAGS
    written = Path(spikefit.cli.flag_table.__file__).read_text(encoding="utf-8")
    assert written == table_text()
    defaults = Path(spikefit.cli.flag_table.__file__).with_name("default_table.py").read_text(encoding="utf-8")
    assert defaults == default_table_text()


def test_the_table_of_defaults_is_that_of_the_configuration():
    from spikefit.cli.default_table import CHECKS, RECORDING
    from spikefit.config import Config

    assert dict(Config().recording) == RECORDING
    assert dict(Config().checks) == CHECKS


def test_every_flag_of_the_configuration_is_on_a_command(invoke):
    shown = {
        option
        for name in ("infer", "batch", "simulate", "pvae fit")
        for parameter in dict(every_command())[name].params
        for option in parameter.opts
    }
    for key in all_keys().values():
        assert (key.flag in shown) == key.is_flag, key.name


def test_defaults_and_choices_stand_in_the_help(invoke):
    text = " ".join(invoke("infer", "--help").stdout.split())
    for words in (
        "--bin TIME Bin width. [default: 5ms]",
        "--hidden N|N,N,…|auto",
        "--link [softplus|exp|sigmoid]",
        "[default: raised-cosine-log]",
        "-o, --out PATH",
        "-c, --config PATH",
        "--dry-run",
        "--resume",
        "--overwrite",
        "-q, --quiet",
        "-v, --verbose",
        "--strict / --no-strict",
    ):
        assert words in text, words
    assert "auto|cpu|cuda[:I]|mps" in text


def test_help_says_how_to_switch_completion_on_and_what_exit_codes_mean(invoke):
    text = invoke("--help").stdout
    assert "_SPIKEFIT_COMPLETE=bash_source spikefit" in text
    assert "75 stopped\n  with a checkpoint" in text


def test_an_unknown_command_names_the_nearest(invoke):
    outcome = invoke("infr")
    assert outcome.exit_code == 2
    assert "there is no command 'infr'; did you mean 'infer'?" in outcome.stderr


def test_version(invoke):
    assert invoke("--version").stdout == f"spikefit {spikefit.__version__}\n"


# -- speed -------------------------------------------------------------------------------------------------------


def completing(words, current):
    return {"_SPIKEFIT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(current)}


ANSWERS = [
    pytest.param(["--help"], {}, "Commands:", id="help"),
    pytest.param(["infer", "--help"], {}, "--bin", id="infer help"),
    pytest.param(["batch", "--help"], {}, "--executor", id="batch help"),
    pytest.param(["simulate", "--help"], {}, "--neurons", id="simulate help"),
    pytest.param(["inspect", "--help"], {}, "--epochs", id="inspect help"),
    pytest.param(["export", "--help"], {}, "--orient", id="export help"),
    pytest.param(["report", "--help"], {}, "report.html", id="report help"),
    pytest.param([], completing("spikefit inf", 1), "plain,infer", id="complete a command"),
    pytest.param([], completing("spikefit infer --wind", 2), "plain,--window", id="complete a flag"),
    pytest.param([], completing("spikefit infer --link so", 3), "plain,softplus", id="complete a choice"),
    pytest.param([], completing("spikefit export res --to gr", 4), "plain,graphml", id="complete a format"),
    pytest.param([], completing("spikefit infer ses", 2), "file,ses", id="complete a file"),
]


@pytest.mark.parametrize(("args", "variables", "words"), ANSWERS)
def test_help_and_completion_load_nothing_heavy(args, variables, words):
    code = (
        "import atexit, sys; from spikefit.cli import main;"
        f"atexit.register(lambda: print('LOADED', [m for m in {HEAVY!r} if m in sys.modules]));"
        f"sys.argv = ['spikefit', *{args!r}]; main()"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables, check=True
    ).stdout
    assert words in told
    assert "LOADED []" in told


@pytest.mark.parametrize(("args", "variables", "words"), ANSWERS)
def test_help_and_completion_answer_at_once(args, variables, words):
    # Time of the CPU, so that other work on the machine does not count; the best of a few, so that cold disks do not.
    spent = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = subprocess.run(
            [sys.executable, "-m", "spikefit", *args],
            capture_output=True,
            text=True,
            env=os.environ | variables,
            check=True,
        ).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert words in told
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < CPU_LIMIT_S, f"{min(spent):.2f} s of CPU"
