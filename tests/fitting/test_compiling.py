"""Compiled arithmetic gives the same answer, or the run goes on without it and says so."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.fitting.fit import fit_network
from spikefit.fitting.settings import FitSettings
from spikefit.models.kernels import Kernels
from spikefit.spikes import Counts

CPU = torch.device("cpu")
TOLERANCE = 2e-5  # in float32, of the largest gradient of a parameter
WORK = Path(__file__).with_name("compiled_work.py")


def work(what: str, folder: Path, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(WORK), what, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
        env=os.environ | environment,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = work("steps", tmp_path_factory.mktemp("steps"))
    if "fault" in found:
        pytest.skip(f"torch.compile does not work here: {found['fault']}")
    return found


@pytest.mark.slow
def test_a_compiled_step_has_the_gradients_of_the_step_as_it_is_written(steps: dict[str, Any]) -> None:
    assert len(steps["apart"]) == 4
    for name, apart in steps["apart"].items():
        assert apart < TOLERANCE, name
        assert steps["compiled"][name] >= 2, name


def test_a_gradient_that_is_wrong_by_a_ten_thousandth_would_be_seen() -> None:
    """The twin of the test above."""
    work_of = runpy.run_path(str(WORK))
    furthest, gradients, default = (work_of[name] for name in ("furthest", "gradients", "KINDS"))

    plain = gradients(None, **default["default"])
    assert furthest([values.clone() for values in plain], plain) < TOLERANCE
    assert furthest([1.0001 * values for values in plain], plain) > TOLERANCE


@pytest.mark.slow
def test_fewer_windows_and_restarts_meet_what_was_compiled(steps: dict[str, Any]) -> None:
    assert steps["fault_of_sizes"] is None
    assert steps["after_less"] == steps["first"] == 3
    assert max(steps["less_apart"]) < TOLERANCE
    # A single window has an axis of length one, and code of its own: once.
    assert steps["after_one"] == 2 * steps["first"]
    # The compiler has made no more than we count; of sizes that are no symbols it would make one for each.
    assert steps["graphs"] == steps["after_one"]
    assert steps["graphs_of_fixed_sizes"] == 3


@pytest.mark.slow
def test_compiled_occupancies_keep_their_digits_where_rates_are_small(steps: dict[str, Any]) -> None:
    """On a CPU the compiler's expm1 is e^x − 1: an occupancy made of it is 0 below rates of 6e-8, and its logarithm −∞."""
    assert steps["occupancy"] < 4e-7
    assert steps["careless_occupancy"] > 0.1


@pytest.mark.slow
def test_a_run_may_go_on_with_the_other_setting(steps: dict[str, Any], tmp_path: Path) -> None:
    found = work("resumes", tmp_path)
    for first in (False, True):
        assert found[f"stopped {first}"]
        onward = found[f"began {first}"]
        assert onward["compiled"] is (None if first else True)
        for name in ("heldout_nats_per_bin", "elbo_per_bin"):
            assert abs(onward[name] - found["whole"][name]) < 2e-3


@pytest.mark.slow
def test_where_no_compiler_works_the_fit_goes_on_and_says_so(tmp_path: Path) -> None:
    found = work("no_compiler", tmp_path, TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"))
    asked, plain = found["asked"], found["plain"]
    assert asked["compiled"] is False
    assert "no-such-compiler" in asked["compile_fault"]
    (note,) = [note for note in asked["notes"] if "--compile" in note]
    assert "went on uncompiled" in note
    assert "no-such-compiler" in note
    assert plain["compiled"] is None
    assert not any("--compile" in note for note in plain["notes"])
    np.testing.assert_allclose(asked["couplings"], plain["couplings"], atol=2e-3)


def test_a_fault_of_the_work_itself_is_no_fault_of_the_compiler() -> None:
    def no_memory(x: Tensor) -> tuple[Tensor]:
        raise MemoryError

    kernels = Kernels()
    with pytest.raises(MemoryError):
        kernels(no_memory, torch.ones(2))
    assert kernels.fault is None
    # Loading the compiler would switch off the checks of torch's distributions for the whole process.
    assert torch.distributions.Distribution._validate_args


def test_without_hidden_units_it_says_that_nothing_was_compiled(
    small_counts: Counts, tiny_settings: Callable[..., FitSettings]
) -> None:
    fit = fit_network(small_counts, tiny_settings(compiles=True), device=CPU)
    assert fit.metrics["compiled"] is False
    assert fit.metrics["compile_fault"] is None
    assert any("--compile changed nothing" in note for note in fit.notes)


def test_the_compiler_is_loaded_by_those_who_ask_for_it_alone() -> None:
    script = (
        "import sys, torch, spikefit.fitting.fit\n"
        "assert not {'torch._dynamo', 'torch._inductor'} & sys.modules.keys()\n"
        "from spikefit.models.kernels import Kernels\n"
        "Kernels()(lambda x: (x.exp(),), torch.ones(2))\n"
        "assert 'torch._dynamo' in sys.modules\n"  # so the look above can see it
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
