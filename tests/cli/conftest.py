"""A stand-in for the fitting, so that the shell around it can be tested in milliseconds."""

import sys
import types

import numpy as np
import pytest
from click.testing import CliRunner

import spikefit
from spikefit.cli.main import cli
from spikefit.results import Result, UnitRow


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    import os

    for variable in list(os.environ):
        if variable.startswith("SPIKEFIT_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def invoke():
    """`invoke("infer", "x.nwb", …)` runs the command line in this process."""

    def run(*args):
        return CliRunner().invoke(cli, [str(arg) for arg in args])

    return run


@pytest.fixture
def result():
    """A made-up result: three recorded units and a hidden one; `result(metrics={…})` changes it."""

    def make(**changes):
        connectivity = np.array(
            [[0.0, 0.5, 0.0, 1.0], [-2.0, 0.0, 0.1, 3.0], [0.0, 0.0, 0.0, 0.2], [0.0, 0.0, 0.0, 0.0]]
        )
        fields = {
            "unit_id": ("a", "[b]", "c", "hidden-0"),
            "unit_kind": ("visible", "visible", "visible", "hidden"),
            "connectivity": connectivity,
            "coupling_filters": connectivity[:, :, None] * np.array([0.2, 0.8]),
            "lag_s": np.array([0.005, 0.01]),
            "baseline": np.zeros(4),
            "bin_width_s": 0.005,
            "units": (
                UnitRow("a", "visible", True, "", 100, 1.0),
                UnitRow("[b]", "visible", True, "", 200, 2.0),
                UnitRow("c", "visible", True, "", 300, 3.0),
                UnitRow("d", "visible", False, "no spikes", 0, 0.0),
                UnitRow("hidden-0", "hidden", True, "", 50, 0.5),
            ),
            "metrics": {
                "heldout_nats_per_bin": -8.25,
                "heldout_bits_per_spike": 0.125,
                "heldout_bits_per_spike_se": 0.01,
                "heldout_gain_nats_per_bin": 0.31,
                "heldout_gain_se": 0.02,
                "n_bins": 60000,
                "converged": True,
                "fit_s": 3.14,
                "wall_s": 5.0,
            },
            "warnings": ("unit c has 300 spikes",),
            "name": "session",
        }
        return Result(**(fields | changes))

    return make


@pytest.fixture
def pipeline(monkeypatch, result):
    """A pipeline that fits nothing, remembers its calls in `.calls` and does `.before()` first."""

    class Plan:
        def to_dict(self):
            return {"n_bins": 60000, "memory_bytes": 10}

        def lines(self):
            return ["60,000 bins", "10 bytes"]

    fake = types.ModuleType("spikefit.pipeline")
    fake.calls, fake.before = [], lambda: None

    def infer(recordings, out, **rest):
        fake.calls.append({"recordings": recordings, "out": out, **rest})
        rest["progress"].start("fitting", 10)
        fake.before()
        rest["progress"].finish()
        return [result(name=path.stem) for path in recordings]

    def plan(recordings, **rest):
        fake.calls.append({"recordings": recordings, **rest})
        return Plan()

    def simulate_to_file(path, **rest):
        fake.calls.append({"path": path, **rest})
        wanted = rest["config"].simulate
        return {
            "recording": str(path),
            "truth": "x.truth.h5",
            "n_visible": wanted.neurons,
            "n_hidden": wanted.drivers,
            "duration_s": wanted.duration,
            "n_spikes": 12345,
            "mean_rate_hz": 5.25,
            "n_connections": 37,
            "seed": rest["config"].run.seed,
        }

    fake.infer, fake.plan, fake.simulate_to_file = infer, plan, simulate_to_file
    monkeypatch.setitem(sys.modules, "spikefit.pipeline", fake)
    monkeypatch.setattr(spikefit, "pipeline", fake, raising=False)
    return fake
