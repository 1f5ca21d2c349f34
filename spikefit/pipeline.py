"""What the commands do: read, choose, bin, fit, write. Everything a command does, a call here does."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from spikefit.addresses import name_of_recording
from spikefit.config import Config
from spikefit.errors import NotConvergedError, UsageError
from spikefit.excerpt import with_excerpt
from spikefit.exporters import export
from spikefit.files import sweep_partials
from spikefit.finished import finished_before
from spikefit.fitted import Fit, binned, check_hidden, check_structure, fit_settings, pair_types, to_fit
from spikefit.inspection import UnitChoice, choose_units, keep_chosen
from spikefit.machine import place_in_team
from spikefit.pieces import Share, ShareDone, Spread, one_by_one
from spikefit.planning import Plan, estimate
from spikefit.predictive import with_simulated_rates
from spikefit.progress import Progress, SilentProgress
from spikefit.provenance import RunRecord
from spikefit.reading import read_recording
from spikefit.report import write_report
from spikefit.results import UnitRow, claim_output
from spikefit.results.tables import kept_as
from spikefit.spikes import Counts, SpikeTrains
from spikefit.stopping import Stopper

if TYPE_CHECKING:
    import torch

    from spikefit.fitting.hooks import Hooks

logger = logging.getLogger(__name__)

Recording = str | Path | SpikeTrains


@overload
def infer(recordings: Recording, out: str | Path | None = None, **options: Any) -> Fit: ...
@overload
def infer(recordings: Sequence[Recording], out: str | Path | None = None, **options: Any) -> list[Fit]: ...
def infer(
    recordings: Recording | Sequence[Recording],
    out: str | Path | None = None,
    *,
    config: Config | None = None,
    origin: Mapping[str, str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    together: bool = False,
    **settings: Any,
) -> Fit | list[Fit]:
    """Infer the connections between the neurons of a recording, or of each of several.

    Args:
        recordings: a file, spike trains that were read already, or a sequence of those.
        out: folder for the result files; with a sequence of several, one folder per recording inside it. Nothing is
            written where None.
        config: all settings; the defaults where None.
        origin: where each setting came from, by key, for the record.
        overwrite: replace results that `out` already holds.
        resume: go on from checkpoints that a stopped run left in `out`; a result that is whole already is returned as it is.
        progress: is told what is being done.
        together: the processes that `torchrun` started share each fit, as those of `torchrun -m spikefit infer` do: all make the
            same call, all return the fit, and the first alone writes and tells. Without it each fits what it is given.
        settings: single settings by the words of the command line (`bin="10ms"`, `hidden=2`).

    Returns:
        One fit, or a list of them for a sequence.

    Raises:
        SpikefitError: for everything that the user can mend; see `spikefit.errors`.
    """
    several = not isinstance(recordings, str | Path | SpikeTrains)
    items: list[Recording] = list(recordings) if several else [recordings]  # type: ignore[arg-type, list-item]
    base = config or Config()
    config = base.replace(**settings) if settings else base
    origin = {**(origin or {}), **dict.fromkeys(settings, "argument")}
    progress = progress or SilentProgress()
    folders = _folders(items, None if out is None else Path(out))
    first = not together or (place_in_team() or (0, 1))[0] == 0
    if not first:
        progress = SilentProgress()
    fits = []
    with (
        claimed(folders if first else (), overwrite=overwrite, resume=resume),
        Stopper() as stopper,
        _team(config, together=together) as device,
    ):
        for item, folder in zip(items, folders, strict=True):
            if _any_requested(stopper):  # while the one before was written
                stopper.leave(None)
            kept = folder if first else None
            whole = finished_before(folder, item, config) if folder is not None and resume and not overwrite else None
            if whole is not None:
                progress.note(f"{folder} was finished before, with these data and settings: nothing is left to do")
                fits.append(whole)
                continue
            job = _Job(
                item, kept, config, origin, overwrite or resume, resume, progress, stopper, device, checkpoints=folder
            )
            fits.append(job.run())
    not_converged = [fit for fit in fits if not fit.metrics["converged"]]
    if not_converged and config.run.strict:
        raise NotConvergedError(
            f"the fit of {', '.join(fit.name for fit in not_converged)} did not converge"
            + ("." if out is None else "; the results are written all the same."),
            hint=NotConvergedError.way_on(max(fit.n_hidden for fit in not_converged)),
        )
    return fits if several else fits[0]


@contextlib.contextmanager
def _team(config: Config, *, together: bool) -> Iterator[torch.device]:
    """The device of this process; together, it joins the others that `torchrun` started."""
    from spikefit.fitting.device import choose_device
    from spikefit.fitting.processes import joined

    chosen = choose_device(config.run.device)
    with joined(chosen) if together else contextlib.nullcontext(chosen) as device:
        yield device


def _any_requested(stopper: Stopper) -> bool:
    """Whether any process of the team was asked to stop."""
    from spikefit.fitting.processes import any_of

    return any_of(stopper.requested())


def infer_share(
    recording: Recording,
    out: str | Path,
    share: Share,
    *,
    config: Config,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> None:
    """Do one share of a fit (see `spikefit.pieces`), and leave its pieces where `infer` with `resume` finds them.

    Args:
        recording: as for `infer`; so are the other arguments.
        out: folder of the result that the fit will have.
        share: which share.
        config: all settings.
        overwrite: the fit may replace results that `out` already holds; a share replaces none.
        resume: go on from the checkpoint of a share that was stopped.
        progress: is told what is being done.

    Raises:
        SpikefitError: for everything that the user can mend; see `spikefit.errors`.
    """
    folder, told = Path(out), progress or SilentProgress()
    with (
        claimed([folder], overwrite=overwrite, resume=resume),
        Stopper() as stopper,
        contextlib.suppress(ShareDone),
        _team(config, together=False) as device,
    ):
        _Job(recording, folder, config, {}, overwrite, resume, told, stopper, device, folder, share).run()


def plan(recordings: Recording | Sequence[Recording], *, config: Config | None = None) -> Plan:
    """What `infer` would do: bins, parameters, memory and a time estimate; nothing is fitted or written."""
    items: list[Recording] = [recordings] if isinstance(recordings, str | Path | SpikeTrains) else list(recordings)
    config = config or Config()
    jobs = []
    for item in items:
        trains, _, counts = prepare(item, config)
        jobs.append(estimate(trains.name, counts, fit_settings(config), config.run.device))
    return Plan(tuple(jobs))


def prepare(recording: Recording, config: Config) -> tuple[SpikeTrains, list[UnitChoice], Counts]:
    """Read a recording, keep the chosen time and units, and bin it.

    Returns:
        The recording in the chosen time with all its units, the choice made for each, and the kept units' counts.
    """
    trains = read_recording(recording, config)
    choices = choose_units(trains, units=config.recording.units, min_spikes=config.recording.min_spikes)
    kept = keep_chosen(trains, choices)
    counts = binned(kept, config)
    check_hidden(config, counts.unit_ids)
    check_structure(config, trains.unit_ids)
    pair_types(config, trains, counts.unit_ids)
    return trains, choices, counts


def simulate_to_file(
    path: str | Path, *, config: Config | None = None, overwrite: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Simulate a network and write what was recorded of it, with the truth beside it.

    Args:
        path: of the NWB file; the truth goes to `NAME.truth.h5` in the layout of `connectivity.h5`.
        config: its sections `simulate`, `model` and `run`.
        overwrite: replace files that are there.
        dry_run: only say what would be made.

    Raises:
        UsageError: if a file is there already, or the network runs away.
    """
    from spikefit.simulated_files import plan_simulation, write_simulation

    make = plan_simulation if dry_run else write_simulation
    return make(Path(path), config or Config(), overwrite=overwrite)


