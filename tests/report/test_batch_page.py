"""The page about a batch: every job stands in it, every link leads to its report, and nothing in a name is taken for HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from spikefit.report.batch_page import batch_page


def row(name, status="done", **changes):
    scores = {
        "n_visible": 6, "n_hidden": 1, "n_bins": 3000, "heldout_bits_per_spike": 0.123456789,
        "heldout_nats_per_bin": -1.5, "n_edges": None, "converged": True, "n_warnings": 0, "wall_s": 3.5,
    }  # fmt: skip
    known = {"name": name, "status": status, "folder": name, "recording": f"/d/{name}.nwb", "reason": "", "hint": ""}
    if status != "done":
        scores = dict.fromkeys(scores)
    return known | scores | changes


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        self.words.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


def test_every_job_stands_in_it_and_links_lead_to_reports():
    odd = 'a b%"#<x>'
    rows = [row("first", folder="elsewhere"), row(odd), row("c", "failed", reason="c: no <b>spikes</b>", hint="record")]
    reader = read(batch_page("night & day", rows, []))
    assert [unquote(link) for link in reader.links] == ["elsewhere/report.html", f"{odd}/report.html"]
    text = "".join(reader.words)
    for words in ("night & day", odd, "c: no <b>spikes</b>", "3 fits by spikefit batch: 2 done, 1 failed"):
        assert words in text
    assert not {"b", "x"} & set(reader.tags)
    assert "Run the same command again with --only-failed" in text


def test_numbers_stand_there_in_full():
    page = batch_page("x", [row("a")], [])
    assert '<data value="0.123456789">0.123</data>' in page
    assert "edges at q" not in page
    assert "edges at q" in batch_page("x", [row("a", n_edges=3)], [])


def test_what_was_varied_has_a_column():
    page = batch_page("x", [row("a", ridge="1"), row("b", ridge="10")], ["ridge"])
    assert re.search(r"<th[^>]*>ridge</th>", page)


@pytest.mark.parametrize("rows", [[], [row("a")], [row("a", "failed")], [row("a", "stopped"), row("b", "not run")]])
def test_it_needs_nothing_else(rows):
    page = batch_page("x", rows, [])
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page)
    assert ('<h2 id="finished-title">' in page) == any(r["status"] == "done" for r in rows)


def test_a_fit_that_failed_by_not_converging_keeps_its_numbers():
    failed = row("a") | {"status": "failed", "reason": "the fit did not converge"}
    page = batch_page("x", [failed], [])
    assert "did not converge" in page
    assert 'href="a/report.html"' in page
