"""Whether hidden units were found again from other starts, in a sentence."""

from __future__ import annotations

from spikefit.results import Result


def stability_sentence(result: Result) -> str | None:
    """How many of the hidden units other fits found again; None without hidden units."""
    told = result.metrics.get("hidden_stability")
    if not result.n_hidden:
        return None
    if not isinstance(told, list | tuple) or not told:
        return "The fit had one start, so whether its hidden units hang on where it started is not known."
    n, n_fits = len(told), told[0]["fits_compared"]
    n_stable = sum(not row["unstable"] for row in told)
    against = f"{n_fits} other fit{'s' if n_fits > 1 else ''}"
    scores = ", ".join(f"{row['unit']} {row['stability']:.2f} ({row['fits_agreeing']}/{n_fits})" for row in told)
    return f"{n_stable} of {n} hidden units {'is' if n == 1 else 'are'} stable, found again by at least half of {against}: {scores}."
