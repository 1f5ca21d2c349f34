"""What unrecorded neurons do to what is found, with hidden units in the fit and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from spikefit.recovery.jobs import FIT, RANDOM, WITH, WITHOUT
from spikefit.recovery.scores import RecoveryScore, mean_scores
from spikefit.results import Result

BY_Q, BY_Q_WITHOUT, BY_SIZE = "q", "q without hidden units", "size"


@dataclass(frozen=True)
class HiddenRun:
    """A simulated recording with unrecorded neurons, fitted.

    Attributes:
        fitted: `without` hidden units or `with` them.
        called_by: `q`; `q without hidden units`, where those of the fit with them cannot be had; or `size`, where there are none.
        score: what was found.
    """

    fitted: str
    called_by: str
    score: RecoveryScore

    @staticmethod
    def header() -> list[str]:
        """Names of the columns of a row."""
        names = [item.name for item in fields(RecoveryScore)]
        return [*names[:3], "fitted", "called_by", *names[3:]]

    def row(self) -> dict[str, Any]:
        """One level of plain values."""
        values = asdict(self.score) | {"fitted": self.fitted, "called_by": self.called_by}
        return {name: values[name] for name in self.header()}


@dataclass(frozen=True)
class AgainstHidden:
    """The runs in which the number of unrecorded neurons was varied.

    Attributes:
        runs: one for each fit.
        unrecorded: what the unrecorded neurons of random networks are like, in words.
        own_settings: whether fits with hidden units have the settings of the result; otherwise they were told how many there are.
    """

    runs: tuple[HiddenRun, ...] = ()
    unrecorded: str = ""
    own_settings: bool = False

    def means(self) -> list[dict[str, Any]]:
        """For each kind of network, number of unrecorded neurons and way to fit: the means over simulations, and how calls were made."""
        rows = []
        key_of = {id(run): (run.score.network, run.score.n_hidden_true, run.fitted) for run in self.runs}
        for key in sorted(set(key_of.values()), key=lambda key: (key[0] == FIT, key[1], key[2] != WITHOUT)):
            group = [run for run in self.runs if key_of[id(run)] == key]
            called_by = ", ".join(dict.fromkeys(run.called_by for run in group))
            row = {"network": key[0], "fitted": key[2], "called_by": called_by, "n_seeds": len(group)}
            rows.append(row | mean_scores([run.score for run in group]))
        return rows

    def sentence(self) -> str:
        """What fits say and what they would miss in a recording with as many unrecorded neurons as were simulated at most."""
        network = RANDOM if any(run.score.network == RANDOM for run in self.runs) else FIT
        runs = [run for run in self.runs if run.score.network == network]
        if not runs:
            return ""
        most = max(run.score.n_hidden_true for run in runs)
        runs = [run for run in runs if run.score.n_hidden_true == most]
        without = [run.score for run in runs if run.fitted == WITHOUT]
        others = [run for run in runs if run.fitted == WITH]
        lost = "no neuron" if most == 0 else "1 neuron" if most == 1 else f"{most} neurons"
        text = f"With {lost} unrecorded, {_false(without)} without hidden units"
        found = f"{_sum(without, 'n_right')} of {_sum(without, 'n_true')} edges were found"
        if not others:
            return f"{text}; {found}."
        scores = [run.score for run in others]
        if any(run.called_by != BY_Q for run in others):
            return f"{text}, and {found}; fits with hidden units have no q-values of their own here."
        text = f"{text} and {_of_calls(scores)} with them; of {_sum(without, 'n_true')} edges {_sum(without, 'n_right')} and {_sum(scores, 'n_right')} were found"
        if not most:
            return f"{text}."
        return f"{text}, and {_sum(scores, 'n_hidden_found')} of the {_sum(scores, 'n_hidden_true')} unrecorded neurons{_in_all(len(scores))}."

    def notes(self) -> list[str]:
        """Which calls are not what they look like."""
        notes = []
        n_with = sum(run.fitted == WITH for run in self.runs)
        of_plain = sum(run.called_by == BY_Q_WITHOUT for run in self.runs)
        if of_plain:
            notes.append(
                f"{of_plain} of {n_with} fits with hidden units have no errors of their own: their calls are those of the fit without hidden units "
                "to the same bins"
            )
        by_size = sum(run.called_by == BY_SIZE for run in self.runs)
        if by_size:
            notes.append(
                f"{by_size} of {len(self.runs)} fits to networks with unrecorded neurons have no q-values: their strongest pairs stand for calls, and "
                "how many of those are false says nothing of q"
            )
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Plain values but for NaN."""
        return {
            "sentence": self.sentence(),
            "unrecorded": self.unrecorded,
            "fits_with_hidden_units": "settings of the result" if self.own_settings else "as many as there are",
            "means": self.means(),
            "runs": [run.row() for run in self.runs],
        }


def called_by(fit: Result) -> str:
    """How the edges of a fit are called."""
    n = fit.n_visible
    if not np.isfinite(fit.q_value[:n, :n]).any():
        return BY_SIZE
    return BY_Q if fit.metrics.get("tested_on") is None else BY_Q_WITHOUT


def _sum(scores: Sequence[RecoveryScore], name: str) -> int:
    return sum(int(getattr(score, name)) for score in scores)


def _of_calls(scores: Sequence[RecoveryScore]) -> str:
    n_called = _sum(scores, "n_called")
    return f"{n_called - _sum(scores, 'n_right')} of {n_called}"


def _false(scores: Sequence[RecoveryScore]) -> str:
    return f"{_of_calls(scores)} calls were false"


def _in_all(n: int) -> str:
    return "" if n == 1 else f" ({n} simulations together)"
