"""Damaged files of every format, some each time and thousands where slow tests are run; see `fuzz.py`.

`FUZZ_CASES=20000 pytest tests/loaders/test_fuzz.py -k on_demand` runs as many as one likes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")


def assert_survives(first: int, n_cases: int) -> None:
    # A process of its own: a crash in a library, or a hang, is then a failed case and not the end of the tests.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "ignore", str(FUZZ), "--seed", str(first), "--cases", str(n_cases)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600 + n_cases, check=False)
    last = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("case ")), "no case")
    assert done.returncode == 0, f"exit {done.returncode} after {last}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert f"{n_cases} cases" in done.stdout
    assert "RecordingError" in done.stdout
    assert " read" in done.stdout


def test_some_hundred_damaged_files() -> None:
    assert_survives(0, 300)


@pytest.mark.slow
@pytest.mark.parametrize("first", [10_000, 20_000, 30_000])
def test_thousands_of_damaged_files(first: int) -> None:
    assert_survives(first, 2000)


@pytest.mark.slow
@pytest.mark.skipif("FUZZ_CASES" not in os.environ, reason="FUZZ_CASES, the number of cases wanted, is not set")
def test_as_many_as_are_wanted_on_demand() -> None:
    assert_survives(int(os.environ.get("FUZZ_SEED", "1000000")), int(os.environ["FUZZ_CASES"]))
