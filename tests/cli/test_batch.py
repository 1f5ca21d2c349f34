"""`spikefit batch` as a shell round the function: what it hands on, prints and ends with."""

import json
import os
import sys
import types

import pytest

import spikefit
from spikefit.batching.jobs import Session, make_jobs
from spikefit.batching.outcome import Outcome
from spikefit.batching.run import BatchResult
from spikefit.config import Config


@pytest.fixture
def batching(monkeypatch, tmp_path):
    """Batches that run nothing; they remember their calls in `.calls` and answer with `.answer`."""
    import spikefit.batching as real

    fake = types.SimpleNamespace(calls=[], answer=BatchResult(tmp_path / "out", ()))

    def batch(recordings, out, **rest):
        fake.calls.append({"recordings": recordings, "out": out, **rest})
        return fake.answer

    monkeypatch.setattr(real, "batch", batch)
    return fake


def outcomes():
    figures = {"n_visible": 6, "n_hidden": 0, "heldout_bits_per_spike": 0.125, "converged": True}
    return (
        Outcome("a", "done", "a", figures=figures, wall_s=3.0),
        Outcome("b", "done", "old", figures=figures, again=True),
        Outcome("c", "failed", reason="c.nwb: no spikes.", hint="record some", kind="RecordingError", exit_code=4),
        Outcome("d", "not run"),
    )


