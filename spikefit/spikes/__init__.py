"""Spike trains in seconds and counts per bin; numpy only.

`SpikeTrains` keeps a recording the way it was measured. `SpikeTrains.bin` makes `Counts`: whole bins inside observed
intervals only. Each interval becomes a *segment*, and nothing that has a memory may reach from one segment into the next.
"""

from spikefit.spikes.counts import Counts
from spikefit.spikes.trains import SpikeTrains

__all__ = ["Counts", "SpikeTrains"]
