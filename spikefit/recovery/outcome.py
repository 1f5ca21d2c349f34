"""What a recording can resolve, as it was found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spikefit.recovery.hidden import AgainstHidden
from spikefit.recovery.scores import RecoveryScore, mean_scores
from spikefit.recovery.truth import TAMINGS, Taming
from spikefit.recovery.words import found_sentence, of_what
from spikefit.results.documents import plain


@dataclass(frozen=True)
class TrueEdge:
    """An edge of a simulated network, and what was found of it; `q_value` is NaN where the fit has none."""

    network: str
    length: float
    seed: int
    pre_id: str
    post_id: str
    weight: float
    n_pre_spikes: int
    n_post_spikes: int
    estimate: float
    q_value: float
    found: bool


@dataclass(frozen=True, eq=False)
class Recovery:
    """What a recording can resolve.

    Attributes:
        name: of the result.
        q: edges were called at this q-value.
        truth_rule: which couplings of the fit were taken for true.
        scores: one for each simulated recording.
        edges: every true edge of each of them.
        notes: what the reader must know.
        seed: that all seeds come from.
        taming: how the fit had to be weakened to be simulated; None where no simulation of it succeeded.
        hidden: what was found beside how many unrecorded neurons.
    """

    name: str
    q: float
    truth_rule: str
    scores: tuple[RecoveryScore, ...]
    edges: tuple[TrueEdge, ...]
    notes: tuple[str, ...]
    seed: int
    taming: Taming | None = TAMINGS[0]
    hidden: AgainstHidden = field(default_factory=AgainstHidden)

    def sentence(self) -> str:
        """What can be found in a recording of this length, from the measured shares, and of which network that is said."""
        return f"{found_sentence(self)}{of_what(self.taming)}"

    def means(self) -> list[dict[str, Any]]:
        """For each kind of network and length the mean over seeds of every score; what was never known is NaN."""
        rows = []
        for key in dict.fromkeys((score.network, score.length) for score in self.scores):
            group = [score for score in self.scores if (score.network, score.length) == key]
            rows.append({"network": key[0], "length": key[1], "n_seeds": len(group), **mean_scores(group)})
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single edges as plain values; what is not known is None."""
        values: dict[str, Any] = plain(
            {
                "name": self.name,
                "sentence": self.sentence(),
                "q": self.q,
                "truth": self.truth_rule,
                "taming": None if self.taming is None else asdict(self.taming),
                "seed": self.seed,
                "means": self.means(),
                "runs": [asdict(score) for score in self.scores],
                "hidden": self.hidden.to_dict() if self.hidden.runs else None,
                "notes": self.notes,
            }
        )
        return values

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page, the numbers and the tables into `folder`, whole or not at all.

        Raises:
            UsageError: if the folder holds anything and `overwrite` is not set, holds a result, or cannot be written to.
        """
        from spikefit.recovery.saving import save_recovery

        return save_recovery(self, Path(folder), overwrite=overwrite)