def test_what_was_given_is_handed_on(invoke, batching, tmp_path):
    out = tmp_path / "out"
    outcome = invoke(
        "batch", "a.nwb", "sub-*/*.nwb", "-o", out, "--jobs", 3, "--grid", "hidden=0,2", "--grid", "bin=5ms,10ms",
        "--executor", "dask", "--scheduler", "tcp://head:8786", "--fail-fast", "--resume", "--memory", "8GB", "--seed", 4,
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    (call,) = batching.calls
    assert [str(path) for path in call["recordings"]] == ["a.nwb", "sub-*/*.nwb"]
    wanted = call["config"].batch
    assert wanted.grid == (("hidden", ("0", "2")), ("bin", ("5ms", "10ms")))
    assert (wanted.jobs, wanted.executor, wanted.scheduler) == (3, "dask", "tcp://head:8786")
    assert (call["config"].slurm.memory, call["config"].run.seed) == ("8GB", 4)
    assert (call["keep_going"], call["resume"], call["only_failed"], call["overwrite"]) == (False, True, False, False)
    assert call["origin"]["jobs"] == "flag --jobs"


def test_a_config_names_recordings_relative_to_itself(invoke, batching, tmp_path):
    lab = tmp_path / "configs" / "lab.yaml"
    lab.parent.mkdir()
    lab.write_text("files: ['../data/*.nwb']\nexecutor: slurm\ntime_limit: 2h\ngrid:\n  hidden: [0, '1,2']\n")
    assert invoke("batch", lab, "-o", tmp_path / "out").exit_code == 0
    assert invoke("batch", "x.nwb", "-c", lab, "--sessions", "t.csv", "-o", tmp_path / "out").exit_code == 0
    first, second = batching.calls
    assert first["base"] == lab.parent
    assert first["config"].batch.files == ("../data/*.nwb",)
    assert first["config"].batch.grid == (("hidden", ("0", "1,2")),)
    assert second["config"].batch.sessions == "t.csv"


def test_the_answer_for_people_and_programs(invoke, batching, tmp_path):
    batching.answer = BatchResult(tmp_path / "out", outcomes())
    outcome = invoke("batch", "a.nwb", "-o", "out")
    assert outcome.exit_code == 10
    lines = outcome.stdout.splitlines()
    assert lines[2].split() == ["a", "6", "0", "0.125", "yes", "3.0", "s"]
    assert lines[3].split() == ["b", "6", "0", "0.125", "yes", "before"]
    assert lines[-5:] == [
        "c: failed: c.nwb: no spikes.",
        "  try: record some",
        "d: not run",
        "4 jobs: 2 done, 1 failed, 1 not run",
        "results are in out/ (summary.html, summary.csv, …)",
    ]
    told = json.loads(invoke("batch", "a.nwb", "-o", "out", "--json").stdout)
    assert (told["n_jobs"], told["n_done"], told["n_done_before"], told["n_failed"]) == (4, 2, 1, 1)
    assert told["jobs"][2]["reason"] == "c.nwb: no spikes."
    assert invoke("batch", "a.nwb", "-o", "out", "-q").output == ""


@pytest.mark.parametrize(
    ("statuses", "number", "code"),
    [
        (("done",), None, 0),
        (("done", "failed"), None, 10),
        (("done", "stopped"), 15, 75),
        (("failed", "stopped"), 2, 130),
        (("done", "stopped"), None, 75),
        (("done", "not run"), None, 0),
    ],
)
def test_exit_codes(invoke, batching, tmp_path, statuses, number, code):
    jobs = tuple(Outcome(str(place), status) for place, status in enumerate(statuses))
    batching.answer = BatchResult(tmp_path, jobs, number)
    assert invoke("batch", "a.nwb", "-o", "out", "-q").exit_code == code


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("a.nwb",), 2, "-o OUT is missing"),
        (("-o", "out", "a.yaml", "b.yml"), 2, "several config files were given"),
        (("-o", "out", "a.nwb", "--only-failed", "--overwrite"), 2, "pass one of the two"),
        (("-o", "out", "a.nwb", "--executor", "cloud"), 2, "'cloud' is not one of 'local', 'dask', 'slurm'"),
        (("-o", "out", "a.nwb", "--grid", "hiden=1,2"), 2, "there is no setting 'hiden'; did you mean 'hidden'?"),
        (("-o", "out", "a.nwb", "--memory", "much"), 2, "expected memory with its unit (8GB, 500MB), got 'much'"),
        (("-o", "out", "a.nwb", "--partition", "a; rm -rf x"), 2, "expected letters, digits and _.,:+- alone"),
        (("-o", "out", "a.nwb", "--scheduler", "head:8786"), 2, "expected the address of a Dask scheduler"),
        (("-o", "out", "a.nwb", "--time-limit", "30s"), 2, "cannot be asked to stop 1min before its end"),
        (("-o", "out", "nope.nwb"), 2, "there is no such recording: nope.nwb"),
        (("-o", "out"), 2, "there are no recordings to work on"),
        (("-o", "out", "--sessions", "nope.csv"), 3, "there is no such table of sessions"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(invoke, tmp_path, monkeypatch, args, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.nwb").touch()
    outcome = invoke("batch", *args)
    assert outcome.exit_code == code, outcome.output
    assert words in outcome.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nwb"]


def test_a_dry_run_lists_what_each_job_would_take(invoke, pipeline, monkeypatch, tmp_path):
    for name in ("a.nwb", "b.nwb"):
        (tmp_path / name).touch()

    def plan(recording, *, config):
        if recording.name == "b.nwb":
            raise spikefit.errors.RecordingError("b.nwb: no spikes.")
        one = {"name": "a", "n_units": 7, "memory_bytes": 5e8, "time_s": 120.0}
        return types.SimpleNamespace(to_dict=lambda: {"jobs": [one]})

    monkeypatch.setattr(pipeline, "plan", plan)
    outcome = invoke("batch", tmp_path / "*.nwb", "--dry-run", "--grid", "hidden=0,2")
    assert outcome.exit_code == 0, outcome.output
    assert "a_hidden-2   to run               7   0.5 GB              2 min" in outcome.stdout
    assert "4 jobs, 2 to run: about 4 min on one core in all, 0.5 GB for the largest" in outcome.stdout
    assert "warning: b_hidden-0: b.nwb: no spikes." in outcome.stderr
    told = json.loads(invoke("batch", tmp_path / "*.nwb", "--dry-run", "--json").stdout)
    assert [job["state"] for job in told["jobs"]] == ["to run", "cannot be used"]


# -- Slurm, without one --------------------------------------------------------------------------------------------


def test_the_script_holds_no_path_and_no_name(invoke, tmp_path, monkeypatch):
    odd = tmp_path / 'a "$(touch hacked)" \n\'b'
    odd.mkdir()
    (odd / "x;y.nwb").touch()
    outcome = invoke(
        "batch", odd / "x;y.nwb", "-o", odd / "out", "--print-script", "--time-limit", "90min", "--memory", "8GB",
        "--gpus", 1, "--partition", "long", "--jobs", 4, "--grid", "seed=1,2,3",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    script = outcome.stdout
    assert script == (odd / "out" / ".batch" / "slurm" / "array.sh").read_text()
    for text in ("hacked", "x;y", str(tmp_path), sys.executable):
        assert text not in script
    for line in ("array=0-2%4", "time=90", "mem=8192M", "gpus=1", "partition=long", "signal=B:USR1@60", "requeue"):
        assert f"#SBATCH --{line}\n" in script
    manifest = json.loads((odd / "out" / ".batch" / "manifest.json").read_text())
    assert [order["job"]["name"] for order in manifest["orders"]] == ["x_y_seed-1", "x_y_seed-2", "x_y_seed-3"]
    assert "sbatch --parsable" in outcome.stderr


@pytest.fixture
def no_slurm(monkeypatch, tmp_path):
    """A PATH on which the test puts what it wants."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, text):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("sbatch", "words"),
    [
        (None, "there is no Slurm on this computer (no sbatch)"),
        ("echo 'sbatch: error: invalid partition specified: x' >&2; exit 1", "refused the jobs: invalid partition"),
        ("echo nonsense", "Slurm refused the jobs: nonsense"),
    ],
)
def test_a_slurm_that_is_not_there_or_refuses_ends_with_5(invoke, no_slurm, tmp_path, sbatch, words):
    (tmp_path / "a.nwb").touch()
    if sbatch is not None:
        no_slurm("sbatch", sbatch)
    outcome = invoke("batch", tmp_path / "a.nwb", "-o", tmp_path / "out", "--executor", "slurm")
    assert outcome.exit_code == 5, outcome.output
    assert words in outcome.stderr
    assert not (tmp_path / "out" / ".batch" / "lock").exists()


def test_a_task_that_slurm_ended_without_a_result_is_a_failure_with_its_state(invoke, no_slurm, tmp_path, monkeypatch):
    import spikefit.batching.engines.slurm as slurm

    monkeypatch.setattr(slurm, "ASK_EVERY_S", 0.0)
    (tmp_path / "a.nwb").touch()
    no_slurm("sbatch", "echo '77;cluster'")
    no_slurm("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    no_slurm("scontrol", "echo 'JobId=78 ArrayJobId=77 JobState=OUT_OF_MEMORY Reason=OutOfMemory'")
    outcome = invoke("batch", tmp_path / "a.nwb", "-o", tmp_path / "out", "--executor", "slurm")
    assert outcome.exit_code == 10, outcome.output
    assert "a: failed: Slurm ended it: OUT_OF_MEMORY." in outcome.stdout
    assert "submitted as 77" in outcome.stderr


def test_the_arrays_of_a_large_batch_are_no_larger_than_slurm_takes(tmp_path):
    from spikefit.batching.engines.slurm import write_script
    from spikefit.batching.places import Places

    jobs = make_jobs([Session(tmp_path / "a.nwb", {})], Config().replace(grid={"seed": list(range(2500))}), {})
    places = Places(tmp_path)
    places.make()
    commands = write_script(places, [{"job": job.to_dict()} for job in jobs], Config())
    assert [first for first, _ in commands] == [0, 1000, 2000]
    assert [command[3] for _, command in commands] == ["--array=0-999", "--array=0-999", "--array=0-499"]
    assert [command[-1] for _, command in commands] == ["0", "1000", "2000"]
    assert os.path.isabs(commands[0][1][-2])
