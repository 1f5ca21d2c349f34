"""`spikefit recover`: what a recording can resolve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spikefit.cli.options import SpikefitCommand, json_option, overwrite_option, quiet_and_verbose
from spikefit.cli.show import echo_table, plain_number
from spikefit.errors import UsageError

if TYPE_CHECKING:
    from spikefit.recovery import Recovery


@click.command("recover", cls=SpikefitCommand)
@click.argument("result", metavar="RESULT", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for a page, recover.json and tables.  [default: none, nothing is written]",
)
@click.option(
    "--length",
    "lengths",
    type=float,
    multiple=True,
    metavar="X",
    help="Simulate recordings of X times the length; repeatable.  [default: 0.5, 1 and 2]",
)
@click.option(
    "--seeds", type=int, default=2, metavar="N", help="Simulations of each network at each length.  [default: 2]"
)
@click.option(
    "--hidden",
    metavar="N,N,…|none",
    help="Also simulate networks with so many unrecorded neurons, and fit them with hidden units and without.  [default: 0, 1, 3, 5 and the result's own number, as far as "
    "there are three units for each and the fits take no more than half an hour]",
)
@click.option("--seed", type=int, default=0, metavar="N", help="First seed.  [default: 0]")
@click.option("--q", type=float, default=0.05, metavar="X", help="Call edges at this q-value.  [default: 0.05]")
@click.option(
    "--dry-run",
    is_flag=True,
    default=False,
    help="Print what would be simulated and a time estimate, and do nothing.  [default: off]",
)
@overwrite_option
@json_option("everything as one JSON object instead of a table")
@quiet_and_verbose
def command(
    result: Path,
    out: Path | None,
    lengths: tuple[float, ...],
    seeds: int,
    seed: int,
    q: float,
    hidden: str | None,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Simulate from a fit, fit again, and report what this recording can resolve.

    RESULT is a folder that `spikefit infer` left, or its connectivity.h5; its settings are used again. Simulated are the fit itself, its edges being the truth, and
    random networks with the same units, rates, length and number of edges, some of whose neurons are not recorded.
    """
    from spikefit.progress import progress_for
    from spikefit.recovery import plan_recovery, recover
    from spikefit.recovery.run import LENGTHS
    from spikefit.recovery.saving import check_place

    wanted = {"lengths": lengths or LENGTHS, "seeds": seeds, "q": q, "seed": seed, "hidden": _numbers(hidden)}
    if dry_run:
        plan = plan_recovery(result, **wanted)  # type: ignore[arg-type]
        click.echo(json.dumps(plan.to_dict(), indent=2) if as_json else "\n".join(plan.lines()))
        return
    if out is not None:
        check_place(out, overwrite=overwrite)
    progress = progress_for(quiet=quiet or as_json)
    try:
        recovery = recover(result, **wanted, progress=progress)  # type: ignore[arg-type]
    finally:
        progress.abandon()
    if out is not None:
        recovery.save(out, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(recovery.to_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        _echo(recovery)
        if out is not None:
            click.echo("")
            click.echo(f"{out / 'recover.html'}: open it in a browser; the tables are beside it")


def _numbers(text: str | None) -> tuple[int, ...] | None:
    """Numbers of unrecorded neurons as they were typed; None where nothing was."""
    if text is None:
        return None
    if text.strip().lower() == "none":
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"--hidden: expected whole numbers of unrecorded neurons with commas between, or none; got {text!r}.",
            hint="pass --hidden 0,2,4",
        )
    return tuple(map(int, parts))


def _echo(recovery: Recovery) -> None:
    click.echo(recovery.sentence())
    if recovery.hidden.runs:
        click.echo(recovery.hidden.sentence())
    click.echo("")
    keys = {
        "true edges": "n_true",
        "called": "n_called",
        "recall": "recall",
        "precision": "precision",
        "false": "false_discovery_proportion",
        "avg. precision": "average_precision",
        "r": "weight_correlation",
        "coverage": "coverage",
        "on edges": "edge_coverage",
    }
    rows = recovery.means()
    first = dict(keys)
    if any(row["n_hidden_true"] for row in rows):
        del first["precision"]  # there is no room for what the share of false calls says as well
        first |= {"hidden": "n_hidden_true", "found": "n_hidden_found"}
    _table(rows, {"network": "network", "length": "length"}, first)
    if recovery.hidden.runs:
        click.echo("")
        del keys["precision"], keys["r"]
        words = {"network": "network", "not recorded": "n_hidden_true", "hidden units": "fitted"}
        _table(recovery.hidden.means(), words, {"found": "n_hidden_found"} | keys)
    click.echo("")
    click.echo(f"Means over simulations. Truth of the fit: {recovery.truth_rule}.")
    if recovery.hidden.runs:
        click.echo(f"In random networks {recovery.hidden.unrecorded}.")
    for note in recovery.notes:
        click.echo(f"note: {note}")


def _table(rows: list[dict[str, Any]], words: dict[str, str], numbers: dict[str, str]) -> None:
    def cell(value: str | float) -> str:
        return value if isinstance(value, str) else f"{value:g}"

    echo_table(
        (*words, *numbers),
        [
            (*(cell(row[key]) for key in words.values()), *(plain_number(row[key]) for key in numbers.values()))
            for row in rows
        ],
        numbers=tuple(range(1, len(words) + len(numbers))),
    )
