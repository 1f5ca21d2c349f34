import json

import h5py
import pytest

from spikefit.report import report_html
from spikefit.results import load_result


@pytest.fixture
def folder(result, tmp_path):
    argv = ["/opt/bin/spikefit", "infer", "my session.nwb", "-o", "res"]
    provenance = {"argv": argv, "input": {"name": "my session.nwb"}}
    return result(provenance=provenance).save(tmp_path / "res", figures=False)


# -- report --------------------------------------------------------------------------------------------------------


def test_the_page_is_made_again_in_the_folder(invoke, folder):
    page = folder / "report.html"
    page.write_text("of an earlier version")
    for source in (folder, folder / "connectivity.h5"):
        outcome = invoke("report", source)
        assert outcome.exit_code == 0, outcome.output
        assert outcome.stdout == f"{page}: open it in a browser; it needs no network\n"
        assert page.read_text(encoding="utf-8") == report_html(load_result(folder))
        page.write_text("again")


def test_a_page_that_was_made_again_raises_no_doubt(invoke, result, tmp_path):
    folder = result().save(
        tmp_path / "res", figures=False, further={"report.html": lambda path: path.write_text("earlier")}
    )
    assert invoke("report", folder, "-q").output == ""
    assert load_result(folder).warnings == result().warnings


def test_the_page_goes_where_it_is_wanted(invoke, folder, tmp_path):
    page = tmp_path / "new" / "page.html"
    assert invoke("report", folder, "-o", page).exit_code == 0
    assert not (folder / "report.html").exists()
    assert "<html" in page.read_text(encoding="utf-8")
    page.write_text("mine")
    outcome = invoke("report", folder, "-o", page)
    assert outcome.exit_code == 2
    assert "is there already; it was left as it is" in outcome.stderr
    assert page.read_text() == "mine"
    assert invoke("report", folder, "-o", page, "--overwrite").exit_code == 0
    assert page.read_text(encoding="utf-8") == report_html(load_result(folder))


def test_a_result_file_of_another_name_needs_a_place_for_its_page(invoke, folder, tmp_path):
    lone = tmp_path / "of monday.h5"
    lone.write_bytes((folder / "connectivity.h5").read_bytes())
    outcome = invoke("report", lone)
    assert outcome.exit_code == 2
    assert "-o FILE is missing" in outcome.stderr
    assert invoke("report", lone, "-o", tmp_path / "monday.html").exit_code == 0


def test_figures_are_drawn_beside_the_page(invoke, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("spikefit.plots.style.DPI", 40)
    outcome = invoke("report", folder, "--figures", "png, svg")
    assert outcome.exit_code == 0, outcome.output
    assert "figures beside it: connectivity.png, connectivity.svg" in outcome.stdout
    assert (folder / "connectivity.svg").read_text().startswith("<?xml")
    assert load_result(folder).warnings == ("unit c has 300 spikes",)
    elsewhere = tmp_path / "new" / "page.html"
    assert invoke("report", folder, "-o", elsewhere, "--figures", "pdf").exit_code == 0
    assert (elsewhere.parent / "connectivity.pdf").read_bytes().startswith(b"%PDF")
    wrong = invoke("report", folder, "--figures", "jpeg")
    assert wrong.exit_code == 2
    assert "cannot be drawn as 'jpeg'" in wrong.stderr


def test_what_cannot_be_a_page(invoke, folder, tmp_path):
    (tmp_path / "text").write_text("x")
    for out, words in (
        (tmp_path, "is a folder; the page is a file"),
        (tmp_path / "text" / "page.html", "a part of this path is a file"),
        (folder / "edges.csv", "is part of a result"),
    ):
        outcome = invoke("report", folder, "-o", out, "--overwrite")
        assert outcome.exit_code == 2, outcome.output
        assert words in outcome.stderr


def test_what_is_no_result_ends_with_4(invoke, tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        outcome = invoke("report", path)
        assert outcome.exit_code == 4
        assert outcome.stderr.startswith("error: ")
        assert "  try: " in outcome.stderr
    assert list(tmp_path.iterdir()) == []


# -- inspect, of a result ------------------------------------------------------------------------------------------


def test_inspect_tells_what_a_result_is(invoke, folder):
    outcome = invoke("inspect", folder)
    assert outcome.exit_code == 0, outcome.output
    first, command, units, *rest = outcome.stdout.splitlines()
    assert first.startswith(f"{folder}: a result of spikefit ")
    assert first.endswith(" UTC from my session.nwb")
    assert command == "command: spikefit infer 'my session.nwb' -o res"
    assert units == ("3 recorded + 1 hidden units (1 left out: d: no spikes), 60,000 bins of 5 ms, history 10 ms")
    assert "held out: -8.2500 nats per bin; +0.125 ± 0.010 bits per spike over constant rates" in rest
    assert "edges: 12 ordered pairs with a weight each; no q-values were computed" in rest
    assert "warning: unit c has 300 spikes" in rest
    (files,) = [line for line in rest if line.startswith("files: ")]
    assert files.startswith("files: connectivity.h5 (")
    assert all(path.name in files for path in folder.iterdir())
    assert outcome.stderr == ""


def test_inspect_counts_the_called_edges(invoke, result, tmp_path):
    import numpy as np

    q = np.full((4, 4), np.nan)
    q[:3, :3] = [[0.0, 0.01, 0.9], [0.04, 0.0, 0.06], [0.5, np.nan, 0.0]]
    folder = result(q_value=q).save(tmp_path / "res", figures=False)
    assert "edges: 2 of 5 ordered pairs at q ≤ 0.05" in invoke("inspect", folder).stdout


def test_inspect_gives_a_result_as_json(invoke, folder):
    for source in (folder, folder / "connectivity.h5"):
        found = json.loads(invoke("inspect", source, "--json").stdout)
        assert found["format"] == "spikefit-connectivity"
        assert (found["n_visible"], found["n_hidden"], found["bin_width_s"]) == (3, 1, 0.005)
        assert found["metrics"]["heldout_nats_per_bin"] == -8.25
        assert found["warnings"] == ["unit c has 300 spikes"]
        assert found["dropped_units"] == [{"id": "d", "reason": "no spikes"}]
        assert found["files"]["connectivity.h5"] == (folder / "connectivity.h5").stat().st_size


def test_inspect_of_a_bare_result_needs_no_metrics(invoke, result, tmp_path):
    folder = result(metrics={}, warnings=()).save(tmp_path / "res", figures=False)
    outcome = invoke("inspect", folder)
    assert outcome.exit_code == 0, outcome.output
    assert "from session\n" in outcome.stdout
    assert "held out" not in outcome.stdout


def test_inspect_refuses_what_makes_no_sense_with_a_result(invoke, folder):
    outcome = invoke("inspect", folder, "--min-spikes", "5")
    assert outcome.exit_code == 2
    assert "is a result, and --min-spikes chooses in a recording: leave it out" in outcome.stderr


def test_inspect_of_a_damaged_half_or_several_results_ends_with_4(invoke, folder, tmp_path):
    outcome = invoke("inspect", tmp_path)
    assert (outcome.exit_code, "is no result itself but holds 1 (res)" in outcome.stderr) == (4, True)
    with h5py.File(folder / "connectivity.h5", "a") as file:
        file["connectivity"][0, 1] = 7
    outcome = invoke("inspect", folder)
    assert (outcome.exit_code, "does not match its checksum" in outcome.stderr) == (4, True)
    (folder / "connectivity.h5").unlink()
    outcome = invoke("inspect", folder)
    assert (outcome.exit_code, "holds half a result" in outcome.stderr) == (4, True)
