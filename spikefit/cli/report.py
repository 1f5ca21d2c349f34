"""`spikefit report`: the page about a result, made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spikefit.cli.options import SpikefitCommand, overwrite_option, quiet_and_verbose

if TYPE_CHECKING:
    from spikefit.results import Result

PAGE, MAIN_FILE = "report.html", "connectivity.h5"


@click.command("report", cls=SpikefitCommand)
@click.argument("result_path", metavar="RESULT", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The page to write.  [default: report.html in the result folder, which is replaced]",
)
@click.option(
    "--figures",
    metavar="FORMATS",
    help="Also draw the figures beside the page, in some of png, svg and pdf with commas between.  [default: none]",
)
@overwrite_option
@quiet_and_verbose
@click.pass_context
def command(
    ctx: click.Context, /, result_path: Path, out: Path | None, figures: str | None, overwrite: bool, quiet: bool
) -> None:
    """Make the page about a result again, one HTML file that needs nothing else.

    RESULT is the folder that `spikefit infer` left, or its connectivity.h5, from which alone the page is made. Print the
    page from a browser for a PDF. --figures draws the figures again, beside the page.
    """
    if out is None and result_path.is_file() and result_path.name != MAIN_FILE:
        ctx.fail(f"-o FILE is missing: {result_path.name} lies in no result folder of its own")

    from spikefit.cli.guard import show_warning
    from spikefit.errors import UsageError
    from spikefit.exporters.protection import refuse_to_replace_originals
    from spikefit.files import make_room_for
    from spikefit.report import write_report
    from spikefit.results import doubts_of_opening, load_result

    formats = _formats(figures)
    result: Result = load_result(result_path)
    for text in () if quiet else doubts_of_opening(result):
        show_warning(text)
    page = out or (result_path if result_path.is_dir() else result_path.parent) / PAGE
    if page.is_dir():
        raise UsageError(f"{page} is a folder; the page is a file.", hint=f"pass -o {page / PAGE}")
    if out is not None:
        refuse_to_replace_originals(page, result)
        if page.exists() and not overwrite:
            raise UsageError(f"{page} is there already; it was left as it is.", hint="pass --overwrite, or another -o")
    make_room_for(page)
    beside = _figures(result, page.parent, formats, overwrite or out is None)
    write_report(result, page)
    if not quiet:
        click.echo(f"{page}: open it in a browser; it needs no network")
        if beside:
            click.echo(f"figures beside it: {', '.join(beside)}")


def _formats(text: str | None) -> tuple[str, ...]:
    from spikefit.errors import UsageError
    from spikefit.results.layout import FIGURE_FORMATS

    words = tuple(dict.fromkeys(word.strip().lower() for word in (text or "").split(",") if word.strip()))
    wrong = [word for word in words if word not in FIGURE_FORMATS and words != ("none",)]
    if wrong:
        raise UsageError(f"figures cannot be drawn as {wrong[0]!r}.", hint=f"choose from {', '.join(FIGURE_FORMATS)}")
    return () if words == ("none",) else words


def _figures(result: Result, folder: Path, formats: tuple[str, ...], replace: bool) -> list[str]:
    """Draw the figures into a folder; those that are there stay unless they may be replaced."""
    from spikefit.errors import UsageError
    from spikefit.files import replacing
    from spikefit.plots import figures_of, save_figure

    names = [f"{stem}.{ending}" for stem in figures_of(result) for ending in formats] if formats else []
    there = [name for name in names if (folder / name).exists()]
    if there and not replace:
        raise UsageError(f"{folder / there[0]} is there already; it was left as it is.", hint="pass --overwrite")
    for stem, draw in figures_of(result).items() if formats else ():
        figure = draw(result)
        for ending in formats:
            with replacing(folder / f"{stem}.{ending}") as scratch:
                save_figure(figure, scratch)
    return names
