import json

import pytest

from spikefit.errors import RecordingError


def test_infer_hands_on_what_it_was_given(invoke, pipeline, tmp_path):
    outcome = invoke(
        "infer",
        "a.nwb",
        "-o",
        tmp_path / "out",
        "--bin",
        "10ms",
        "--hidden",
        "0,2",
        "--interval",
        "-2:10",
        "--overwrite",
    )
    assert outcome.exit_code == 0, outcome.output
    (call,) = pipeline.calls
    assert [str(path) for path in call["recordings"]] == ["a.nwb"]
    assert call["out"] == tmp_path / "out"
    assert (call["overwrite"], call["resume"]) == (True, False)
    assert call["config"].model.hidden == (0, 2)
    assert call["config"].recording.interval == ((-2.0, 10.0),)
    assert {name: origin for name, origin in call["origin"].items() if origin != "default"} == {
        "bin": "flag --bin",
        "hidden": "flag --hidden",
        "interval": "flag --interval",
    }


def test_the_table_says_what_was_found_and_where(invoke, pipeline, tmp_path):
    out = invoke("infer", "session.nwb", "-o", tmp_path / "out").stdout
    assert "session: 3 recorded + 1 hidden units (1 left out, reasons in units.csv), 60,000 bins of 5 ms" in out
    assert "held out: -8.2500 nats per bin; +0.125 ± 0.010 bits per spike over constant rates" in out
    assert "against no hidden units: +0.3100 ± 0.0200 nats per bin: hidden units help" in out
    assert "converged in 3.1 s (5.0 s in all)" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(("hidden-0 ", "a "))]
    # The strongest first; an id in brackets is text, not markup.
    assert rows[0][:3] == ["hidden-0", "[b]", "3.00"]
    assert rows[1][:3] == ["a", "[b]", "-2.00"]
    assert "std. error" not in out
    assert "warning: unit c has 300 spikes" in out
    assert f"results are in {tmp_path / 'out'}/" in out


@pytest.mark.parametrize(
    ("gain", "error", "words"),
    [
        (0.31, 0.02, "hidden units help"),
        (0.03, 0.02, "within twice its standard error, so hidden units are not needed"),
        (-0.31, 0.02, "no hidden units would predict better"),
    ],
)
def test_it_says_plainly_whether_hidden_units_helped(gain, error, words):
    from spikefit.cli.summary import score_lines

    (line,) = score_lines({"heldout_gain_nats_per_bin": gain, "heldout_gain_se": error}, 2)
    assert line.endswith(words)
    assert score_lines({"heldout_gain_nats_per_bin": gain}, 0) == []


def test_the_candidates_are_shown_with_the_one_that_is_kept(invoke, pipeline, result, tmp_path):
    rows = [
        {
            "n_hidden": 0,
            "heldout_nats_per_bin": -8.5,
            "heldout_gain_nats_per_bin": 0.0,
            "heldout_gain_nats_per_bin_se": 0.0,
        },
        {
            "n_hidden": 1,
            "heldout_nats_per_bin": -8.25,
            "heldout_gain_nats_per_bin": 0.25,
            "heldout_gain_nats_per_bin_se": 0.02,
        },
    ]
    pipeline.infer = lambda *_, **__: [result(metrics={"candidates": rows, "heldout_nats_per_bin": float("nan")})]
    out = invoke("infer", "a.nwb", "-o", tmp_path / "out").stdout
    assert "+0.2500 ± 0.0200   ← kept" in out
    assert "held out:" not in out


def test_a_fit_that_did_not_converge_says_so():
    from spikefit.cli.summary import score_lines

    assert score_lines({"fit_s": 2.0, "converged": False}, 0) == ["not converged in 2.0 s"]


def test_json_is_the_content_of_metrics_json_and_nothing_else(invoke, pipeline, result, tmp_path):
    outcome = invoke("infer", "a.nwb", "-o", tmp_path / "out", "--json")
    assert json.loads(outcome.stdout) == json.loads(result().metrics_json())
    assert outcome.stderr == ""
    several = json.loads(invoke("infer", "a.nwb", "b.nwb", "-o", tmp_path / "out", "--json").stdout)
    assert [metrics["n_bins"] for metrics in several] == [60000, 60000]


