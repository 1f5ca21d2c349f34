"""The parts of the page about the recording and where the result comes from."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.plots.activity import RATE, RATE_SE
from spikefit.report.goodness import HEADINGS
from spikefit.report.numbers import number
from spikefit.report.tables import Column, table_html
from spikefit.results import Result
from spikefit.results.documents import plain, to_yaml

Edges = NDArray[np.void]


def units(result: Result, _table: Edges) -> Markup:
    """Every unit of the recording, with the reason where one was dropped."""
    rows = result.units
    columns = [
        Column("unit", [escape(row.id) for row in rows], text=True),
        Column("kind", [row.kind for row in rows], text=True),
        Column("used", [Markup("yes") if row.kept else escape(f"no: {row.reason}") for row in rows], prose=True),
        Column("spikes", [number(row.n_spikes) for row in rows]),
        Column("rate, Hz", [number(row.rate_hz) for row in rows]),
    ]
    # Rates in free runs and goodness of fit have parts of the page of their own.
    elsewhere = {RATE, RATE_SE, *HEADINGS}
    for key in [key for key in dict.fromkeys(key for row in rows for key in row.columns) if key not in elsewhere][:8]:
        cells = [row.columns.get(key) for row in rows]
        columns.append(Column(key, [number(cell) for cell in cells], text=any(isinstance(cell, str) for cell in cells)))
    return table_html(columns, "units", scroll=True)


def provenance(result: Result, _table: Edges) -> Markup:
    """The command, versions, metrics and configuration."""
    parts = []
    argv = result.provenance.get("argv")
    if isinstance(argv, list | tuple) and argv:
        # The path of the program is of this machine; its name is what one types.
        program = PurePath(str(argv[0]))
        first = ["python", "-m", "spikefit"] if program.name == "__main__.py" else [program.name]
        command = shlex.join([*first, *(str(word) for word in argv[1:])])
        parts.append(Markup("<p>The command that made this result:</p><pre>{}</pre>").format(command))
    flat = list(_flat(plain({k: v for k, v in result.provenance.items() if k != "argv"})))
    if flat:
        columns = [
            Column("what", [escape(key) for key, _ in flat], text=True),
            Column("value", [number(value, 6) for _, value in flat], prose=True),
        ]
        parts.append(table_html(columns, "provenance", scroll=True))
    numbers = [(key, value) for key, value in _flat(plain(result.metrics)) if not isinstance(value, list)]
    if numbers:
        columns = [
            Column("measure", [escape(key) for key, _ in numbers], text=True),
            Column("value", [number(value, 6) for _, value in numbers], prose=True),
        ]
        parts.append(
            Markup("<details><summary>All of metrics.json</summary>{}</details>").format(table_html(columns, "metrics"))
        )
    if result.config:
        text = to_yaml(result.config)
        parts.append(Markup("<details><summary>Configuration</summary><pre>{}</pre></details>").format(text))
    return Markup("").join(parts)


def _flat(value: Any, path: str = "") -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, ", ".join(str(item) for item in value)
    else:
        yield path, value
