"""`spikefit inspect`: what a recording holds, before any fit; or what a result is, after it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import click

from spikefit.addresses import name_of_recording
from spikefit.cli.guard import show_warning
from spikefit.cli.options import (
    RecordingPath,
    SpikefitCommand,
    config_option,
    given,
    json_option,
    quiet_and_verbose,
    settings,
)
from spikefit.cli.show import echo_table, plain_number, thousands

if TYPE_CHECKING:
    from spikefit.config import Config
    from spikefit.spikes import SpikeTrains

MOST_INTERVALS_SHOWN = 6
MOST_COLUMNS_SHOWN = 4
MOST_TYPES_SHOWN = 5
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@click.command("inspect", cls=SpikefitCommand)
@click.argument("recording", metavar="FILE", type=RecordingPath())
@settings(["recording"])
@config_option
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also draw a raster and the rates, as .png, .svg or .pdf; a figure that is there is replaced.  [default: none]",
)
@json_option("everything as one JSON object instead of tables")
@quiet_and_verbose
@click.pass_context
def command(
    ctx: click.Context,
    /,
    recording: Path | str,
    config_file: Path | None,
    plot: Path | None,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Show what a recording holds, what would be dropped and why.

    Prints the units of FILE with their rates, the observed time, the epochs, what `spikefit infer` would drop, and the
    bin widths that suit these rates. With --epochs or --interval it looks at that part alone. Where FILE is the folder of
    a result or its connectivity.h5, it tells in a few lines what was fitted, when and how well.
    """
    from spikefit.marks import is_result

    if plot is not None and plot.suffix.lower() not in PLOT_SUFFIXES:
        ctx.fail(f"--plot {plot}: expected a name that ends in {', '.join(PLOT_SUFFIXES)}")
    if isinstance(recording, Path) and is_result(recording):
        if plot is not None:
            ctx.fail(f"{recording} is a result, and --plot draws recordings: spikefit report --figures draws results")
        if given(flags):
            first = "--" + next(iter(given(flags))).replace("_", "-")
            ctx.fail(f"{recording} is a result, and {first} chooses in a recording: leave it out")
        _explain(recording, as_json=as_json, quiet=quiet)
        return

    from spikefit.inspection import inspect_recording, suggest_bin_width
    from spikefit.reading import read_recording

    config = settings_for_reading(config_file, given(flags))
    trains = read_recording(recording, config)
    wanted = config.recording
    found = inspect_recording(trains, units=wanted.units, min_spikes=wanted.min_spikes)
    if plot is not None:
        _draw(trains, found, plot)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not quiet:
        _echo(recording, found, suggest_bin_width(found["suggested_bins"]))


def settings_for_reading(config_file: Path | None, flags: dict[str, Any]) -> Config:
    """The settings that reading takes; where none was given the table of defaults, which costs no models to build."""
    if config_file is None and not flags and not any(name.startswith("SPIKEFIT_") for name in os.environ):
        from spikefit.cli.default_table import CHECKS, RECORDING

        return cast("Config", SimpleNamespace(recording=SimpleNamespace(**RECORDING), checks=SimpleNamespace(**CHECKS)))
    from spikefit.config import resolve_config

    resolved = resolve_config(config_file, flags=flags)
    for note in resolved.notes:
        show_warning(note)
    return resolved.config


def _draw(trains: SpikeTrains, found: dict[str, Any], path: Path) -> None:
    from spikefit.errors import UsageError
    from spikefit.files import is_same_file, replacing
    from spikefit.plots import plot_recording, save_figure

    if is_same_file(path, trains.source):
        raise UsageError(f"{path} is the recording itself, which is never written to.", hint="pass another --plot FILE")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {str(path.parent)!r}.", hint="make it first")
    figure = plot_recording(trains, dropped=[unit["id"] for unit in found["units"] if not unit["kept"]])
    with replacing(path) as scratch:
        save_figure(figure, scratch)


def _explain(path: Path, *, as_json: bool, quiet: bool) -> None:
    from spikefit.cli.explain import echo_overview
    from spikefit.results.overview import overview

    found = overview(path)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not quiet:
        echo_overview(path, found)


def _echo(recording: Path | str, found: dict[str, Any], bin_width_s: float | None) -> None:
    kept = [unit for unit in found["units"] if unit["kept"]]
    observed_s = sum(stop - start for start, stop in found["intervals_s"])
    click.echo(f"{name_of_recording(recording)} ({found['format']})")
    click.echo(
        f"{found['n_units']} units, {len(kept)} of them would be used; {thousands(found['n_spikes'])} spikes; "
        f"{_minutes(observed_s)} observed from {found['t_start_s']:.3f} s to {found['t_stop_s']:.3f} s"
    )
    if len(found["intervals_s"]) > 1:
        click.echo(f"observed in {len(found['intervals_s'])} intervals: {_intervals(found['intervals_s'])}")
    click.echo("")
    _echo_units(found["units"])
    _echo_epochs(found["epochs"])
    _echo_columns(found["unit_columns"])
    _echo_covariates(found["covariates"])
    _echo_bins(found["suggested_bins"], bin_width_s)
    if found["warnings"]:
        click.echo("")
        for text in found["warnings"]:
            click.echo(f"warning: {text}")


