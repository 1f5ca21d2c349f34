"""A fit that is stopped and goes on ends at the same bits as one that was left alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikefit.errors import ResultError
from spikefit.fitting import with_hidden
from spikefit.fitting.fit import fit_network
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.outcome import FittedNetwork
from spikefit.fitting.settings import FitSettings
from spikefit.spikes import Counts

CPU = torch.device("cpu")
NOT_REPEATED = {"fit_s"}


class Stopped(Exception):
    """What a test raises to stop a fit."""


def differences(first: FittedNetwork, second: FittedNetwork) -> list[str]:
    """Names of all parts of two fits that are not the same bits."""
    found = []
    for kind in ("parameters", "history"):
        a, b = getattr(first, kind), getattr(second, kind)
        found += [f"{kind}/{key}" for key in a.keys() | b.keys() if not np.array_equal(a.get(key), b.get(key))]
    for name in ("coupling_filters", "baseline", "hidden_count", "hidden_bins"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            found.append(name)
    for name in ("likeness", "consensus", "spread"):
        of_both = [np.asarray(getattr(fit.stability, name, np.nan)) for fit in (first, second)]
        if not np.array_equal(*of_both, equal_nan=True):
            found.append(f"stability/{name}")
    a, b = (json.dumps({k: v for k, v in fit.metrics.items() if k not in NOT_REPEATED}) for fit in (first, second))
    return found + (["metrics"] if a != b else []) + (["notes"] if first.notes != second.notes else [])


@dataclass
class Undisturbed:
    """A whole fit with the checkpoint of every epoch."""

    counts: Counts
    settings: FitSettings
    fit: FittedNetwork
    checkpoints: list[Path]
    phases: list[str]


@pytest.fixture(scope="module")
def undisturbed(
    small_counts: Counts, tiny_settings: Callable[..., FitSettings], tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = tiny_settings(hidden=(1,))
    checkpoints, phases = [], []
    save = with_hidden.save_checkpoint

    def keep(path: Path, tensors: Any, values: dict[str, Any], identity: dict[str, str]) -> None:
        save(path, tensors, values, identity)
        phases.append(values["phase"])
        checkpoints.append(folder / f"epoch-{len(phases)}.safetensors")
        shutil.copy(path, checkpoints[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(with_hidden, "save_checkpoint", keep)
        hooks = Hooks(checkpoints=folder / "checkpoints", checkpoint_every_s=0.0)
        fit = fit_network(small_counts, settings, device=CPU, hooks=hooks)
    return Undisturbed(small_counts, settings, fit, checkpoints, phases)


def resumed(from_: Undisturbed, epoch: int, folder: Path, **changes: Any) -> FittedNetwork:
    """The fit that goes on from the checkpoint behind that epoch."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    shutil.copy(from_.checkpoints[epoch - 1], folder / "checkpoints" / "hidden-1.safetensors")
    settings = FitSettings(**(vars(from_.settings) | changes))
    return fit_network(from_.counts, settings, device=CPU, hooks=Hooks(checkpoints=folder / "checkpoints", resume=True))


def test_a_seeded_fit_repeats_bit_for_bit_and_another_seed_does_not(
    undisturbed: Undisturbed, tiny_settings: Callable[..., FitSettings]
) -> None:
    # No checkpoints this time: writing them must not disturb the fit either.
    again = fit_network(undisturbed.counts, undisturbed.settings, device=CPU)
    assert differences(undisturbed.fit, again) == []
    other = fit_network(undisturbed.counts, tiny_settings(hidden=(1,), seed=1), device=CPU)
    assert "coupling_filters" in differences(undisturbed.fit, other)


