"""What a value in a configuration may look like: times, intervals, devices, lists of names.

Each kind reads what a person writes on the command line, in YAML or in Python, and writes it back as the same text.
"""

from spikefit.config.kinds.hint import Hint
from spikefit.config.kinds.lists import SIGNS, Covariates, Mapping, Names, Signs, Terms
from spikefit.config.kinds.numbers import MOST_HIDDEN, MOST_RATE, CountOrAuto, HiddenCounts, LearningRate, Ridge
from spikefit.config.kinds.places import Address, ClusterWord, Device, Memory, memory_bytes, memory_mib
from spikefit.config.kinds.times import Duration, Durations, Interval, Intervals, Moment, TimeUnit, write_interval
from spikefit.config.kinds.words import FIGURE_FORMATS, FigureFormats, OnOff

__all__ = [
    "FIGURE_FORMATS",
    "MOST_HIDDEN",
    "MOST_RATE",
    "SIGNS",
    "Address",
    "ClusterWord",
    "CountOrAuto",
    "Covariates",
    "Device",
    "Duration",
    "Durations",
    "FigureFormats",
    "HiddenCounts",
    "Hint",
    "Interval",
    "Intervals",
    "LearningRate",
    "Mapping",
    "Memory",
    "Moment",
    "Names",
    "OnOff",
    "Ridge",
    "Signs",
    "Terms",
    "TimeUnit",
    "memory_bytes",
    "memory_mib",
    "write_interval",
]
