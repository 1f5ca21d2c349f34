"""The page put together from its parts, its style and its script."""

from __future__ import annotations

from importlib import resources
from typing import Any

from spikefit.report.sections import sections_of
from spikefit.results import Result


def report_html(result: Result) -> str:
    """The whole page as one text."""
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
        name=result.name,
        what=f"{result.n_visible} recorded and {result.n_hidden} hidden units",
        sections=sections_of(result),
        style=asset("page.css"),
        script=asset("page.js"),
    )
