"""The page holds the numbers of the files, whole and escaped, and only the parts that have data."""

from __future__ import annotations

import csv
import dataclasses
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from spikefit.report import report_html, write_report
from spikefit.report.charts import Line, line_chart, ticks
from spikefit.report.matrix import MAX_UNITS, orders, shown_units
from spikefit.report.numbers import number, shown
from spikefit.results import load_result


class Page(HTMLParser):
    """Sections by id, tables by caption as rows of full values, and everything that is asked for from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.outside: list[str] = []
        self.words: list[str] = []
        self._caption: str | None = None
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "section":
            self.sections.append(given["id"])
        self.outside += [v for k, v in attrs if k in ("src", "href", "action") and not v.startswith(("#", "data:"))]
        if tag == "caption":
            self._caption = ""
        if tag == "tr" and self._caption is not None:
            self.tables.setdefault(self._caption, []).append([])
        if tag in ("td", "th") and self._caption is not None:
            self.tables[self._caption][-1].append("")
        if tag == "data":
            self.tables.setdefault(self._caption or "", [[""]])[-1][-1] = given["value"]
        self._tag = tag

    def handle_data(self, data):
        if self._tag == "caption":
            self._caption = (self._caption or "") + data
        elif self._tag in ("td", "th") and self._caption is not None:
            self.tables[self._caption][-1][-1] += data
        if self._tag not in ("script", "style"):
            self.words.append(data)

    def handle_endtag(self, tag):
        self._tag = ""
        if tag == "table":
            self._caption = None


def significant(make_result, **changes):
    q = np.full((8, 8), 0.4)
    q[1, 2] = q[3, 0] = q[5, 6] = 0.01
    return make_result(q_value=q, p_value=q / 3, **changes)


def test_every_number_of_the_tables_is_the_one_in_the_files(make_result, tmp_path):
    metrics = {
        "heldout_nats_per_bin": -8.512345678901234,
        "h0_heldout_nats_per_bin": -8.6,
        "n_bins": 40000,
        "candidates": [
            {"n_hidden": 0, "heldout_nats_per_bin": -8.6},
            {"n_hidden": 2, "heldout_nats_per_bin": -8.512345678901234, "heldout_gain_nats_per_bin": 0.0876},
        ],
    }
    history = {"restart_0_heldout": np.array([-9.0, -8.5123, -8.6]), "restart_1_heldout": np.array([-9.0, -8.9])}
    out = significant(make_result, metrics=metrics, history=history).save(tmp_path / "out", figures=False)
    page = Page(report_html(load_result(out)))
    with (out / "edges.csv").open(newline="") as handle:
        edges = {(row["pre_id"], row["post_id"]): row for row in csv.DictReader(handle)}
    head, *rows = page.tables["strongest couplings"]
    assert head[:3] == ["sender", "receiver", "weight, drive per spike"]
    assert len(rows) == 56
    for row in rows:
        file = edges[row[0], row[1]]
        keys = ("weight", "std_error", "ci_low", "ci_high", "p_value", "q_value")
        assert [float(cell) for cell in row[2:8]] == [float(file[key]) for key in keys]
        assert float(row[8]) == pytest.approx(float(file["peak_lag_s"]) * 1e3, rel=1e-12)
        assert row[9:] == [file["n_pre_spikes"], file["n_post_spikes"]]
    with (out / "units.csv").open(newline="") as handle:
        units = {row["id"]: row for row in csv.DictReader(handle)}
    for row in page.tables["units"][1:]:
        assert row[3] == units[row[0]]["n_spikes"]
        assert float(row[4]) == float(units[row[0]]["rate_hz"])
        assert row[2] == ("yes" if units[row[0]]["kept"] == "true" else f"no: {units[row[0]]['reason']}")
    on_disk = json.loads((out / "metrics.json").read_text())
    scores = {row[0]: float(row[1]) for row in page.tables["held-out scores"][1:]}
    assert scores == {"this fit": on_disk["heldout_nats_per_bin"], "without hidden units": -8.6}
    assert [[float(cell) for cell in row] for row in page.tables["restarts"][1:]] == [[0, -8.5123, 1], [1, -8.9, 1]]
    tried = page.tables["hidden units tried"][1:]
    assert [(row[0], float(row[1]), row[5]) for row in tried] == [
        ("0", -8.6, ""),
        ("2", on_disk["heldout_nats_per_bin"], "yes"),
    ]
    data = json.loads(re.search(r'id="matrix-data">(.*?)</script>', report_html(load_result(out)), re.S)[1])
    for (pre, post), file in edges.items():
        assert data["weight"][data["ids"].index(post)][data["ids"].index(pre)] == float(file["weight"])


def test_a_part_appears_when_its_data_are_there(make_result):
    assert Page(report_html(significant(make_result))).sections == [
        *("summary", "matrix", "network", "edges", "filters"),
        *("covariates", "hidden", "training", "units", "provenance"),
    ]
    bare = make_result(1, 0, history={}, metrics={}, provenance={}, config={}, warnings=(), covariates=None)
    assert Page(report_html(bare)).sections == ["summary", "units"]
    without = Page(report_html(make_result()))
    assert "network" not in without.sections
    assert "No significance was computed" in " ".join(without.words)


@pytest.mark.parametrize(
    ("gain", "error", "words"),
    [
        (0.3, 0.1, "the data speak for units"),
        (0.15, 0.1, "less than twice its standard error"),
        (-0.2, 0.1, "do not ask for hidden units"),
        (0.2, None, "the data speak for units"),
    ],
)
def test_hidden_units_are_judged_by_their_gain(make_result, gain, error, words):
    metrics = {"heldout_gain_nats_per_bin": gain, "heldout_gain_se": error}
    assert words in " ".join(Page(report_html(make_result(metrics=metrics))).words)
    assert words not in report_html(make_result(3, 0, metrics=metrics))


def test_a_fit_that_did_not_converge_says_so(make_result):
    assert "did not converge" in report_html(make_result(metrics={"converged": False}))
    assert "did not converge" not in report_html(make_result())


def test_nothing_is_loaded_from_elsewhere_and_nothing_escapes(make_result):
    nasty = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&b", "c'd", "e\u2028f", "<b>")
    text = report_html(significant(make_result, ids=nasty, name="<h1>x", warnings=("<i>w</i>",)))
    page = Page(text)
    assert page.outside == []
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", text.replace("http://www.w3.org/2000/svg", ""))


def test_the_command_is_quoted_so_that_it_can_be_typed_again(make_result):
    provenance = {"argv": ["/opt/venv/bin/spikefit", "infer", "my file.nwb", "-o", "it's"]}
    words = " ".join(Page(report_html(make_result(provenance=provenance))).words)
    assert "spikefit infer 'my file.nwb' -o 'it'\"'\"'s'" in words


def test_a_result_full_of_holes_still_makes_a_page(make_result):
    hole = np.full((4, 4), np.nan)
    filters = np.full((4, 4, 10), np.nan)
    history = {"objective": np.array([np.nan, np.inf]), "heldout": np.array([]), "newton_decrement": np.zeros(3)}
    text = report_html(make_result(3, 1, connectivity=hole, coupling_filters=filters, history=history, n_bins=1))
    text = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b|NaN", text)


def test_large_results_show_their_strongest_units(make_result, tmp_path):
    result = make_result(250, 3, n_lags=2)
    units = shown_units(result)
    assert len(units) == MAX_UNITS
    assert units[-3:] == [250, 251, 252]
    size = np.abs(result.connectivity)
    np.fill_diagonal(size, 0)
    assert set(np.unravel_index(np.argmax(size), size.shape)) <= set(units)
    write_report(result, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5e6
    assert "Shown are the" in (tmp_path / "report.html").read_text()


def test_units_can_be_ordered_by_likeness_and_by_their_columns(make_result):
    found = orders(make_result(), list(range(8)))
    assert list(found) == ["as recorded", "by similarity", "by region"]
    for order in found.values():
        assert sorted(order) == list(range(8))
        assert order[6:] == [6, 7]  # hidden units keep their place
    assert found["by region"][:6] == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-2, "−2"),
        (1234567, "1\u202f234\u202f567"),
        (123456.0, "123456"),
        (1e-9, "1e−09"),
        (float("nan"), "–"),
        (float("-inf"), "−∞"),
        (True, "yes"),
    ],
)
def test_numbers_are_short_for_people(value, text):
    assert shown(value) == text


def test_and_whole_for_machines():
    assert str(number(np.float32(0.1))) == '<data value="0.10000000149011612">0.1</data>'
    assert str(number(None)) == '<span class="unknown">–</span>'
    assert str(number("<x>")) == "&lt;x&gt;"


@pytest.mark.parametrize(("low", "high"), [(0, 15), (-0.31, 0.02), (1e-7, 2e-7), (4397.2, 9981.0), (-1e9, 1e9)])
def test_ticks_are_round_inside_and_told_apart(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 11
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in found)
    chart = line_chart(
        [Line(np.array([low, high]), np.array([0.0, 1.0]), "", "x")], title="t", x_label="x", y_label="y"
    )
    texts = re.findall(r'text-anchor="middle">([^<]+)</text>', chart)[:-2]
    assert [float(text.replace("−", "-")) for text in texts] == pytest.approx(ticks(low, high, 6), rel=1e-9, abs=1e-12)


def test_a_chart_without_points_is_nothing():
    assert line_chart([Line(np.zeros(0), np.zeros(0), "", "x")], title="t", x_label="x", y_label="y") == ""


def test_free_runs_have_a_part_of_their_own(make_result, add_free_runs):
    assert "simulated" not in Page(report_html(make_result())).sections
    result = add_free_runs(make_result())
    page = Page(report_html(result))
    assert "simulated" in page.sections
    rows = page.tables["recorded and simulated rates"][1:]
    for cells, row in zip(rows, result.unit_rows, strict=False):
        assert [float(cells[1]), float(cells[2])] == [row.rate_hz, row.columns["simulated_rate_hz"]]
    assert len(rows) == result.n_visible
    words = "".join(page.words)
    assert "7 runs the activity ran away" in words
    assert "simulated_rate_hz" not in words.partition("Where this comes from")[0]


def test_every_spike_of_the_excerpt_is_in_the_raster(make_result, make_excerpt):
    from spikefit.report.raster import raster_svg

    result = make_result(excerpt=make_excerpt(6), ids=("<b>", "u2", "ü3", "4", "5", "6"))
    svg = str(raster_svg(result))
    drawn = re.findall(r'class="spike" d="([^"]*)"', svg)
    assert [path.count("M") for path in drawn] == [5 + k for k in range(6)]
    first = float(re.match(r"M([\d.]+) ", drawn[0])[1])
    last = max(float(x) for x in re.findall(r"M([\d.]+) ", drawn[5]))
    left, right = (float(x) for x in re.search(r'class="axis" d="M([\d.]+) [\d.]+V[\d.]+H(\d+)"', svg).groups())
    at = lambda time_s: left + (time_s - 1.0) / 2.0 * (right - left)  # noqa: E731
    assert first == pytest.approx(at(result.excerpt.spike_time_s[0]), abs=0.06)
    assert last == pytest.approx(at(result.excerpt.spike_time_s[-1]), abs=0.06)
    assert svg.count("hiddenline") == 2
    assert "&lt;b&gt;" in svg
    assert "vary most" in report_html(result)
    assert "vary most" not in report_html(make_result())


def test_recorded_pairs_keep_their_room_among_the_filters(make_result):
    filters = make_result().coupling_filters.copy()
    filters[:, 6:] *= 100
    result = make_result(coupling_filters=filters, connectivity=filters.sum(-1))
    titles = re.findall(r"aria-label=\"coupling filter (\S+) → (\S+)\"", report_html(result))
    with_hidden = ["hidden" in pre + post for pre, post in titles]
    assert with_hidden == [False] * 8 + [True] * 4


def test_the_headline_is_the_strongest_edge_and_not_a_larger_coupling_that_is_none(make_result):
    result = make_result()
    n = result.n_units
    weights, q = np.zeros((n, n)), np.full((n, n), np.nan)
    visible = result.n_visible
    q[:visible, :visible] = 0.9
    np.fill_diagonal(q, np.nan)
    weights[0, 1], weights[1, 0] = -5.0, 0.75
    q[1, 0] = 0.01

    def headline(q_value):
        changed = dataclasses.replace(result, connectivity=weights, p_value=q_value / 2, q_value=q_value)
        return " ".join(html.unescape(re.sub("<[^>]+>", "", report_html(changed))).split())

    ids = result.unit_id
    assert f"The strongest of them is {ids[0]} → {ids[1]} (+0.75 drive per spike)" in headline(q)
    none = np.where(np.isfinite(q), 0.9, np.nan)
    assert (
        f"Even the largest coupling, {ids[1]} → {ids[0]} (−5 drive per spike), cannot be told from none."
        in headline(none)
    )


def test_the_summary_says_how_strong_a_coupling_must_be_to_be_called(make_result):
    metrics = {**make_result().metrics, "detectable_weight": 12.5}
    none = make_result(q_value=np.ones((8, 8)), metrics=metrics)
    assert "A coupling of the median pair would be called from" in report_html(none)
    assert "this recording cannot show weaker ones" in report_html(none)
    called = significant(make_result, metrics=metrics)
    assert "would be called from" in report_html(called)
    assert "cannot show weaker ones" not in report_html(called)
    assert "would be called from" not in report_html(significant(make_result))
    assert "would be called from" not in report_html(make_result(metrics=metrics))  # nothing was tested
