"""The page in a real browser: no errors, no sideways scrolling, hovering tells the right pair, sorting sorts."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from spikefit.report import report_html

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

# The page stands in a frame of the width asked for, because a window of Chromium is never narrower than 500 pixels. This
# runs after the page's own script and leaves what it saw round the frame, from where --dump-dom brings it out.
PROBE = """
<script>
window.addEventListener("load", function () {
  const seen = { inner: window.innerWidth, wide: document.documentElement.scrollWidth - document.documentElement.clientWidth, hover: {}, keys: [] };
  const svg = document.getElementById("matrix-figure"), box = document.getElementById("cells");
  const readout = document.getElementById("readout");
  const data = JSON.parse(document.getElementById("matrix-data").textContent), n = data.ids.length;
  const left = +svg.dataset.left, top = +svg.dataset.top, cell = +svg.dataset.side / n;
  function hover(row, column) {
    const at = new DOMPoint(left + (column + .5) * cell, top + (row + .5) * cell).matrixTransform(svg.getScreenCTM());
    svg.dispatchEvent(new MouseEvent("mousemove", { clientX: at.x, clientY: at.y, bubbles: true }));
    return readout.textContent;
  }
  for (const [r, c] of [[0, 1], [1, 0], [n - 1, 0], [2, 2]]) seen.hover[r + "," + c] = hover(r, c);
  const choice = document.getElementById("order");
  seen.orders = Array.from(choice.options, (o) => o.value);
  seen.cells = box.children.length;
  choice.value = "by region"; choice.dispatchEvent(new Event("change"));
  seen.cellsAfter = box.children.length;
  seen.rows = Array.from(document.getElementById("rows").children, (t) => t.textContent);
  seen.hoverAfter = hover(0, 1);
  svg.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
  seen.key = readout.textContent;
  const table = document.querySelector("#edges table"), heads = table.querySelectorAll("th button");
  const column = (k) => Array.from(table.tBodies[0].rows, (r) => r.cells[k].querySelector("data").value);
  heads[2].click(); seen.falling = column(2);
  heads[2].click(); seen.rising = column(2);
  const out = document.createElement("pre");
  out.id = "seen"; out.textContent = JSON.stringify(seen);
  parent.document.body.append(out);
});
</script>
"""


def visit(page) -> tuple[dict, str]:
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--virtual-time-budget=4000",
    ]
    done = subprocess.run(
        [
            *command,
            "--window-size=1400,900",
            f"--user-data-dir={page.parent / 'profile'}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1])), "\n".join(
        line for line in done.stderr.splitlines() if "CONSOLE" in line
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_works_in_a_browser(make_result, make_excerpt, add_free_runs, tmp_path, width):
    q = np.full((8, 8), 0.4)
    q[1, 2] = 0.01
    ids = ("a long unit id, quite long", "u2", "ü3", "<4>", "5", "6")
    result = add_free_runs(make_result(q_value=q, ids=ids, excerpt=make_excerpt(6)))
    page = tmp_path / "report.html"
    inner = html.escape(report_html(result).replace("</body>", PROBE + "</body>"))
    frame = f'<iframe style="width:{width}px;height:800px;border:0" srcdoc="{inner}"></iframe>'
    page.write_text(f"<!doctype html><meta charset='utf-8'><body style='margin:0'>{frame}</body>", encoding="utf-8")
    seen, console = visit(page)
    assert console == ""
    assert seen["inner"] == width
    assert seen["wide"] <= 0, "the page scrolls sideways"

    def told(row: int, column: int, order=range(8)) -> str:
        post, pre = order[row], order[column]
        return f"{result.unit_id[pre]} → {result.unit_id[post]}: {_js(result.connectivity[post, pre])} drive per spike"

    for place, text in seen["hover"].items():
        row, column = map(int, place.split(","))
        if row == column:
            assert text.startswith("ü3, history on itself: ")
        else:
            assert text.startswith(told(row, column)), text
            assert f"q = {0.01 if (row, column) == (1, 2) else 0.4}" in text
    by_region = [0, 2, 4, 1, 3, 5, 6, 7]
    assert seen["orders"] == ["as recorded", "by similarity", "by region"]
    assert seen["cells"] == seen["cellsAfter"]
    assert seen["rows"] == [result.unit_id[k] for k in by_region]
    assert seen["hoverAfter"].startswith(told(0, 1, by_region))
    assert seen["key"].startswith(f"{result.unit_id[by_region[1]]}, history on itself")
    weights = [float(value) for value in seen["falling"]]
    assert weights == sorted(weights, reverse=True)
    assert [float(value) for value in seen["rising"]] == sorted(weights)


WIDE = """
<script>
window.addEventListener("load", function () {
  const out = document.createElement("pre"), root = document.documentElement;
  out.id = "seen"; out.textContent = JSON.stringify({ inner: window.innerWidth, wide: root.scrollWidth - root.clientWidth });
  parent.document.body.append(out);
});
</script>
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_comparison_works_in_a_browser(make_result, tmp_path, width):
    import spikefit
    from spikefit.comparison.page import comparison_html

    text = comparison_html(spikefit.compare(*(make_result(seed=k, name=f"a rather long name {k}") for k in range(3))))
    page = tmp_path / "comparison.html"
    inner = html.escape(text.replace("</body>", WIDE + "</body>"))
    frame = f'<iframe style="width:{width}px;height:800px;border:0" srcdoc="{inner}"></iframe>'
    page.write_text(f"<!doctype html><meta charset='utf-8'><body style='margin:0'>{frame}</body>", encoding="utf-8")
    seen, console = visit(page)
    assert console == ""
    assert seen["inner"] == width
    assert seen["wide"] <= 0, "the page scrolls sideways"


def _js(value: float) -> str:
    """A number as the page's script shows it: three significant digits."""
    text = f"{float(f'{value:.3g}'):+g}"
    return text.replace("-", "−")
