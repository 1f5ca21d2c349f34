"""The simulated recordings of the trust benchmark: counts, and which pairs are truly connected.

Each scenario is a function of a seed. All have 20 recorded units and 20 minutes; bins are 10 ms, but 5 ms for the
integrate-and-fire networks. About 5 % of the ordered pairs are connected, half of them inhibitory.

* `matched`: the model of the fit itself. `dense-10`, `dense-20`: with 10 and 20 % of the pairs connected. `fifty`: with 50 units.
* `lif`: leaky integrate-and-fire units with delays and noise (`lif.py`): no unit obeys the model of the fit.
* `smooth`, `rough`: matched networks in which all rates also follow one unrecorded time course; smooth is white noise
  under a Gaussian of 0.3 s, rough an Ornstein-Uhlenbeck process of 0.5 s. A unit's log rate moves by 0.3 to 0.8.
* `smooth-no-edges`, `rough-no-edges`: the same without any coupling between units.
* `drivers-3` … `drivers-5`: matched networks with so many strong unrecorded units that each excite 60 % of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import lif
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from spikefit.simulate import Network, random_network, simulate
from spikefit.spikes import Counts

N_UNITS, DURATION_S, BIN_S, DENSITY = 20, 1200.0, 0.01, 0.05


@dataclass(frozen=True)
class Case:
    """A recording whose answer is known.

    Attributes:
        counts: what is fitted.
        connected: truth, (post, pre); the diagonal is False.
        window_s: history window to fit with.
        connectivity: true couplings summed over lags, (post, pre), where the truth is a coupling.
        filters: the same lag by lag, (post, pre, lag).
    """

    counts: Counts
    connected: NDArray[np.bool_]
    window_s: float = 0.1
    connectivity: NDArray[np.float64] | None = None
    filters: NDArray[np.float64] | None = None


def _network(seed: int, *, density: float = DENSITY, n_drivers: int = 0, n_units: int = N_UNITS) -> Network:
    return random_network(
        n_visible=n_units,
        n_drivers=n_drivers,
        seed=seed,
        bin_width_s=BIN_S,
        strength=1.5,
        density=density,
        fan_out=0.6,
        driver_strength=5.0,
        driver_rate_hz=6.0,
    )


def _case(network: Network, counts: Counts) -> Case:
    n = counts.n_units
    connectivity = network.connectivity[:n, :n]
    connected = connectivity != 0
    np.fill_diagonal(connected, False)
    return Case(counts, connected, connectivity=connectivity, filters=network.coupling_filters[:n, :n])


def time_course(kind: str, n_bins: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A unit-variance fluctuation of that kind; (bin,)."""
    noise = rng.standard_normal(n_bins)
    if kind == "smooth":
        out = gaussian_filter1d(noise, 0.3 / BIN_S)
    else:
        out = lfilter([1.0], [1.0, -np.exp(-BIN_S / 0.5)], noise)
    return np.asarray(out / out.std())


def matched(seed: int, *, density: float = DENSITY, n_units: int = N_UNITS) -> Case:
    network = _network(seed, density=density, n_units=n_units)
    return _case(network, simulate(network, duration_s=DURATION_S, seed=seed).visible_counts)


def with_drivers(seed: int, n_drivers: int) -> Case:
    network = _network(seed, n_drivers=n_drivers)
    return _case(network, simulate(network, duration_s=DURATION_S, seed=seed).visible_counts)


def modulated(seed: int, kind: str, density: float = DENSITY) -> Case:
    network = _network(seed, density=density)
    rng = np.random.default_rng([seed, 7])
    course = time_course(kind, round(DURATION_S / BIN_S), rng)
    size = rng.uniform(0.3, 0.8, N_UNITS)
    expected = np.logaddexp(0, network.baseline) * np.exp(size * course[:, None] - size**2 / 2)
    drive = expected + np.log(-np.expm1(-expected)) - network.baseline
    return _case(network, simulate(network, duration_s=DURATION_S, seed=seed, input_drive=drive).visible_counts)


def integrate_and_fire(seed: int) -> Case:
    counts, connected = lif.recording(seed, n_units=N_UNITS, duration_s=DURATION_S, bin_s=0.005, density=DENSITY)
    return Case(counts, connected, window_s=0.05)


def shortened(case: Case, share: float) -> Case:
    """The first part of a recording."""
    n_bins = round(share * case.counts.n_bins)
    counts = dataclasses.replace(
        case.counts,
        counts=np.asfortranarray(case.counts.counts[:n_bins]),
        segment_offsets=np.array([0, n_bins], dtype=np.int64),
    )
    return dataclasses.replace(case, counts=counts)


SCENARIOS: dict[str, Callable[[int], Case]] = {
    "matched": matched,
    "dense-10": lambda seed: matched(seed, density=0.1),
    "dense-20": lambda seed: matched(seed, density=0.2),
    "fifty": lambda seed: matched(seed, n_units=50),
    "lif": integrate_and_fire,
    "smooth": lambda seed: modulated(seed, "smooth"),
    "rough": lambda seed: modulated(seed, "rough"),
    "smooth-no-edges": lambda seed: modulated(seed, "smooth", density=0.0),
    "rough-no-edges": lambda seed: modulated(seed, "rough", density=0.0),
    "drivers-3": lambda seed: with_drivers(seed, 3),
    "drivers-4": lambda seed: with_drivers(seed, 4),
    "drivers-5": lambda seed: with_drivers(seed, 5),
}
