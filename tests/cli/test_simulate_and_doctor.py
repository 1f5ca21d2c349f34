import dataclasses
import json
import os


def test_simulate_hands_on_what_it_was_given(invoke, pipeline, tmp_path):
    outcome = invoke(
        "simulate", "-o", tmp_path / "x.nwb", "--neurons", "30", "--drivers", "5", "--bin", "10ms", "--seed", "3"
    )
    assert outcome.exit_code == 0, outcome.output
    (call,) = pipeline.calls
    config = call["config"]
    assert (config.simulate.neurons, config.simulate.drivers, config.model.bin, config.run.seed) == (30, 5, 0.01, 3)
    assert outcome.stdout.splitlines() == [
        f"{tmp_path / 'x.nwb'}: 30 recorded units, 300 s, 12,345 spikes (5.2 Hz a unit), seed 3",
        "x.truth.h5: the truth, with 5 unrecorded drivers and 37 connections between recorded units",
    ]
    assert json.loads(invoke("simulate", "-o", tmp_path / "x.nwb", "--json").stdout)["n_visible"] == 20


def test_simulate_needs_a_place(invoke, pipeline):
    outcome = invoke("simulate")
    assert outcome.exit_code == 2
    assert "Missing option '-o' / '--out'" in outcome.stderr


def test_doctor_tells_versions_devices_and_what_is_missing(invoke, monkeypatch):
    import spikefit.cli.doctor as doctor

    monkeypatch.setattr(doctor, "EXTRAS", (("no_such_module", "no-such-package", "nothing at all"),))
    told = {"passed": True, "correlation": 0.94, "seconds": 1.0, "fault": None}
    monkeypatch.setattr(doctor, "run_self_test", lambda: told)
    too_many = (os.cpu_count() or 1) + 1
    monkeypatch.setenv("OMP_NUM_THREADS", str(too_many))
    found = json.loads(invoke("doctor", "--json").stdout)
    assert found["versions"]["torch"]
    assert found["devices"][0] == "cpu"
    assert found["memory_bytes"] > 0
    assert found["missing_extras"] == [
        {"package": "no-such-package", "adds": "nothing at all", "install": "pip install no-such-package"}
    ]
    assert found["self_test"] == told
    assert any(f"OMP_NUM_THREADS is {too_many}" in text for text in found["advice"])
    out = invoke("doctor").stdout
    assert "self-test: passed: a fit of 8 simulated units agrees with the known connections to r = 0.94 in 1.0 s" in out
    assert "optional, not installed: no-such-package, for nothing at all: pip install no-such-package" in out
    assert "CPU threads" in out


def test_doctor_ends_with_1_where_something_needed_is_missing(invoke, monkeypatch):
    import spikefit.cli.doctor as doctor

    monkeypatch.setattr(doctor, "PACKAGES", ("spikefit", "no-such-package"))
    outcome = invoke("doctor")
    assert outcome.exit_code == 1
    assert "advice: no-such-package is missing: pip install no-such-package" in outcome.stdout


def test_the_self_test_passes_here():
    from spikefit.cli.self_test import run_self_test

    found = run_self_test()
    assert found["passed"], found["fault"]
    assert found["correlation"] > 0.8


def test_doctor_can_fail_its_self_test(invoke, monkeypatch):
    import numpy as np

    from spikefit.fitted import POGLM

    fit = POGLM.fit

    def shuffled(self, recording, **rest):
        found = fit(self, recording, **rest)
        # Unrelated connections: the check must see that they are not the true ones.
        mixed = np.random.default_rng(1).permuted(found.connectivity, axis=0)
        return dataclasses.replace(found, connectivity=mixed)

    monkeypatch.setattr(POGLM, "fit", shuffled)
    outcome = invoke("doctor")
    assert outcome.exit_code == 1
    assert "self-test: not passed: a fit of 8 simulated units" in outcome.stdout
    assert "advice: the self-test gives a wrong answer" in outcome.stdout
    monkeypatch.setattr(POGLM, "fit", lambda *_, **__: 1 / 0)
    assert "self-test: not passed: ZeroDivisionError" in invoke("doctor").stdout
