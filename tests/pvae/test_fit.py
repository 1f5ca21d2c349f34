"""The fit as a whole: it learns, repeats, resumes and refuses."""

import numpy as np
import pytest
import torch

from spikefit import pvae_pipeline
from spikefit.config import Config
from spikefit.errors import RecordingError, ResultError, UsageError
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.pvae.choose import fewest_as_good
from spikefit.fitting.pvae.fit import fit_pvae
from spikefit.fitting.pvae.folds import cut_folds, take

CPU = torch.device("cpu")
SMALL = {"bin": "10ms", "latents": 3, "width": 8, "context": "50ms", "smoothing": "30ms", "max_epochs": 6}


def settings(**changes):
    return pvae_pipeline.pvae_settings(Config().replace(**(SMALL | changes)))


def state(fitted):
    return {name: tensor.numpy() for name, tensor in fitted.network.state_dict().items()}


def assert_equal_states(first, second):
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_seeded_fits_repeat_bit_for_bit_and_seeds_matter(counts):
    first, again = (fit_pvae(counts(), settings(), device=CPU) for _ in range(2))
    assert_equal_states(state(first), state(again))
    assert first.history == again.history
    assert fit_pvae(counts(), settings(seed=1), device=CPU).history != first.history


def test_a_resumed_fit_equals_one_that_was_not_interrupted(counts, tmp_path):
    whole = fit_pvae(counts(), settings(), device=CPU)

    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    seen = []
    hooks = Hooks(checkpoints=tmp_path, should_stop=lambda: len(seen) >= 3, stop=stop)
    hooks.update = lambda done, **_: seen.append(done)
    with pytest.raises(Stopped):
        fit_pvae(counts(), settings(), device=CPU, hooks=hooks)
    resumed = fit_pvae(counts(), settings(), device=CPU, hooks=Hooks(checkpoints=tmp_path, resume=True))
    assert seen == [1, 2, 3]
    assert_equal_states(state(whole), state(resumed))
    assert resumed.history == whole.history
    with pytest.raises(ResultError, match="beta"):
        fit_pvae(counts(), settings(beta=0.5), device=CPU, hooks=Hooks(checkpoints=tmp_path, resume=True))


def test_blocks_are_disjoint_and_trials_stay_whole():
    offsets = np.arange(0, 2001, 100)
    ranges = cut_folds(offsets, shortest=40, heldout=0.2, seed=0)
    parts = [ranges.fit, ranges.choose, ranges.heldout]
    seen = np.concatenate([np.arange(a, b) for part in parts for a, b in part.tolist()])
    assert sorted(seen.tolist()) == list(range(2000))
    assert {int(b - a) for a, b in ranges.heldout} == {100}
    assert len(ranges.heldout) == 4


def test_taken_blocks_keep_their_times(counts):
    data = counts(lengths=(50, 50))
    part = take(data, np.array([[10, 20], [60, 90]]))
    np.testing.assert_allclose(part.time_s[[0, 10]], [0.1, 10.1])
    np.testing.assert_array_equal(part.counts[10:], data.counts[60:90])


def test_faults_of_the_input_name_both_values(counts):
    with pytest.raises(UsageError, match=r"--latents 5000: more latents than the \d+ bins"):
        fit_pvae(counts(), settings(latents=5000), device=CPU)
    with pytest.raises(UsageError, match=r"\(4 bins, 0.04 s\) is shorter than the context.*\(5 bins on either side"):
        fit_pvae(counts(lengths=(4,) * 30), settings(), device=CPU)
    still = counts()
    still.counts[:, 3] = 2
    with pytest.raises(RecordingError, match=r"1 of 8 units are constant.*'u3'.*2 spikes in each"):
        fit_pvae(still, settings(), device=CPU)
    with pytest.raises(UsageError, match=r"closed form.*conv decoder"):
        fit_pvae(counts(), settings(estimator="exact"), device=CPU)
    with pytest.raises(UsageError, match="too short to hold out 20%"):
        fit_pvae(counts(lengths=(40,)), settings(), device=CPU)


def test_the_exact_estimator_trains_where_it_can(counts):
    fitted = fit_pvae(counts(), settings(estimator="exact", decoder="linear", link="exp"), device=CPU)
    assert fitted.history["objective"][-1] > fitted.history["objective"][0]


def test_the_number_of_latents_is_the_fewest_within_one_standard_error(counts):
    data = counts(lengths=(50, 50, 50))
    # 4 latents are 1 nat a block behind 8, by the same in every block; 2 are behind by as much as the blocks scatter.
    best = np.array([-10.0, -20.0, -30.0])
    taken, tried = fewest_as_good({2: best - [0.0, 0.1, 3.0], 4: best - [1.0, 1.0, 1.0], 8: best}, data)
    assert [row["latents"] for row in tried] == [2, 4, 8]
    assert taken == 8  # 3.1 nats behind are more than an error of 2.96
    bits = np.log(2) * data.counts.sum()
    assert tried[0]["behind_se"] == pytest.approx(np.sqrt(3) * np.std([0.0, 0.1, 3.0], ddof=1) / bits)
    assert tried[1] == {**tried[1], "behind": pytest.approx(3 / bits), "behind_se": pytest.approx(0)}
    assert fewest_as_good({2: best - [0.0, -0.1, 3.0], 8: best}, data)[0] == 2


def test_a_choice_of_latents_that_was_interrupted_goes_on(counts, tmp_path, monkeypatch):
    from spikefit.fitting.pvae import choose

    monkeypatch.setattr(choose, "CANDIDATES", (1, 2))
    whole = choose.choose_latents(counts(), settings(max_epochs=3), device=CPU)
    seen = []

    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    hooks = Hooks(checkpoints=tmp_path, should_stop=lambda: len(seen) >= 3, stop=stop)
    hooks.update = lambda done, **_: seen.append(done)
    with pytest.raises(Stopped):
        choose.choose_latents(counts(), settings(max_epochs=3), device=CPU, hooks=hooks)
    again = Hooks(checkpoints=tmp_path, resume=True)
    trained = []
    again.update = lambda done, **_: trained.append(done)
    resumed = choose.choose_latents(counts(), settings(max_epochs=3), device=CPU, hooks=again)
    assert seen == [1, 2, 1]
    assert trained == [2]  # of the second fit; the first was done
    assert resumed.tried == whole.tried
    assert_equal_states(state(whole.fitted), state(resumed.fitted))
    with pytest.raises(UsageError, match="--latents auto goes by co-smoothing"):
        choose.choose_latents(counts(), settings(observation="gaussian"), device=CPU)


def test_small_populations_hide_fewer_units_unless_told_otherwise():
    assert settings().hidden_share(19) < settings().hidden_share(20)
    assert settings(unit_dropout=0.1).hidden_share(19) == settings(unit_dropout=0.1).hidden_share(20) == 0.1
