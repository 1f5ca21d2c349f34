"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column reads to the left and whose others read to the right."""
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---", *["---:"] * (len(header) - 1)]) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def seconds(value: float) -> str:
    """Two significant digits, in the unit that reads best."""
    return f"{value * 1e3:.2g} ms" if value < 0.0995 else f"{value:.2f} s" if value < 0.995 else f"{value:.1f} s"


def megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB" if value < 0.9995e9 else f"{value / 1e9:.1f} GB"
