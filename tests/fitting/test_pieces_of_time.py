"""Held-out scores by pieces of time: the pieces, their sums, and one measure for all bin widths."""

from __future__ import annotations

import numpy as np
import pytest

import spikefit
from spikefit.comparison.pieces import common_pieces
from spikefit.fitting.pieces_of_time import pieces_of
from spikefit.simulate import random_network, simulate

SETTINGS = {"window": "100ms", "functions": 2, "device": "cpu", "threads": 1, "common_drive": "off"}


def test_pieces_are_whole_inside_their_range_and_begin_with_the_segment():
    offsets = np.array([0, 1000, 1500])
    # Bins of 10 ms: pieces of 50 bins, counted from each segment's start.
    found = pieces_of(np.array([[30, 210], [1010, 1120]]), offsets, 0.01)
    np.testing.assert_array_equal(found, [[50, 100], [100, 150], [150, 200], [1050, 1100]])
    assert pieces_of(np.array([[10, 55]]), offsets, 0.01).shape == (0, 2)
    # 30 ms do not divide half a second: a bin belongs to the piece in which it starts.
    np.testing.assert_array_equal(pieces_of(np.array([[0, 40]]), offsets, 0.03), [[0, 17], [17, 34]])


@pytest.fixture(scope="module")
def trains():
    network = random_network(n_visible=4, n_drivers=0, seed=3, bin_width_s=0.005, rate_hz=15.0)
    return simulate(network, duration_s=150, seed=3).trains()


def test_pieces_of_other_bins_hold_the_same_spikes_and_constant_rates_score_alike(trains):
    """Constant rates see no bins: by the likelihood of spike times they score the same at 5, 10 and 20 ms, up to the training bins they are from."""
    fits = [spikefit.POGLM(bin=width, **SETTINGS).fit(trains) for width in ("5ms", "10ms", "20ms")]
    fits.append(spikefit.POGLM(bin="10ms", hidden=1, max_epochs=1, restarts=1, **SETTINGS).fit(trains))
    found = common_pieces(fits)
    assert not isinstance(found, str), found
    nats, constant, _, n_pieces = found
    assert n_pieces > 20
    n_spikes = fits[0].history["heldout_piece_spikes"].mean() * n_pieces
    assert np.ptp(constant.sum(axis=1)) < 0.005 * n_spikes
    # The twin: the likelihoods of the counts themselves lie apart by log 2 for each spike.
    assert abs(np.log(2) * n_spikes) > 50 * np.ptp(constant.sum(axis=1))
    assert (nats.sum(axis=1) > constant.sum(axis=1))[:3].all()
    assert np.abs(np.diff(nats[:3].sum(axis=1))).max() < 0.2 * n_spikes


def test_the_pieces_of_a_fit_are_its_held_out_score(trains):
    """Where blocks are made of whole pieces, both say the same; here most bins of the blocks are in pieces."""
    fit = spikefit.POGLM(bin="10ms", **SETTINGS).fit(trains)
    spikes, nats = fit.history["heldout_piece_spikes"], fit.history["heldout_piece_nats"]
    gain = (nats - fit.history["heldout_piece_constant_nats"]).sum() / np.log(2) / spikes.sum()
    assert gain == pytest.approx(
        fit.metrics["heldout_bits_per_spike"], abs=3 * fit.metrics["heldout_bits_per_spike_se"]
    )
