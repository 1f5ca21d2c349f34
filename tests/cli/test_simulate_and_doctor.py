import dataclasses
import json
import os
import re
from pathlib import Path

import pytest


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


def test_doctor_knows_every_package_that_the_installation_names():
    import tomllib

    from spikefit.cli.doctor import EXTRAS, PACKAGES

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.split(r"[<>=!~; \[]", text, maxsplit=1)[0] for text in project["dependencies"]}
    extras = {f"spikefit[{name}]" for name in project["optional-dependencies"].keys() - {"test", "bench", "docs"}}
    assert needed == set(PACKAGES) - {"spikefit"}
    assert extras <= {package for _, package, _ in EXTRAS}


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


def made_up(**changes):
    found = {
        "versions": {"spikefit": "1"},
        "devices": ["cpu"],
        "torch_cuda": None,
        "threads": {"cores": 8, "bound_to": 8, "usable": 8, "omp_num_threads": None, "load": 0.1},
        "memory_available_bytes": 2**34,
        "disk_free_bytes": 2**40,
        "disks": {"here": "ext4", "home": "ext4"},
        "self_test": {"passed": True, "correlation": 0.95},
    }
    return found | changes


THREADS = {"cores": 8, "bound_to": 8, "usable": 8, "omp_num_threads": None, "load": 0.1}


@pytest.mark.parametrize(
    ("changes", "variables", "words"),
    [
        ({"versions": {"scipy": None}}, {}, "scipy is missing: pip install scipy"),
        ({"threads": THREADS | {"omp_num_threads": "16"}}, {}, "OMP_NUM_THREADS is 16, but 8 CPUs may be used"),
        ({"threads": THREADS | {"usable": 2}}, {}, "may use 2 of 8 CPUs"),
        ({"threads": THREADS | {"load": 13.0}}, {}, "busy (load 13.0 on 8 CPUs)"),
        ({"memory_available_bytes": 2**29}, {}, "only 0.5 GiB of memory are free"),
        ({"disk_free_bytes": 2**30}, {}, "only 1.0 GiB of disk are free"),
        ({"disks": {"here": "ext4", "home": "nfs4"}}, {}, "the home folder is on a network disk (nfs4)"),
        ({"disks": {"here": "lustre", "home": "ext4"}}, {}, "HDF5_USE_FILE_LOCKING=FALSE"),
        ({}, {"HDF5_PLUGIN_PATH": "/no/such/folder"}, "HDF5_PLUGIN_PATH names /no/such/folder, which is no folder"),
        ({"self_test": {"passed": False, "correlation": 0.1}}, {}, "the self-test gives a wrong answer"),
    ],
)
def test_each_trap_is_seen_and_a_sound_computer_has_none(changes, variables, words, monkeypatch):
    import spikefit.cli.traps as traps

    monkeypatch.setattr(traps, "has_nvidia_gpu", lambda: False)
    for variable in ("HDF5_PLUGIN_PATH", "HDF5_USE_FILE_LOCKING"):
        monkeypatch.delenv(variable, raising=False)
    assert traps.traps_in(made_up()) == []
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (advice,) = traps.traps_in(made_up(**changes))
    assert words in advice


def test_a_gpu_that_torch_cannot_use_is_seen(monkeypatch, tmp_path):
    import spikefit.cli.traps as traps

    monkeypatch.setattr(traps, "has_nvidia_gpu", lambda: True)
    assert "built for the CPU alone" in traps.traps_in(made_up())[0]
    assert "built for CUDA 12.4" in traps.traps_in(made_up(torch_cuda="12.4"))[0]
    assert traps.traps_in(made_up(devices=["cpu", "cuda:0 (H100)"])) == []


def test_disks_and_gpus_are_found_in_what_the_system_tells(tmp_path, monkeypatch):
    import spikefit.cli.traps as traps

    mounts = "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n//s/my\\040disk /mnt/my\\040disk cifs rw 0 0\n"
    for path, kind in (("/home/me", "nfs4"), ("/homes", "ext4"), ("/", "ext4"), ("/mnt/my disk/x", "cifs")):
        assert traps.disk_type(Path(path), mounts) == kind
    monkeypatch.setattr(traps.shutil, "which", lambda _: None)
    card = tmp_path / "0000:01:00.0"
    card.mkdir()
    (card / "vendor").write_text("0x10de\n")
    (card / "class").write_text("0x040300\n")  # the sound of a card is no GPU
    before = traps.has_nvidia_gpu(tmp_path)
    (card / "class").write_text("0x030200\n")
    assert (before, traps.has_nvidia_gpu(tmp_path)) == (Path("/proc/driver/nvidia/version").exists(), True)


def test_doctor_can_be_asked_for_json(invoke, monkeypatch):
    import spikefit.cli.doctor as doctor

    monkeypatch.setattr(
        doctor, "run_self_test", lambda: {"passed": True, "correlation": 0.94, "seconds": 1.0, "fault": None}
    )
    found = json.loads(invoke("doctor", "--json").stdout)
    assert {"disks", "slurm", "torch_cuda", "threads"} <= found.keys()
    assert found["threads"]["usable"] >= 1


def test_doctor_given_a_result_says_how_to_ask(invoke, tmp_path):
    outcome = invoke("doctor", str(tmp_path))
    assert outcome.exit_code == 2
    assert f"doctor gradients {tmp_path}`." in " ".join(outcome.stderr.split())
    assert "doctor gradients RESULT`." in " ".join(invoke("doctor", "gradient").stderr.split())
