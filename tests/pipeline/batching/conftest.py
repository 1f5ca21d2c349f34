"""Tiny sessions, and a batch that is over in a moment because nothing is fitted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spikefit.batching.display import NoDisplay
from spikefit.batching.engines import Order, Watch
from spikefit.batching.outcome import Outcome


@pytest.fixture
def sessions(simulated: Path, tmp_path: Path) -> Callable[..., list[Path]]:
    """`sessions("a", "b")` are recordings of these names; they differ in their bytes, as recordings do."""

    def make(*names: str) -> list[Path]:
        paths = []
        for number, name in enumerate(names):
            path = tmp_path / "data" / f"{name}.nwb"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(simulated, path)
            with path.open("ab") as file:
                file.write(bytes(number))  # HDF5 reads no further than its own end
            paths.append(path)
        return paths

    return make


class Remembering(NoDisplay):
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ended: list[Outcome] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def finished(self, outcome: Outcome) -> None:
        self.ended.append(outcome)


@pytest.fixture
def display() -> Remembering:
    return Remembering()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Jobs run in this process, one after the other; what was ordered is remembered."""
    from spikefit.batching.work import run_job

    orders: list[Order] = []

    class Here:
        def __init__(self, *_: Any) -> None:
            pass

        def describe(self, n_jobs: int) -> str:
            return "this process"

        def run(self, given: list[Order], watch: Watch) -> None:
            from spikefit.batching.outcome import from_dict

            for order in given:
                if watch.stop:
                    return
                orders.append(order)
                watch.started(order["job"]["name"])
                outcome = from_dict(run_job(**{key: value for key, value in order.items() if key != "argv"}))
                assert outcome is not None
                watch.tick()
                watch.finished(outcome)

    monkeypatch.setattr("spikefit.batching.run.engine_for", lambda *_: Here())
    return orders