def test_going_on_from_any_phase_ends_at_the_same_bits(undisturbed: Undisturbed, tmp_path: Path) -> None:
    phases = undisturbed.phases
    # Behind the first epoch, in the middle, behind the last, and where one phase has just given way to the next.
    turns = [k for k in range(2, len(phases) + 1) if phases[k - 1] != phases[k - 2]]
    assert len(turns) >= 3
    for epoch in sorted({1, len(phases) // 3, len(phases) - 1, *turns}):
        fit = resumed(undisturbed, epoch, tmp_path / str(epoch))
        assert differences(undisturbed.fit, fit) == [], f"from epoch {epoch}, phase {phases[epoch - 1]}"


def test_the_comparison_sees_a_run_that_lost_its_random_numbers(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = with_hidden.load_checkpoint

    def forgetful(*args: Any) -> Any:
        tensors, values = load(*args)
        another = torch.Generator().manual_seed(99).get_state()
        return tensors | {"generator": another, "shuffle": another}, values

    monkeypatch.setattr(with_hidden, "load_checkpoint", forgetful)
    assert differences(undisturbed.fit, resumed(undisturbed, 3, tmp_path)) != []


def test_a_fit_stopped_on_request_leaves_a_checkpoint_and_goes_on(undisturbed: Undisturbed, tmp_path: Path) -> None:
    epochs: list[int] = []

    def stop() -> None:
        raise Stopped

    hooks = Hooks(
        checkpoints=tmp_path / "checkpoints",
        should_stop=lambda: len(epochs) >= 5,
        stop=stop,
        update=lambda epoch, **figures: epochs.append(epoch) if "nats_to_go" not in figures else None,
    )
    with pytest.raises(Stopped):
        fit_network(undisturbed.counts, undisturbed.settings, device=CPU, hooks=hooks)
    assert epochs == [1, 2, 3, 4, 5]
    hooks = Hooks(checkpoints=tmp_path / "checkpoints", resume=True)
    fit = fit_network(undisturbed.counts, undisturbed.settings, device=CPU, hooks=hooks)
    assert differences(undisturbed.fit, fit) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [({"ridge": 2.0}, r"ridge: '1\.0' then, '2\.0' now"), ({"seed": 5}, "seed: '0' then, '5' now")],
)
def test_a_checkpoint_of_other_settings_is_refused(
    undisturbed: Undisturbed, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ResultError, match=words):
        resumed(undisturbed, 3, tmp_path, **change)


def test_a_checkpoint_of_other_data_is_refused(undisturbed: Undisturbed, tmp_path: Path) -> None:
    counts = undisturbed.counts.counts.copy(order="F")
    counts[1000, 2] += 1
    other = Counts(
        counts=counts,
        bin_width_s=0.01,
        segment_offsets=undisturbed.counts.segment_offsets,
        segment_start_s=undisturbed.counts.segment_start_s,
        unit_ids=undisturbed.counts.unit_ids,
    )
    with pytest.raises(ResultError, match=r"belongs to another run \(data: '"):
        resumed(dataclasses.replace(undisturbed, counts=other), 3, tmp_path)


def test_of_several_candidates_the_finished_ones_are_not_fitted_again(
    small_counts: Counts, tiny_settings: Callable[..., FitSettings], tmp_path: Path
) -> None:
    settings = tiny_settings(hidden=(0, 1, 2), restarts=1)
    whole = fit_network(small_counts, settings, device=CPU)
    epochs: list[int] = []

    def stop() -> None:
        raise Stopped

    def update(epoch: int, **figures: float) -> None:
        if "nats_to_go" not in figures:
            epochs.append(epoch)

    hooks = Hooks(
        checkpoints=tmp_path,
        update=update,
        stop=stop,
        # In the second epoch of the second candidate.
        should_stop=lambda: len(epochs) > 2 and epochs[-1] == 2,
    )
    with pytest.raises(Stopped):
        fit_network(small_counts, settings, device=CPU, hooks=hooks)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hidden-1.safetensors", "hidden-2.safetensors"]
    epochs.clear()
    hooks = Hooks(checkpoints=tmp_path, update=update, resume=True)
    fit = fit_network(small_counts, settings, device=CPU, hooks=hooks)
    assert epochs[0] == 3
    assert 1 not in epochs
    assert differences(whole, fit) == []