def _echo_units(units: list[dict[str, Any]]) -> None:
    """Every unit, with the time in which it was lost where some were."""
    lost = any(unit["lost_share"] for unit in units)
    echo_table(
        ("unit", "spikes", "rate (Hz)", "first (s)", "last (s)", *(("observed (s)", "lost") if lost else ()), "used"),
        [
            (
                unit["id"],
                thousands(unit["n_spikes"]),
                "–" if unit["rate_hz"] is None else f"{unit['rate_hz']:.3f}",
                _seconds(unit["first_spike_s"]),
                _seconds(unit["last_spike_s"]),
                *((f"{unit['observed_s']:.1f}", f"{100 * unit['lost_share']:.1f} %") if lost else ()),
                "yes" if unit["kept"] else f"no: {unit['reason']}",
            )
            for unit in units
        ],
        numbers=(1, 2, 3, 4, 5, 6) if lost else (1, 2, 3, 4),
    )


def _echo_epochs(epochs: dict[str, list[list[float]]]) -> None:
    """Named intervals."""
    if not epochs:
        return
    click.echo("")
    echo_table(
        ("epoch", "total", "from – to (s)"),
        [
            (name, _minutes(sum(stop - start for start, stop in rows)), _intervals(rows))
            for name, rows in epochs.items()
        ],
        numbers=(1,),
    )


def _echo_columns(columns: list[dict[str, Any]]) -> None:
    """Columns that tell groups of units apart, and whether pairs of these can be tested by type."""
    grouping = [row for row in columns if row["types"]]
    if not grouping:
        return
    click.echo("")
    echo_table(
        ("unit column", "units that would be used", "for --pair-types"),
        [
            (row["name"], _types(row["types"]), "yes" if row["for_pair_types"] else f"no: {row['reason']}")
            for row in grouping
        ],
    )


def _echo_covariates(covariates: list[dict[str, Any]]) -> None:
    """What was measured beside the spikes."""
    if not covariates:
        return
    click.echo("")
    echo_table(
        ("covariate", "samples", "columns", "unit", "rate (Hz)", "from – to (s)"),
        [
            (
                row["name"],
                thousands(row["shape"][0]),
                ", ".join(row["columns"]) if row["shape"][1] <= MOST_COLUMNS_SHOWN else str(row["shape"][1]),
                row["unit"] or "–",
                _rate(row),
                f"{_seconds(row['t_start_s'])} – {_seconds(row['t_stop_s'])}",
            )
            for row in covariates
        ],
        numbers=(1, 4),
    )


def _echo_bins(suggested: list[dict[str, Any]], bin_width_s: float | None) -> None:
    """What bins of some widths would hold; `bin_width_s` is the one that suits."""
    if not suggested:
        return
    click.echo("")
    echo_table(
        ("bin", "bins", "spikes/bin, median unit", "busiest unit", "crowded", ""),
        [
            (
                f"{1e3 * row['bin_width_s']:g} ms",
                thousands(row["n_bins"]),
                plain_number(row["spikes_per_bin_median"], 2),
                plain_number(row["spikes_per_bin_max"], 2),
                f"{100 * row['share_of_spiking_bins_with_two_or_more']:.1f} %",
                "← suits these rates" if row["bin_width_s"] == bin_width_s else "",
            )
            for row in suggested
        ],
        numbers=(0, 1, 2, 3, 4),
    )
    click.echo("crowded: of the bins in which a unit fires, those with two spikes or more, whose order is lost")


def _types(types: dict[str, int]) -> str:
    shown = ", ".join(f"{kind} {count}" for kind, count in list(types.items())[:MOST_TYPES_SHOWN])
    return shown + (f", … ({len(types)} in all)" if len(types) > MOST_TYPES_SHOWN else "")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rate(row: dict[str, Any]) -> str:
    """Stated by the file, or what the samples come to over their span."""
    if row["rate_hz"] is not None:
        return f"{row['rate_hz']:g}"
    span_s = (row["t_stop_s"] or 0.0) - (row["t_start_s"] or 0.0)
    return f"≈ {(row['shape'][0] - 1) / span_s:.3g}" if span_s > 0 else "–"


def _minutes(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.2f} h"


def _intervals(rows: list[list[float]]) -> str:
    shown = ", ".join(f"{start:g}–{stop:g}" for start, stop in rows[:MOST_INTERVALS_SHOWN])
    return shown + (f", … ({len(rows)} in all)" if len(rows) > MOST_INTERVALS_SHOWN else "")
