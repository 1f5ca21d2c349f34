"""What a fit leaves behind: in memory, in a folder, and back. Opens without torch or a GPU.

`Result` holds the numbers; `Result.save` and `load_result` are the way to the disk and back; `claim_output` makes sure
before the work that the way is free. Row receives, column sends, in every array and every file.
"""

from spikefit.results.documents import to_json
from spikefit.results.edges import EDGE_COLUMNS
from spikefit.results.layout import RESULT_FILES, claim_output
from spikefit.results.loading import doubts_of_opening, load_result
from spikefit.results.model import Result
from spikefit.results.parts import CommonDriveTerm, CovariateTerms, Excerpt, HiddenActivity, UnitRow

__all__ = [
    "EDGE_COLUMNS",
    "RESULT_FILES",
    "CommonDriveTerm",
    "CovariateTerms",
    "Excerpt",
    "HiddenActivity",
    "Result",
    "UnitRow",
    "claim_output",
    "doubts_of_opening",
    "load_result",
    "to_json",
]
