"""What is simulated and how each simulation is fitted: one list for both tables, so that nothing is done twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spikefit.config import Config

FIT, RANDOM = "fit", "random"
WITHOUT, WITH = "without", "with"  # hidden units in the fit of a simulated recording


@dataclass(frozen=True)
class Job:
    """A simulated recording and its fits.

    Attributes:
        network: `fit` or `random`.
        length: in lengths of the recording.
        seed: of the network and of its spikes.
        n_hidden: neurons that are not recorded.
        ways: how it is fitted, `without` hidden units or `with` them.
        against_length, against_hidden: in which of the tables it stands.
    """

    network: str
    length: float
    seed: int
    n_hidden: int
    ways: tuple[str, ...]
    against_length: bool
    against_hidden: bool


def own_way(config: Config) -> str:
    """How the result itself was fitted."""
    return WITHOUT if config.model.hidden == 0 else WITH


def config_of(config: Config, way: str, n_hidden: int) -> Config:
    """Settings of one fit: the result's own where it was made in that way.

    For hidden units that a result does not ask for they are told how many neurons are unrecorded, and what goes without hidden units alone
    is set to what goes with them.
    """
    if way == own_way(config):
        return config
    if way == WITHOUT:
        return config.replace(hidden=0)
    others: dict[str, str] = {"long_lags": "off"}
    if config.fit.significance in ("jitter", "shift", "trials"):
        others["significance"] = "null"
    if config.gradient.estimator == "exact" and config.model.count_law == "negative-binomial":
        others["estimator"] = Config().gradient.estimator
    return config.replace(hidden=n_hidden, **others)


def jobs_of(
    config: Config, *, n_own: int, lengths: Sequence[float], seeds: Sequence[int], hidden: Sequence[int], at: float
) -> list[Job]:
    """All simulations.

    Args:
        config: of the result.
        n_own: hidden units of the result.
        lengths: of the first table.
        seeds: of each of its cells.
        hidden: numbers of unrecorded neurons of the second table; none for no table.
        at: length of the recordings of the second table.
    """
    own = own_way(config)
    wanted: dict[tuple[str, float, int, int], Job] = {}
    for network in (FIT, RANDOM):
        for length in lengths:
            for seed in seeds:
                wanted[network, length, seed, n_own] = Job(network, length, seed, n_own, (own,), True, False)
    for network in (FIT, RANDOM):
        # The fit has the hidden units that it has, and without any it stands in the other table already.
        for n_hidden in hidden if network == RANDOM else [h for h in hidden if h == n_own and h]:
            # Where nobody is unrecorded and the result has no hidden units, there is no number of them to fit with.
            ways = (WITHOUT,) if own == WITHOUT and n_hidden == 0 else (WITHOUT, WITH)
            for seed in seeds:
                key = network, at, seed, n_hidden
                wanted[key] = Job(*key, ways, against_length=key in wanted, against_hidden=True)
    return list(wanted.values())
