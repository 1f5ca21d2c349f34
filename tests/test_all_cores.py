"""Work spread over threads: in order, the same whatever their number, and stopped where it fails."""

from __future__ import annotations

import threading
import time

import pytest

from spikefit.all_cores import on_all_cores


def test_results_come_in_order_whoever_is_first() -> None:
    def slow_for_even(k: int) -> int:
        time.sleep(0.01 * (k % 2 == 0))
        return k * k

    expected = [k * k for k in range(20)]
    for workers in (1, 2, 5):
        assert list(on_all_cores(slow_for_even, range(20), workers=workers)) == expected
    assert list(on_all_cores(slow_for_even, range(3))) == [0, 1, 4]


def test_several_work_at_a_time() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def meet(k: int) -> int:
        meeting.wait()  # passes only when three are there together
        return k

    assert list(on_all_cores(meet, range(3), workers=3)) == [0, 1, 2]


def test_a_fault_ends_the_work_where_it_would_have_come() -> None:
    begun: list[int] = []

    def fail_at_three(k: int) -> int:
        begun.append(k)
        if k == 3:
            raise ValueError("three")
        return k

    results = on_all_cores(fail_at_three, range(1000), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(begun) < 20


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> object:
        for k in range(1000):
            taken.append(k)
            yield k

    results = on_all_cores(lambda k: k, items(), workers=2)  # type: ignore[arg-type, var-annotated]
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(taken) <= 6


def test_the_environment_limits_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    names = set(on_all_cores(lambda k: threading.current_thread().name, range(5)))
    assert names == {threading.current_thread().name}