def test_several_files_name_a_folder_each(invoke, pipeline, tmp_path):
    out = invoke("infer", "a.nwb", "b.nwb", "-o", tmp_path / "out").stdout
    assert f"results are in {tmp_path / 'out' / 'a'}/" in out
    assert f"results are in {tmp_path / 'out' / 'b'}/" in out


def test_quiet_says_nothing_and_progress_goes_to_stderr(invoke, pipeline, tmp_path):
    quiet = invoke("infer", "a.nwb", "-o", tmp_path / "out", "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")
    loud = invoke("infer", "a.nwb", "-o", tmp_path / "out")
    assert "fitting" in loud.stderr
    assert "fitting" not in loud.stdout


def test_a_dry_run_needs_no_out_and_fits_nothing(invoke, pipeline):
    assert invoke("infer", "a.nwb", "--dry-run").stdout == "60,000 bins\n10 bytes\n"
    assert json.loads(invoke("infer", "a.nwb", "--dry-run", "--json").stdout) == {"n_bins": 60000, "memory_bytes": 10}
    assert all("out" not in call for call in pipeline.calls)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a.nwb"], "-o OUT is missing"),
        (["-o", "out"], "Missing argument 'FILE...'"),
        (["a.nwb", "-o", "out", "--resume", "--overwrite"], "pass one of the two"),
        (
            ["a.nwb", "-o", "out", "--bin", "banana"],
            "--bin: expected a time such as 5ms, 0.1s, 2min or 1h, got 'banana'",
        ),
        (["a.nwb", "-o", "out", "--link", "softpus"], "'softpus' is not one of 'softplus', 'exp', 'sigmoid'"),
        (["a.nwb", "-o", "out", "--bim", "5ms"], "--bim"),
        (
            ["a.nwb", "-o", "out", "--bin", "10"],
            "the window (100ms) is shorter than one bin (10s); it must hold at least one bin; a bare number is seconds",
        ),
        (
            ["a.nwb", "-o", "out", "--significance", "wald"],
            "'wald' is not one of 'null', 'jitter', 'shift', 'trials', 'none'",
        ),
    ],
)
def test_wrong_use_is_told_before_any_work(invoke, pipeline, args, words):
    outcome = invoke("infer", *args)
    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert outcome.stdout == ""
    assert pipeline.calls == []


def test_a_config_with_faults_is_told_before_any_work(invoke, pipeline, tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text("binn: 5ms\ndraws: two\n")
    outcome = invoke("infer", "a.nwb", "-o", tmp_path / "out", "-c", path)
    assert outcome.exit_code == 3
    assert "lab.yaml has 2 faults" in outcome.stderr
    assert pipeline.calls == []


def test_file_environment_and_flags_meet(invoke, pipeline, tmp_path, monkeypatch):
    path = tmp_path / "lab.yaml"
    path.write_text("bin: 10ms\ndraws: 3\nseed: 1\n")
    monkeypatch.setenv("SPIKEFIT_CONFIG", str(path))
    monkeypatch.setenv("SPIKEFIT_DRAWS", "4")
    monkeypatch.setenv("SPIKEFIT_RESTART", "4")
    outcome = invoke("infer", "a.nwb", "-o", tmp_path / "out", "--seed", "7")
    (call,) = pipeline.calls
    assert [call["origin"][name] for name in ("bin", "draws", "seed")] == [
        "lab.yaml line 1",
        "environment SPIKEFIT_DRAWS",
        "flag --seed",
    ]
    assert "SPIKEFIT_RESTART sets nothing; did you mean SPIKEFIT_RESTARTS?" in outcome.stderr


def test_a_fault_while_the_bar_runs_leaves_a_clean_message(invoke, pipeline, tmp_path):
    def fail():
        raise RecordingError("a.nwb: no spikes.", hint="record some")

    pipeline.before = fail
    outcome = invoke("infer", "a.nwb", "-o", tmp_path / "out")
    assert outcome.exit_code == 4
    assert outcome.stderr.endswith("error: a.nwb: no spikes.\n  try: record some\n")
    assert "done in" not in outcome.stderr
