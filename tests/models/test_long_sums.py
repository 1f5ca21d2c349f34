"""Sums over a whole recording, piece by piece, are the sums."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spikefit.models import long_sums
from spikefit.models.long_sums import sum_over_bins, sum_over_units, tally

# The most that a process held, which an exec begins anew; what getrusage tells is inherited from the parent.
MEASURE = """
import torch
from spikefit.models.long_sums import sum_over_bins, sum_over_units, tally
def most_kb():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM:'))
counts = torch.ones(20, 4_000_000, dtype=torch.uint8)
sum_over_bins(counts, 0, 70_000)  # what a first call loads
tally(counts, 0, 70_000)
before = most_kb()
assert (sum_over_bins(counts, 0, 4_000_000) == 4_000_000).all()
assert tally(counts, 0, 4_000_000).tolist() == [0, 80_000_000]
many = counts.view(400, 200_000)
assert (sum_over_units(many) == 400).all()
ours = most_kb()
counts.sum(1, dtype=torch.int64)
print(ours - before, most_kb() - ours)
"""


@pytest.mark.parametrize("bounds", [(0, 1000), (3, 997), (500, 500)])
def test_they_are_the_sums(bounds: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_sums, "PIECE_COUNTS", 200)
    start, stop = bounds
    counts = torch.randint(0, 255, (3, 1000), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sum_over_bins(counts, start, stop), counts[:, start:stop].long().sum(1))
    assert torch.equal(sum_over_bins(counts > 100, start, stop), (counts > 100)[:, start:stop].long().sum(1))
    assert torch.equal(sum_over_units(counts[:, start:stop]), counts[:, start:stop].long().sum(0))
    found = {value: n for value, n in enumerate(tally(counts, start, stop).tolist()) if n}
    values, n = torch.unique(counts[:, start:stop], return_counts=True)
    assert found == dict(zip(values.tolist(), n.tolist(), strict=True))


def test_pieces_cover_the_bins_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_sums, "PIECE_COUNTS", 200)
    assert list(long_sums.pieces(20, 3, 25)) == [(3, 13), (13, 23), (23, 25)]
    assert list(long_sums.pieces(20, 5, 5)) == []
    assert list(long_sums.pieces(1000, 0, 2)) == [(0, 1), (1, 2)]  # never less than a bin


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="this system does not say what a process held at most"
)
def test_they_hold_no_second_recording() -> None:
    told = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True).stdout
    ours, plain = map(int, told.split())
    assert ours < 0.1 * plain  # the twin: the plain sum holds the counts eight times over
