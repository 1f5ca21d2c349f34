"""Tables for people, on stdout."""

from __future__ import annotations

import io
import math
import shutil
import sys
from collections.abc import Sequence

import click

# Wide enough for a table in a log file, where no terminal says how wide it is.
_WIDTH_WITHOUT_TERMINAL = 110


def echo_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None, numbers: Sequence[int] = ()
) -> None:
    """Print a table.

    Args:
        columns: headings.
        rows: texts, one per column.
        title: a line above.
        numbers: columns that hold numbers, to be set flush right.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        # Ids come from files; they are text, never markup.
        table.add_row(*(Text(cell) for cell in row))
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((_WIDTH_WITHOUT_TERMINAL, 24)).columns if on_terminal else _WIDTH_WITHOUT_TERMINAL
    text = io.StringIO()
    console = Console(file=text, force_terminal=on_terminal, width=width, highlight=False, legacy_windows=False)
    console.print(table)
    if title:
        click.echo(title)
    # Trailing blanks only make a log hard to compare.
    click.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def plain_number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent where it can do without; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    return f"{value:,.{max(digits - 1 - size, 0)}f}" if -5 < size < 12 else f"{value:.{digits}g}"


def thousands(count: int) -> str:
    """A count that can be read: 214,331."""
    return f"{count:,}"
