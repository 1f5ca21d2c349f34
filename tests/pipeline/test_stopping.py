"""Signals: the first one waits for a good moment where there is one, a second does not, and handlers are put back."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import spikefit.pipeline
from spikefit.errors import Checkpointed
from spikefit.stopping import Stopper

ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("number", ASKING)
def test_with_nothing_to_keep_it_stops_at_once(number: signal.Signals) -> None:
    kind = KeyboardInterrupt if number == signal.SIGINT else Checkpointed
    with Stopper(), pytest.raises(kind):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", ASKING)
def test_while_patient_the_first_waits_and_the_second_does_not(number: signal.Signals) -> None:
    kind = KeyboardInterrupt if number == signal.SIGINT else Checkpointed
    with Stopper() as stopper, stopper.patient():
        assert not stopper.requested()
        signal.raise_signal(number)
        assert stopper.requested()
        with pytest.raises(kind):
            signal.raise_signal(number)


def test_leaving_says_whether_there_is_something_to_go_on_from(tmp_path: Path) -> None:
    with Stopper() as stopper, stopper.patient():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Checkpointed, match="before there was anything to keep"):
            stopper.leave(tmp_path)
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "hidden-1.safetensors").touch()
        with pytest.raises(Checkpointed, match=f"a checkpoint is in {tmp_path}") as stop:
            stopper.leave(tmp_path)
        assert "--resume" in str(stop.value.hint)
        assert stop.value.exit_code == 75


def test_handlers_are_put_back_even_after_an_error() -> None:
    before = [signal.getsignal(number) for number in ASKING]
    within: list[object] = []

    def fail() -> None:
        with Stopper():
            within.extend(signal.getsignal(number) for number in ASKING)
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        fail()
    assert len(within) == 3
    assert not set(map(id, within)) & set(map(id, before))
    assert [signal.getsignal(number) for number in ASKING] == before


def test_in_another_thread_it_hears_nothing_and_breaks_nothing() -> None:
    before = [signal.getsignal(number) for number in ASKING]
    seen: list[object] = []

    def work() -> None:
        with Stopper() as stopper, stopper.patient():
            seen.append(stopper.requested())
            seen.append([signal.getsignal(number) for number in ASKING] == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]


def test_what_is_fitted_is_written_before_it_stops(
    simulated: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = spikefit.pipeline.write_report

    def interrupted(fit: Any, path: Path) -> None:
        signal.raise_signal(signal.SIGTERM)
        write(fit, path)

    monkeypatch.setattr(spikefit.pipeline, "write_report", interrupted)
    other = tmp_path / "other.nwb"
    other.write_bytes(simulated.read_bytes())
    with pytest.raises(Checkpointed):
        spikefit.infer([simulated, other], tmp_path / "out", **tiny)
    names = {path.name for path in (tmp_path / "out" / "session").iterdir()}
    assert {"connectivity.h5", "report.html", "connectivity.png", "training.png"} <= names
    assert not (tmp_path / "out" / "other").exists()
