"""Couplings beside input that the fit does not see come out too small by what the counts themselves tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from spikefit.fitting.attenuation import attenuation_of
from spikefit.fitting.design import Design
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.lost import LostBins
from spikefit.models.ceiling import SIGMOID_CEILING

N_BINS, COUPLING, BASELINE, SENDS = 400_000, 0.6, -1.5, 0.2
UNSEEN, SHARE = 3.0, 0.2  # input that is there in a fifth of the bins, whatever the sender does
MEAN = {
    "softplus": lambda drive: np.logaddexp(0, drive),
    "exp": np.exp,
    "sigmoid": lambda drive: SIGMOID_CEILING * expit(drive),
}


def spikes(link: str, unseen: float, seed: int = 0) -> np.ndarray:
    """A sender, and a receiver that it and something unseen excite in the next bin; (bin, unit)."""
    rng = np.random.default_rng(seed)
    sender = rng.poisson(SENDS, N_BINS)
    drive = BASELINE + COUPLING * np.roll(sender, 1) + unseen * (rng.random(N_BINS) < SHARE)
    return np.stack([sender, rng.poisson(MEAN[link](drive))], axis=1).astype(np.uint8)


def fitted(counts: np.ndarray, link: str, lost: LostBins | None = None) -> tuple[Design, GLMFit]:
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T))
    design = Design(by_unit, np.array([[1, len(counts)]]), torch.ones(1, 1, dtype=torch.float64), lost=lost)
    return design, fit_glm(design, ridge=0.0, link=link, tolerance_nats=1e-6)


def in_closed_form(link: str, unseen: float) -> float:
    """Slope on the mean over the slope of the mean, a sender's silence and its spikes weighted as they come."""
    spread = np.exp(-SENDS) * SENDS ** np.arange(8) / np.cumprod([1, *range(1, 8)])
    drive = BASELINE + COUPLING * np.arange(8)
    over = lambda f: (1 - SHARE) * f(drive) + SHARE * f(drive + unseen)  # noqa: E731
    slope = {
        "softplus": expit,
        "exp": np.exp,
        "sigmoid": lambda u: SIGMOID_CEILING * expit(u) * expit(-u),
    }[link]
    of_mean = {
        "softplus": lambda mean: -np.expm1(-mean),
        "exp": lambda mean: mean,
        "sigmoid": lambda mean: mean * (1 - mean / SIGMOID_CEILING),
    }[link]
    return float((spread * over(slope)).sum() / (spread * of_mean(over(MEAN[link]))).sum())


@pytest.mark.parametrize("link", ["softplus", "sigmoid", "exp"])
def test_what_is_lost_is_told_by_the_counts(link: str) -> None:
    design, fit = fitted(spikes(link, UNSEEN), link)
    found = attenuation_of(design, fit, link=link)
    assert found[1].item() == pytest.approx(in_closed_form(link, UNSEEN), abs=0.01)
    assert found[0].item() == pytest.approx(1.0, abs=0.01)  # nothing unseen acts on the sender
    plain = fit.weights[1, 0].item()
    assert plain / found[1].item() == pytest.approx(COUPLING, rel=0.06)
    if link == "exp":
        assert (found == 1).all()
    else:  # the twin: without it the coupling is wrong
        assert plain < 0.87 * COUPLING


def test_nothing_is_lost_where_nothing_is_unseen() -> None:
    design, fit = fitted(spikes("softplus", 0.0), "softplus")
    assert (attenuation_of(design, fit, link="softplus") > 0.99).all()


def test_bins_in_which_a_unit_is_lost_say_nothing() -> None:
    counts = spikes("softplus", UNSEEN)
    lost = np.zeros(counts.shape, dtype=bool)
    lost[N_BINS // 2 :, 1] = True
    half = fitted(counts[: N_BINS // 2], "softplus")
    counts[lost] = 0
    mask = torch.from_numpy(np.ascontiguousarray(lost.T))
    means = torch.from_numpy(counts.sum(0) / (~lost).sum(0))
    whole = fitted(counts, "softplus", LostBins(mask, means))
    of_half, of_whole = (attenuation_of(*one, link="softplus")[1].item() for one in (half, whole))
    assert of_whole == pytest.approx(of_half, abs=1e-3)


def test_it_is_one_where_a_unit_is_silent() -> None:
    counts = spikes("softplus", UNSEEN)[:2000]
    design, fit = fitted(counts, "softplus")
    silent = Design(
        torch.zeros(2, 2000, dtype=torch.uint8), np.array([[1, 2000]]), torch.ones(1, 1, dtype=torch.float64)
    )
    assert (attenuation_of(silent, fit, link="softplus") == 1).all()
    assert design.n_units == 2
