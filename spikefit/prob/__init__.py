"""Probability for spike counts: the Poisson law, and gradients through counts by every estimator of the field.

Everything here is a function of tensors, or a thin class over such functions, and knows nothing of recordings.
"""

from spikefit.prob.arrivals import eat_counts
from spikefit.prob.distribution import SoftPoisson
from spikefit.prob.edges import EDGES, Edge, get_edge
from spikefit.prob.estimators import ESTIMATORS, get_estimator
from spikefit.prob.fidelity import wasserstein_floor, wasserstein_to_poisson
from spikefit.prob.gradient_quality import GradientQuality, gradient_quality
from spikefit.prob.gumbel import gsm_counts, gsm_law_counts
from spikefit.prob.laws import CategoricalLaw, ComPoissonLaw, CountLaw, NegativeBinomialLaw, PoissonLaw
from spikefit.prob.local_expectation import categorical_correction, effect_by_trial, poisson_correction
from spikefit.prob.moments import EatMoments, eat_moments
from spikefit.prob.poisson import poisson_kl, poisson_log_prob, sample_poisson
from spikefit.prob.protocol import Draws, Estimator
from spikefit.prob.score import leave_one_out, score_correction

__all__ = [
    "EDGES",
    "ESTIMATORS",
    "CategoricalLaw",
    "ComPoissonLaw",
    "CountLaw",
    "Draws",
    "EatMoments",
    "Edge",
    "Estimator",
    "GradientQuality",
    "NegativeBinomialLaw",
    "PoissonLaw",
    "SoftPoisson",
    "categorical_correction",
    "eat_counts",
    "eat_moments",
    "effect_by_trial",
    "get_edge",
    "get_estimator",
    "gradient_quality",
    "gsm_counts",
    "gsm_law_counts",
    "leave_one_out",
    "poisson_correction",
    "poisson_kl",
    "poisson_log_prob",
    "sample_poisson",
    "score_correction",
    "wasserstein_floor",
    "wasserstein_to_poisson",
]