@dataclasses.dataclass
class _Job:
    """One recording on its way to a result."""

    recording: Recording
    folder: Path | None
    config: Config
    origin: Mapping[str, str]
    replace: bool
    resume: bool
    progress: Progress
    stopper: Stopper
    device: torch.device
    checkpoints: Path | None
    spread: Spread = one_by_one

    def run(self) -> Fit:
        from spikefit.diagnostics.significance import count_shared_inputs
        from spikefit.fitting.device import compute_threads
        from spikefit.fitting.fit import fit_network

        device = self.device
        record = RunRecord(self.recording, self.config, self.folder)
        self.progress.start("reading", None)
        # What cannot be read or used ends here, before anything is written.
        trains, choices, counts = prepare(self.recording, self.config)
        types = pair_types(self.config, trains, counts.unit_ids)
        self.progress.finish()
        with record.logging():
            logger.info("%r; %r", trains, counts)
            for warning in trains.warnings:
                self.progress.note(warning)
            with compute_threads(self.config.run.threads, counts.n_units), self.stopper.patient():
                settings = fit_settings(self.config)
                network = fit_network(
                    counts, settings, device=device, hooks=self.hooks(), count_shared=count_shared_inputs
                )
            self.progress.finish()
            if isinstance(self.spread, Share):
                raise ShareDone  # there was no such stage in this fit
            fit = to_fit(
                network,
                counts,
                self.config,
                units=_unit_rows(trains, choices),
                name=trains.name,
                device=str(device),
                warnings=(*trains.warnings, *_renamed(trains)),
                types=types,
                config_origin=dict(self.origin),
            )
            fit = with_simulated_rates(with_excerpt(fit, trains), counts, seed=self.config.run.seed)
            metrics = {**fit.metrics, **record.usage()}
            provenance = record.provenance(str(device), fit.warnings, trains.session)
            fit = dataclasses.replace(fit, metrics=metrics, provenance=provenance)
            for line in fit.warnings:
                logger.warning(line)
            if self.folder is not None:
                with self.stopper.patient():  # what was fitted is worth the moment that writing takes
                    self._write(fit)
        return fit

    def hooks(self) -> Hooks:
        """Progress, checkpoints and stopping, as the fit wants them."""
        from spikefit.fitting.hooks import Hooks

        return Hooks(
            stage=self.progress.start,
            update=self.progress.update,
            checkpoints=None if self.checkpoints is None else self.checkpoints / "checkpoints",
            keeps_checkpoints=self.folder is not None,
            checkpoint_every_s=self.config.run.checkpoint_every,
            resume=self.resume,
            should_stop=lambda: _any_requested(self.stopper),
            stop=self._stop,
            spread=self.spread,
        )

    def _stop(self) -> None:
        """Leave, whichever process tells of it: all know the folder, and by then the first has written its checkpoint."""
        from spikefit.fitting.processes import any_of

        any_of(True)
        self.stopper.leave(self.checkpoints)

    def _write(self, fit: Fit) -> None:
        assert self.folder is not None
        text = self.config.to_yaml(self.origin)
        self.progress.start("writing", None)
        fit.save(
            self.folder,
            overwrite=self.replace,
            figures=self.config.run.figures,
            further={
                "config.yaml": lambda path: path.write_text(text, encoding="utf-8"),
                "graph.graphml": lambda path: export(fit, path, to="graphml"),
                "report.html": lambda path: write_report(fit, path),
            },
        )
        self.progress.finish()
        checkpoints = self.folder / "checkpoints"
        sweep_partials(checkpoints)
        for checkpoint in (*checkpoints.rglob("hidden-*.safetensors"), *checkpoints.glob("surrogates-*.safetensors")):
            checkpoint.unlink()  # the result is whole: there is nothing left to resume
            if checkpoint.parent.name.startswith("fold-"):
                with contextlib.suppress(OSError):  # others of this fold are still to go
                    checkpoint.parent.rmdir()


