"""The scripts behind the page on estimators measure what they say, and write where the page has room."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from spikefit.prob import eat_counts

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "estimators.md"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "estimators"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.mark.statistical
def test_the_simulation_is_the_same_estimator(script, seeded, assert_same_law) -> None:
    """False alarms: one in 10⁵."""
    both = []
    for draw in (lambda rates: eat_counts(rates, temperature=0.4, generator=seeded(1)), None):
        rates = torch.full((20_000,), 3.0, dtype=torch.float64, requires_grad=True)
        value = script("reference").simulate(rates, 0.4, seeded(2)) if draw is None else draw(rates)
        (slope,) = torch.autograd.grad(value.sum(), rates)
        both.append(torch.stack([value.detach(), slope], 1))
    assert_same_law(*both)
    with pytest.raises(AssertionError):
        assert_same_law(both[0] * 1.05, both[1])


def test_every_table_of_the_page_is_filled() -> None:
    tables = re.findall(r"<!-- table (\w+) -->\n(.*?)<!-- end \1 -->", PAGE.read_text("utf-8"), flags=re.DOTALL)
    assert [name for name, _ in tables] == ["fidelity", "gradients", "elbo", "poglm", "speed", "grid"]
    for name, text in tables:
        assert text.count("\n|") >= 3, name


def test_a_table_replaces_the_one_before(script, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table x -->\nold\n<!-- end x -->\nb\n", encoding="utf-8")
    run = script("run")
    run.put_table(page, "x", "| new |\n\\1\n")
    assert page.read_text("utf-8") == "a\n<!-- table x -->\n| new |\n\\1\n<!-- end x -->\nb\n"
    with pytest.raises(SystemExit, match="expected one table named 'y', found 0"):
        run.put_table(page, "y", "")


def test_a_closed_form_fit_learns(script, seeded) -> None:
    """The bound rises with training, and whole-count `exact` training gets near the closed form's."""
    elbo = script("elbo")
    images = torch.rand(256, 16, generator=seeded(0)) * torch.rand(256, 1, generator=seeded(1))
    elbo.N_PASSES = 1
    first = elbo.fit("closed form", None, images, images, 0)
    elbo.N_PASSES = 25
    closed = elbo.fit("closed form", None, images, images, 0)
    exact = elbo.fit("exact", None, images, images, 0)
    assert closed > first + 1
    assert abs(exact - closed) < 0.25 * (closed - first)
