"""The keys of what is known beforehand: how they may be written, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import spikefit
from spikefit.config import Config
from spikefit.errors import ConfigError, UsageError
from spikefit.fitted import fit_settings
from spikefit.spikes import Counts


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("auto", {"all": "auto"}),
        ("a=excitatory,b*=Inhibitory", {"a": "excitatory", "b*": "inhibitory"}),
        ({"hidden": "inhibitory", "all": "any"}, {"hidden": "inhibitory", "all": "any"}),
        ("", {}),
    ],
)
def test_signs_may_be_written_in_several_ways(written: object, read: dict[str, str]) -> None:
    config = Config().replace(dale=written)
    assert config.model.dale == read
    assert Config.model_validate(config.to_dict()).model.dale == read


def test_hidden_units_have_a_key_of_their_own_and_all_is_a_pattern() -> None:
    settings = fit_settings(Config().replace(dale="all=auto,u1=excitatory,hidden=inhibitory", group_lasso="auto"))
    assert settings.dale == (("*", "auto"), ("u1", "excitatory"))
    assert settings.hidden_sign == "inhibitory"
    assert settings.group_lasso is None
    assert fit_settings(Config()).group_lasso == 0.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dale": "u1=up"}, "'u1' must be one of excitatory, inhibitory, auto, any"),
        ({"dale": "u1"}, "expected UNIT=SIGN pairs"),
        ({"dale": "hidden=auto"}, "hidden=excitatory or hidden=inhibitory"),
        ({"dale": "hidden=excitatory", "hidden_sign": "inhibitory"}, "excitatory .dale. and inhibitory .hidden_sign."),
        ({"group_lasso": -1}, "at least 0, or auto"),
        ({"group_lasso": 5, "significance": "jitter"}, "have none"),
        ({"dale": "auto", "significance": "shift"}, "have none"),
        ({"posterior_depth": 9}, "8"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config().replace(**settings)


def test_units_that_are_not_there_are_refused_before_the_work_starts(tmp_path: Path) -> None:
    counts = Counts(
        counts=np.ones((50, 2), dtype=np.uint8, order="F"),
        bin_width_s=0.005,
        segment_offsets=np.array([0, 50]),
        segment_start_s=np.zeros(1),
        unit_ids=("unit-1", "unit-2"),
    )
    with pytest.raises(UsageError, match=r"dale: the recording has no unit 'unit-3'.*did you mean 'unit-"):
        spikefit.POGLM(dale={"unit-3": "excitatory"}).fit(counts)
    table = tmp_path / "pairs.csv"
    table.write_text("pre_id,post_id,rule\nunit-1,unt-2,forbidden\n")
    with pytest.raises(UsageError, match=r"pairs.csv, line 2, post_id: the recording has no unit 'unt-2'"):
        spikefit.POGLM(pair_mask=str(table)).fit(counts)
