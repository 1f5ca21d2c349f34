"""Covariates on their way into a fit: their value in every bin, through their basis, standardised and checked."""

from spikefit.covariate_design.build import design_columns, same_columns, with_covariates
from spikefit.covariate_design.outcome import covariate_metrics, covariate_terms, fitted_terms

__all__ = ["covariate_metrics", "covariate_terms", "design_columns", "fitted_terms", "same_columns", "with_covariates"]
