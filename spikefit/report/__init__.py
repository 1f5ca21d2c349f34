"""One self-contained page about a result, made from the result files alone.

The page needs no network and no script: scripts only add hovering, sorting and reordering. Every number carries its full
value in the page (`<data value="…">`), so that what is read there is what the files hold.
"""

from __future__ import annotations

from pathlib import Path

from spikefit.files import write_text
from spikefit.report.page import report_html
from spikefit.results import Result

__all__ = ["report_html", "write_report"]


def write_report(result: Result, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        SpikefitError: if the disk is full or the folder cannot be written to.
    """
    write_text(path, report_html(result))
