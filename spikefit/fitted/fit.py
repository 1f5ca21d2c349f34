"""A result that still works: it scores recordings it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from spikefit import results
from spikefit.covariate_columns import CovariateColumns
from spikefit.errors import UsageError
from spikefit.results import Result
from spikefit.spikes import Counts, SpikeTrains


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Fit(Result):
    """A result that can be asked about spikes it has not seen."""

    def score(self, recording: SpikeTrains | Counts, *, n_draws: int = 8) -> dict[str, float]:
        """Score another recording of the same units.

        With hidden units the score is the evidence lower bound, with hidden counts drawn from the posterior; it errs
        on the low side.

        Args:
            recording: spike trains, or counts in the bin width of the fit, that hold every visible unit of the fit.
            n_draws: draws of the hidden counts.

        Returns:
            `nats_per_bin` and `bits_per_spike` with their standard errors over blocks of time (`…_se`), and `n_bins`.
            Bits are counted against constant rates in that recording itself.

        Raises:
            UsageError: if a unit is missing or the bin width is another.
        """
        from spikefit.fitting.rescore import score_counts

        counts = _counts_for(recording, self.bin_width_s)
        if not math.isclose(counts.bin_width_s, self.bin_width_s, rel_tol=1e-9):
            raise UsageError(
                f"the fit has bins of {self.bin_width_s:g} s, the counts have bins of {counts.bin_width_s:g} s.",
                hint="bin the recording as the fit was",
            )
        wanted = self.unit_id[: self.n_visible]
        missing = [unit for unit in wanted if unit not in counts.unit_ids]
        if missing:
            raise UsageError(
                f"{len(missing)} of the fit's {len(wanted)} units are not in the recording (first: {missing[0]!r}).",
                hint="score a recording of the same units",
            )
        rows = [counts.unit_ids.index(unit) for unit in wanted]
        covariates = self._covariates_of(recording, counts)
        model = self.config["model"]
        return score_counts(
            counts.counts[:, rows],
            counts.segment_offsets,
            dict(self.parameters),
            link=model["link"],
            family=model["family"],
            n_draws=n_draws,
            covariates=covariates,
            lost=None if counts.lost is None else counts.lost[:, rows],
        )

    def _covariates_of(self, recording: SpikeTrains | Counts, counts: Counts) -> CovariateColumns | None:
        """The fit's covariates in a recording, by the fit's own means, scales and knots."""
        from spikefit.covariate_design import fitted_terms, same_columns

        if self.covariates is None:
            return None
        if isinstance(recording, Counts):
            names = ", ".join(dict.fromkeys(self.covariates.covariate))
            raise UsageError(
                f"the fit listens to covariates ({names}), and counts alone do not hold them.",
                hint="score the recording itself (spikefit.read), with its covariates",
            )
        return same_columns(recording, counts, fitted_terms(self.covariates))


def load_result(path: str | Path) -> Fit:
    """Open a result folder or its `connectivity.h5`, without torch.

    Raises:
        ResultError: if it is no result, half a result, damaged, or of a newer format.
    """
    return results.load_result(Path(path), cls=Fit)


def _counts_for(recording: SpikeTrains | Counts, bin_width_s: float) -> Counts:
    return recording if isinstance(recording, Counts) else recording.bin(bin_width_s)
