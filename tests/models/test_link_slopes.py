"""Derivatives of the links alone, against those that come with the values, and against differences of these."""

from __future__ import annotations

import pytest
import torch

from spikefit.models.link import LINK_SLOPES_, LINK_VALUES, LINKS


@pytest.mark.parametrize("name", list(LINKS))
def test_slopes_alone_are_those_that_come_with_the_values(name: str) -> None:
    drive = torch.linspace(-90, 30, 2401, dtype=torch.float64)
    expected = LINKS[name](drive.clone())[1]
    found = LINK_SLOPES_[name](drive.clone())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0.0)
    inside, step = drive[drive.abs() < 30], 1e-4
    rise = (LINK_VALUES[name](inside + step) - LINK_VALUES[name](inside - step)) / (2 * step)
    torch.testing.assert_close(found[drive.abs() < 30], rise, rtol=1e-6, atol=1e-9)
    others = [other for other in LINKS if other != name]
    assert all((LINK_SLOPES_[other](drive.clone()) - expected).abs().max() > 0.1 for other in others)


@pytest.mark.parametrize("name", list(LINKS))
def test_slopes_alone_are_written_over_the_drive(name: str) -> None:
    drive = torch.zeros(3)
    assert LINK_SLOPES_[name](drive).data_ptr() == drive.data_ptr()
