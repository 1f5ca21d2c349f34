"""Count laws that Gumbel-softmax can relax: each knows its log-probabilities, its mean and where to be cut off."""

from spikefit.prob.laws.base import CountLaw, check_table_size
from spikefit.prob.laws.categorical import CategoricalLaw
from spikefit.prob.laws.com_poisson import ComPoissonLaw
from spikefit.prob.laws.negative_binomial import NegativeBinomialLaw
from spikefit.prob.laws.poisson import PoissonLaw

__all__ = [
    "CategoricalLaw",
    "ComPoissonLaw",
    "CountLaw",
    "NegativeBinomialLaw",
    "PoissonLaw",
    "check_table_size",
]
