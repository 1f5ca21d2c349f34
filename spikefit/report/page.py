"""The page put together from its parts, its style and its script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from spikefit.report.sections import Section, sections_of
from spikefit.results import Result


def report_html(result: Result) -> str:
    """The whole page about a result as one text."""
    what = f"{result.n_visible} recorded and {result.n_hidden} hidden units"
    return page_html(
        sections_of(result),
        name=result.name,
        title=f"{result.name}: connectivity",
        about=f"Connectivity of {what}, inferred by spikefit",
    )


def page_html(sections: Sequence[Section], *, name: str, title: str, about: str) -> str:
    """A page in the style of the report.

    Args:
        sections: its parts.
        name: its heading.
        title: what the browser's tab says.
        about: the line under the heading.
    """
    import jinja2
    from markupsafe import Markup

    def asset(name: str) -> Any:
        text = resources.files("spikefit.report").joinpath("templates", name).read_text(encoding="utf-8")
        return Markup(text)

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spikefit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        name=name,
        title=title,
        about=about,
        sections=sections,
        style=asset("page.css"),
        script=asset("page.js"),
    )
