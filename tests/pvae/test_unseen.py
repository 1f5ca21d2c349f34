"""Rates of units that are not shown are corrected, those of units that are shown are not, and old models go without."""

import numpy as np
import pytest
import torch

from spikefit.fitting.pvae.apply import predict
from spikefit.fitting.pvae.folds import FoldRanges
from spikefit.fitting.pvae.saved import LatentModel, load_model, model_bytes
from spikefit.fitting.pvae.unseen import _regress, learn_unseen


def test_the_regression_is_scikit_learns():
    from sklearn.linear_model import PoissonRegressor

    random = np.random.default_rng(0)
    log_told = random.normal(-1, 0.7, 4000)
    counts = random.poisson(np.exp(0.4 + 1.6 * log_told)).astype(float)
    gain, offset = _regress(log_told, counts)
    known = PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(log_told[:, None], counts)
    assert gain == pytest.approx(known.coef_[0], abs=0.01)
    assert offset == pytest.approx(known.intercept_, abs=0.01)
    # Data that are as told need no correction, and a silent unit keeps what it has, nearly.
    gain, offset = _regress(log_told, random.poisson(np.exp(log_told)).astype(float))
    assert (gain, offset) == (pytest.approx(1, abs=0.1), pytest.approx(0, abs=0.15))


def test_only_unseen_units_are_corrected_and_towards_the_data(network, counts):
    model, data = network(), counts(lengths=(200,) * 10)
    data.counts[:, 3] *= 4  # far above what the network was made for
    shown = [unit != 3 for unit in range(8)]
    before = predict(model, data, present=shown)
    everything = np.stack([data.segment_offsets[:-1], data.segment_offsets[1:]], axis=1)
    learn_unseen(model, data, FoldRanges(everything, everything, everything))
    after = predict(model, data, present=shown)
    np.testing.assert_array_equal(after[:, :3], before[:, :3])
    np.testing.assert_array_equal(predict(model, data), predict(network(), data))
    mean = data.counts[:, 3].mean()
    assert abs(after[:, 3].mean() / mean - 1) < 0.1
    assert abs(before[:, 3].mean() / mean - 1) > 0.3


def test_models_keep_their_correction_and_old_ones_have_none(network, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save

    model = network()
    model.unseen_gain.fill_(1.5)
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    new.write_bytes(model_bytes(LatentModel(model, tuple("abcdefgh"), 0.01, {})))
    with safe_open(new, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("unseen")}  # noqa: SIM118
        old.write_bytes(save(tensors, metadata=file.metadata()))
    assert (load_model(new, torch.device("cpu")).network.unseen_gain == 1.5).all()
    assert (load_model(old, torch.device("cpu")).network.unseen_gain == 1).all()
