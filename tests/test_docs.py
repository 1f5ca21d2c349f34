"""What the pages say is true: examples run, links lead somewhere, flags and names exist.

A fenced block that follows `<!-- runnable -->` is run, in the order of the page, in a folder of its own beside a copy of
`sample_data/`. `<!-- runnable: after the main job -->` wants the README's first command to have been run there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *ROOT.glob("docs/*.md")])
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)[^)]*\)")
FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")


@dataclass(frozen=True)
class Block:
    mark: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Console blocks show prompts and answers, bash blocks commands alone."""
        lines = self.text.splitlines()
        if self.language == "console":
            return [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip()]


def blocks_of(text: str) -> list[Block]:
    return [Block(found["mark"] or "", found["language"], found["text"]) for found in BLOCK.finditer(text)]


def runnable_blocks(text: str) -> list[Block]:
    return [block for block in blocks_of(text) if block.mark.split(":")[0] in ("main job", "runnable")]


def main_job() -> str:
    """The README's first command without its installation."""
    (block,) = [b for b in blocks_of((ROOT / "README.md").read_text("utf-8")) if b.mark == "main job"]
    return block.commands[-1].rpartition("&& ")[2]


def run(block: Block, folder: Path) -> None:
    """Run one block, and fail with what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if block.language == "python":
        argv = [sys.executable, "-c", block.text]
    elif block.mark == "main job":
        argv = ["bash", "-euo", "pipefail", "-c", main_job().replace(".venv/bin/", "")]
    else:
        argv = ["bash", "-euo", "pipefail", "-c", "\n".join(block.commands)]
    environment = {**os.environ, "PATH": path, "MPLBACKEND": "agg"}
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"exit {done.returncode} from\n{block.text}\n{done.stdout}\n{done.stderr}"


RUNNABLE = [page for page in PAGES if runnable_blocks(page.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_the_examples_run(page, tmp_path):
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    for block in runnable_blocks(page.read_text("utf-8")):
        if block.mark.endswith("after the main job") and not (tmp_path / "results").exists():
            run(Block("main job", "bash", main_job()), tmp_path)
        run(block, tmp_path)


def test_examples_are_found_where_they_are():
    assert {"README.md", "getting-started.md", "file-formats.md"} <= {page.name for page in RUNNABLE}


@pytest.mark.parametrize(
    "block",
    [
        Block("runnable", "python", "import spikefit.nowhere\n"),
        Block("runnable", "console", "$ false\nwords\n$ true\n"),
    ],
)
def test_an_example_that_fails_is_seen(block, tmp_path):
    with pytest.raises(AssertionError, match="exit 1 from"):
        run(block, tmp_path)


def dead_links(text: str, folder: Path) -> list[str]:
    return [target for target in LINK.findall(text) if not (folder / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert not dead_links(page.read_text("utf-8"), page.parent)


def test_a_dead_link_is_seen():
    text = "[a](LICENSE), ![b](docs/nowhere.png), [c](docs/nowhere.md#part), [d](https://example.org/x), [e](#part)"
    assert dead_links(text, ROOT) == ["docs/nowhere.png", "docs/nowhere.md"]


def unknown_flags(command: str) -> list[str]:
    """Flags of one `spikefit …` command line that the program does not have."""
    import click

    from spikefit.cli.main import cli

    words = command.split()
    here: click.Command = cli
    context = click.Context(cli, info_name="spikefit")
    known: set[str] = set()
    while True:
        known |= {
            option for parameter in here.get_params(context) for option in (*parameter.opts, *parameter.secondary_opts)
        }
        following = here.get_command(context, words[0]) if isinstance(here, click.Group) and words else None
        if following is None:
            break
        here, words = following, words[1:]
        context = click.Context(here, parent=context)
    return [word for word in words if FLAG.fullmatch(word.partition("=")[0]) and word.partition("=")[0] not in known]


def command_lines(text: str) -> list[str]:
    lines = [line for block in blocks_of(text) if block.language in ("bash", "console") for line in block.commands]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part.rpartition("bin/")[2] for part in parts if re.match(r"(\S*bin/)?spikefit\b", part)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_in_commands_exist(page):
    text = page.read_text("utf-8")
    faults = {line: unknown for line in command_lines(text) if (unknown := unknown_flags(line.partition(" ")[2]))}
    assert not faults


def test_flags_in_sentences_exist():
    """`--flag` in running text belongs to some command, or to a script of the benchmarks."""
    import click

    from spikefit.cli.main import COMMANDS, cli

    context = click.Context(cli)
    inner = [f"{name} {sub}" for name in COMMANDS for sub in getattr(cli.get_command(context, name), "commands", ())]
    names = [*COMMANDS, *inner]
    scripts = "".join(path.read_text("utf-8") for path in ROOT.glob("benchmarks/**/*.py"))
    of_scripts = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', scripts))
    faults = {}
    for page in PAGES:
        prose = BLOCK.sub("", page.read_text("utf-8"))
        for code in re.findall(r"`([^`\n]*--[^`\n]*)`", prose):
            words = [word.partition("=")[0] for word in code.split() if word.startswith("--")]
            if not code.startswith("spikefit"):
                words = [word for word in words if word not in of_scripts]
            if unknown := [w for w in words if all(unknown_flags(f"{name} {w}") for name in names)]:
                faults[f"{page.name}: {code}"] = unknown
    assert not faults


def test_an_unknown_flag_is_seen():
    assert unknown_flags("infer a.nwb --bin 5ms --hiden 3 -o out") == ["--hiden"]
    assert command_lines("```bash\npip x && .venv/bin/spikefit infer a --b\n```\n") == ["spikefit infer a --b"]


def unknown_names(text: str) -> set[str]:
    """`spikefit.something` in code that the package does not offer."""
    import spikefit

    python = "\n".join(block.text for block in blocks_of(text) if block.language == "python")
    named = set(re.findall(r"\bspikefit\.([A-Za-z]\w*)", python)) | set(re.findall(r"`spikefit\.([A-Za-z]\w*)", text))
    return named - set(spikefit.__all__) - {"log"}  # spikefit.log is a file of the result


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_names_exist(page):
    text = page.read_text("utf-8")
    assert not unknown_names(text)
    for block in blocks_of(text):
        if block.language == "python":
            compile(block.text, page.name, "exec")


def test_an_unknown_python_name_is_seen():
    assert unknown_names("`spikefit.infre`\n```python\nspikefit.red('x')\n```\n") == {"infre", "red"}


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_changelog_and_citation_name_this_version():
    version = project()["version"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def loose_requirements(requirements: list[str], constraints: str) -> list[str]:
    """Requirements that no line of the constraints holds at one version inside their bounds."""
    pins = {}
    for line in constraints.splitlines():
        name, pin, version = line.partition("==")
        if pin:
            pins[canonicalize_name(name)] = version
    wanted = [Requirement(text) for text in requirements]
    return [
        str(r)
        for r in wanted
        if r.name != "spikefit" and not r.specifier.contains(pins.get(canonicalize_name(r.name), "0"))
    ]


def test_the_constraints_hold_every_dependency():
    table = project()
    requirements = [*table["dependencies"], *(r for extra in table["optional-dependencies"].values() for r in extra)]
    assert not loose_requirements(requirements, (ROOT / "constraints.txt").read_text("utf-8"))


def test_a_loose_dependency_is_seen():
    assert loose_requirements(["numpy>=2", "torch>=2.6", "absent>=1"], "numpy==1.26.0\ntorch==2.13.0\n") == [
        "numpy>=2",
        "absent>=1",
    ]
