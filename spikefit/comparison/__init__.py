"""Results side by side: scores, couplings, hidden units; of one recording, or of sessions that share units.

    comparison = spikefit.compare("without", "with")
    comparison.pairs[0].scores, comparison.pairs[0].couplings
    comparison.save("side-by-side")

Like the results themselves it opens without torch.
"""

from spikefit.comparison.couplings import CouplingAgreement
from spikefit.comparison.fold_pairs import FoldDifference
from spikefit.comparison.folds import FoldRow, FoldTable
from spikefit.comparison.hidden import HiddenMatch
from spikefit.comparison.latents import LatentComparison
from spikefit.comparison.methods import BaselineTable, Method, MethodRow
from spikefit.comparison.pieces import SameTime, TimeRow
from spikefit.comparison.scores import ScoreDifference, ScoreRow
from spikefit.comparison.side_by_side import Comparison, PairComparison, compare

__all__ = [
    "BaselineTable",
    "Comparison",
    "CouplingAgreement",
    "FoldDifference",
    "FoldRow",
    "FoldTable",
    "HiddenMatch",
    "LatentComparison",
    "Method",
    "MethodRow",
    "PairComparison",
    "SameTime",
    "ScoreDifference",
    "ScoreRow",
    "TimeRow",
    "compare",
]