@contextlib.contextmanager
def claimed(folders: Sequence[Path | None], *, overwrite: bool, resume: bool) -> Iterator[None]:
    """All places are refused or taken before the work starts; those that it leaves empty were never there."""
    made: list[Path] = []
    try:
        for folder in folders:
            if folder is not None:
                made += [place for place in (folder, *folder.parents) if not place.exists()]
                claim_output(folder, overwrite=overwrite, resume=resume)
        yield
    finally:
        for place in sorted(set(made), key=lambda place: len(place.parts), reverse=True):
            with contextlib.suppress(OSError):  # not empty: it holds what the work left
                place.rmdir()


def _unit_rows(trains: SpikeTrains, choices: Sequence[UnitChoice]) -> list[UnitRow]:
    rates, counts = trains.rate_hz.tolist(), trains.n_spikes_per_unit.tolist()
    observed_s = trains.observed_s.tolist() if trains.lost_s else []
    names = kept_as(trains.unit_columns)
    rows = []
    for row, choice in enumerate(choices):
        columns = {names[key]: _plain(column[row]) for key, column in trains.unit_columns.items() if column.ndim == 1}
        if observed_s:
            columns["observed_s"] = observed_s[row]
        rows.append(UnitRow(choice.id, "visible", choice.kept, choice.reason, counts[row], rates[row], columns))
    return rows


def _renamed(trains: SpikeTrains) -> tuple[str, ...]:
    """That columns of the recording have another name in the result, where some have."""
    moved = {old: new for old, new in kept_as(trains.unit_columns).items() if new != old}
    if not moved:
        return ()
    told = ", ".join(f"{old!r} is {new!r}" for old, new in moved.items())
    return (f"unit columns of the recording that are called as those a fit writes were renamed in the result: {told}",)


def _plain(value: Any) -> str | int | float | bool:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace")
    return item if isinstance(item, str | int | float | bool) else str(item)


def _folders(items: Sequence[Recording], out: Path | None) -> list[Path | None]:
    """Where each recording's result goes: OUT itself for one, a folder of its own inside for several."""
    if out is None:
        return [None] * len(items)
    if len(items) == 1:
        return [out]
    names = [item.name if isinstance(item, SpikeTrains) else name_of_recording(item).split(".")[0] for item in items]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"several recordings are called {repeated[0]!r}; their results would overwrite one another.",
            hint="run them one at a time, each with its own -o",
        )
    return [out / name for name in names]
