"""`spikefit report`: the page about a result, made again."""

from __future__ import annotations

from pathlib import Path

import click

from spikefit.cli.options import SpikefitCommand, overwrite_option, quiet_and_verbose

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
@overwrite_option
@quiet_and_verbose
@click.pass_context
def command(ctx: click.Context, /, result_path: Path, out: Path | None, overwrite: bool, quiet: bool) -> None:
    """Make the page about a result again, one HTML file that needs nothing else.

    RESULT is the folder that `spikefit infer` left, or its connectivity.h5, from which alone the page is made. Print the
    page from a browser for a PDF.
    """
    if out is None and result_path.is_file() and result_path.name != MAIN_FILE:
        ctx.fail(f"-o FILE is missing: {result_path.name} lies in no result folder of its own")

    from spikefit.errors import UsageError
    from spikefit.exporters.protection import refuse_to_replace_originals
    from spikefit.files import explain_os_error, sweep_partials
    from spikefit.report import write_report
    from spikefit.results import Result, load_result

    result: Result = load_result(result_path)
    page = out or (result_path if result_path.is_dir() else result_path.parent) / PAGE
    if page.is_dir():
        raise UsageError(f"{page} is a folder; the page is a file.", hint=f"pass -o {page / PAGE}")
    if out is not None:
        refuse_to_replace_originals(page, result)
        if page.exists() and not overwrite:
            raise UsageError(f"{page} is there already; it was left as it is.", hint="pass --overwrite, or another -o")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        sweep_partials(page.parent)
    except (FileExistsError, NotADirectoryError) as fault:
        raise UsageError(f"{page}: a part of this path is a file, not a folder.", hint="pass another -o") from fault
    except OSError as fault:
        raise explain_os_error(fault, page) from fault
    write_report(result, page)
    if not quiet:
        click.echo(f"{page}: open it in a browser; it needs no network")
