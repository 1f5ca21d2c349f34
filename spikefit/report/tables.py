"""Tables that sort by a click where scripts run, and read well where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading, with the unit.
        cells: its cells as HTML; plain text is escaped.
        text: whether it holds words, which stand on the left; numbers stand on the right.
        prose: whether the words may run over several lines.
    """

    title: str
    cells: Sequence[str]
    text: bool = False
    prose: bool = False

    @property
    def style(self) -> Markup:
        """The class attribute of its cells."""
        names = [name for name, on in (("text", self.text or self.prose), ("prose", self.prose)) if on]
        return Markup(' class="{}"').format(" ".join(names)) if names else Markup("")


def table_html(columns: Sequence[Column], caption: str, *, scroll: bool = False) -> Markup:
    """A table; the caption is for screen readers, `scroll` keeps a long one in a box of its own."""
    heads = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(column.style, column.title) for column in columns
    )
    lines = []
    for cells in zip(*(column.cells for column in columns), strict=True):
        row = Markup("").join(
            Markup("<td{}>{}</td>").format(column.style, cell) for column, cell in zip(columns, cells, strict=True)
        )
        lines.append(Markup("<tr>{}</tr>").format(row))
    table = Markup("<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>")
    box = Markup('<div class="box{}" tabindex="0" role="region" aria-label="{}">{}</div>')
    return box.format(" long" if scroll else "", caption, table.format(caption, heads, Markup("").join(lines)))
