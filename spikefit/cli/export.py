"""`spikefit export`: a result for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spikefit.cli.guard import show_warning
from spikefit.cli.options import SpikefitCommand, json_option, overwrite_option, quiet_and_verbose
from spikefit.cli.show import thousands

if TYPE_CHECKING:
    from spikefit.results import Result
    from spikefit.spikes import SpikeTrains

# As in `spikefit.exporters.FORMATS`, which is too dear to load for help and completion; a test holds them together.
FORMAT_NAMES = ("csv", "graphml", "gexf", "npz", "mat", "h5", "nwb", "bids")


@click.command("export", cls=SpikefitCommand)
@click.argument("result_path", metavar="RESULT", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Choice(FORMAT_NAMES),
    required=True,
    help="The format: tables (csv), a graph (graphml, gexf), arrays (npz, mat), the whole result in one file (h5), "
    "a new NWB file (nwb), or a BIDS derivative folder (bids).  [default: none, it is needed]",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; for csv and bids a folder.  [default: none, it is needed]",
)
@click.option(
    "--orient",
    type=click.Choice(("post-pre", "pre-post")),
    default="post-pre",
    help="Which way round matrices stand: post-pre, row receives and column sends, or pre-post, row sends. "
    "Tables and graphs name both ends and stay the same.  [default: post-pre]",
)
@click.option(
    "--q",
    type=float,
    metavar="X",
    help="Choose the edges with a q-value of X or less; tables and graphs hold these alone, npz and mat mark them in "
    "'selected'.  [default: every pair]",
)
@click.option(
    "--top",
    type=int,
    metavar="N",
    help="Choose the N strongest edges by absolute weight, of those that --q leaves.  [default: every pair]",
)
@click.option(
    "--visible-only", is_flag=True, default=False, help="Leave hidden units and their edges out.  [default: off]"
)
@click.option(
    "--recording",
    "how",
    type=click.Choice(("copy", "link", "none")),
    default="none",
    help="Copy the spikes of the recording along, read as for the fit and of the fitted time alone, or link to them in the "
    "file that the result was made from; nwb only.  [default: none]",
)
@click.option(
    "--recording-file",
    "recording",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The recording to copy or link.  [default: the file that the result was made from]",
)
@overwrite_option
@json_option("what was written as JSON instead of a line")
@quiet_and_verbose
def command(
    result_path: Path,
    to: str,
    out: Path,
    orient: str,
    q: float | None,
    top: int | None,
    visible_only: bool,
    how: str,
    recording: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a result for other programs.

    RESULT is the folder that `spikefit infer` left, or its connectivity.h5. It is not changed, and neither is the
    recording.
    """
    from spikefit.errors import UsageError
    from spikefit.exporters import FORMATS, Selection, export, format_named, select
    from spikefit.results import doubts_of_opening, load_result

    selection = Selection(orient=orient, q=q, top=top, visible_only=visible_only)
    if how != "none" and not format_named(to).takes_trains:
        able = ", ".join(known.name for known in FORMATS if known.takes_trains)
        raise UsageError(
            f"{to} cannot hold the spikes of a recording.", hint=f"leave --recording out, or pass --to {able}"
        )
    if how == "none" and recording is not None:
        raise UsageError(
            "--recording-file names a recording, and nothing says what to do with it.",
            hint="pass --recording copy or --recording link",
        )
    result: Result = load_result(result_path)
    for text in doubts_of_opening(result):
        show_warning(text)
    source = None if how == "none" else _recording_of(result, recording)
    trains = _spikes_of_the_fit(source, result) if source is not None and how == "copy" else None
    linked = source if how == "link" else None
    written = export(result, out, to=to, selection=selection, trains=trains, linked=linked, overwrite=overwrite)
    cut = select(result, selection)
    n_edges = int(cut.is_edge.sum())
    if not n_edges:
        show_warning("no edge was chosen: the export holds the units" + ("" if q is None else f"; none has q ≤ {q:g}"))
    made: dict[str, Any] = {
        "path": str(written),
        "format": to,
        "n_units": cut.result.n_units,
        "n_edges": n_edges,
        "orient": orient,
        "spikes_copied": trains is not None,
        "recording_linked": linked is not None,
    }
    if as_json:
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
    elif not quiet:
        pairs = cut.result.n_units * (cut.result.n_units - 1)
        chosen = "all" if n_edges == pairs else f"{thousands(n_edges)} of"
        verb = "with the spikes of" if how == "copy" else "linked to"
        spikes = f", {verb} {source.name}" if source is not None else ""
        click.echo(
            f"{written} ({to}): {made['n_units']} units, {chosen} {thousands(pairs)} ordered pairs as edges{spikes}"
        )


def _spikes_of_the_fit(recording: Path, result: Result) -> SpikeTrains:
    """Read a recording with the settings of a result, and warn where it is not the file the result was made from."""
    from pydantic import ValidationError

    from spikefit.config import Config
    from spikefit.errors import ResultError
    from spikefit.reading import read_recording
    from spikefit.results.saving import sha256_of

    try:
        config = Config(**result.config)
    except (ValidationError, TypeError) as fault:
        raise ResultError(
            f"{result.name}: this spikefit cannot use the settings in the result, so it does not know which time of "
            f"{recording.name} was fitted.",
            hint="export with the version that made the result, or leave --recording out",
        ) from fault
    trains = read_recording(recording, config)
    known = result.provenance.get("input") or {}
    if known.get("sha256") and recording.is_file() and sha256_of(recording) != known["sha256"]:
        show_warning(f"{recording} is not the file that this result was made from: its checksum differs")
    return trains


def _recording_of(result: Result, named: Path | None) -> Path:
    """The recording that was named, or the one that the result remembers."""
    from spikefit.errors import UsageError

    if named is not None:
        return named
    known = (result.provenance.get("input") or {}).get("path")
    if known is None or not Path(known).exists():
        where = (
            "this result does not say which file it was made from"
            if known is None
            else f"{known} is not there any more"
        )
        raise UsageError(f"{result.name}: {where}.", hint="name the recording with --recording-file FILE")
    return Path(known)
