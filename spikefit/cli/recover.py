"""`spikefit recover`: what a recording can resolve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spikefit.cli.options import SpikefitCommand, json_option, overwrite_option, quiet_and_verbose
from spikefit.cli.show import echo_table, plain_number

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
@click.option("--seed", type=int, default=0, metavar="N", help="First seed.  [default: 0]")
@click.option("--q", type=float, default=0.05, metavar="X", help="Call edges at this q-value.  [default: 0.05]")
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
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Simulate from a fit, fit again, and report what this recording can resolve.

    RESULT is a folder that `spikefit infer` left, or its connectivity.h5; its settings are used again. Simulated are the fit itself, its edges being the truth, and
    random networks with the same units, rates, length and number of edges.
    """
    from spikefit.progress import progress_for
    from spikefit.recovery import recover
    from spikefit.recovery.run import LENGTHS
    from spikefit.recovery.saving import check_place

    if out is not None:
        check_place(out, overwrite=overwrite)
    progress = progress_for(quiet=quiet or as_json)
    try:
        recovery = recover(result, lengths=lengths or LENGTHS, seeds=seeds, q=q, seed=seed, progress=progress)
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


def _echo(recovery: Recovery) -> None:
    click.echo(recovery.sentence())
    click.echo("")
    rows = recovery.means()
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
    if any(row["n_hidden_true"] for row in rows):
        keys |= {"hidden": "n_hidden_true", "found": "n_hidden_found"}
    echo_table(
        ("network", "length", *keys),
        [(row["network"], f"{row['length']:g}", *(plain_number(row[key]) for key in keys.values())) for row in rows],
        numbers=tuple(range(1, len(keys) + 2)),
    )
    click.echo("")
    click.echo(f"Means over simulations. Truth of the fit: {recovery.truth_rule}.")
    for note in recovery.notes:
        click.echo(f"note: {note}")
