"""Imports point one way, file formats and torch stay apart, and importing spikefit stays cheap.

Each rule is a function of (module name, source text) that returns sentences; each is first shown a made-up module
that breaks it, so that a rule that has gone blind fails here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "spikefit"

# A layer may import itself and the layers above it in this list, never one below. Names that share a line are
# siblings and know nothing of one another.
LAYERS: list[set[str]] = [
    {"errors"},
    {"small_tables"},
    {
        "addresses",
        "alignment",
        "files",
        "intervals",
        "machine",
        "marks",
        "pair_rules",
        "pieces",
        "progress",
        "units_of_time",
    },
    {"all_cores", "covariate_columns", "covariates", "pair_types"},
    {"spikes"},
    {"expressions"},
    {"config"},
    {"plots"},
    {"results"},
    {"report"},
    {"comparison"},
    {"loaders", "exporters"},
    {"reading"},
    {"prob"},
    {"models"},
    {"fitting"},
    {"diagnostics"},
    {"simulate"},
    {"simulated_files"},
    {"covariate_design"},
    {"fitted"},
    {"excerpt", "predictive"},
    {"inspection"},
    {"converting"},
    {"planning", "provenance", "stopping"},
    {"finished"},
    {"pipeline"},
    {"reopening"},
    {"baselines", "gradient_check", "recovery"},
    {"batching"},
    {"latent_files"},
    {"latent_scoring"},
    {"pvae_pipeline"},
    {"pvae"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

NO_TORCH = {name for name, rank in RANK.items() if rank <= RANK["exporters"]}
NO_FILE_FORMATS = {"prob", "models", "fitting"}
FILE_FORMATS = {"h5py", "hdmf", "neo", "nixio", "pynwb", "zarr"}
HEAVY = {"torch", "neo", "pynwb", "matplotlib", "pandas", "scipy", "networkx"}


def modules() -> Iterator[tuple[str, str]]:
    """Dotted name and source of every module of the package; a package is named after its folder."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["spikefit", *path.relative_to(PACKAGE).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, path.read_text(encoding="utf-8")


def layer_of(module: str) -> str | None:
    """`spikefit.prob.arrivals` → `prob`; the package itself has no layer."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports_of(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted target of every import, those inside functions and `if TYPE_CHECKING` included."""
    is_package = (PACKAGE.parent / Path(*module.split("."))).is_dir()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".")
                here = here[: len(here) - node.level + is_package]
                base = ".".join([*here, base] if base else here)
            for alias in node.names:
                # `from spikefit import results` names a module, `from spikefit.results import Fit` a thing inside one.
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield node.lineno, target.value


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def wrong_way_imports(module: str, source: str) -> list[str]:
    layer = layer_of(module)
    if layer is None:  # the package offers names of every layer, and loads them when they are asked for
        return []
    if layer not in RANK:
        return [f"{module} has no place in LAYERS: give it one"]
    faults = []
    for line, target in imports_of(module, source):
        if target.split(".")[0] != "spikefit" or (other := layer_of(target)) in (None, layer, "__version__"):
            continue
        if other not in RANK:
            faults.append(f"{module}:{line} imports {target}, which is no module of the package")
        elif RANK[other] >= RANK[layer]:
            faults.append(f"{module}:{line} imports {target}; {layer} may not know {other}")
    return faults


def torch_outside_the_models(module: str, source: str) -> list[str]:
    if layer_of(module) not in NO_TORCH:
        return []
    return [f"{module}:{line} imports {t}" for line, t in imports_of(module, source) if t.split(".")[0] == "torch"]


def file_formats_inside_the_models(module: str, source: str) -> list[str]:
    if layer_of(module) not in NO_FILE_FORMATS:
        return []
    return [f"{module}:{line} imports {t}" for line, t in imports_of(module, source) if t.split(".")[0] in FILE_FORMATS]


RULES = [wrong_way_imports, torch_outside_the_models, file_formats_inside_the_models]

BROKEN = {
    "upwards": (wrong_way_imports, "spikefit.results", "from spikefit.pipeline import infer"),
    "upwards inside a function": (wrong_way_imports, "spikefit.prob.x", "def f():\n    import spikefit.models.basis"),
    "upwards, relative": (wrong_way_imports, "spikefit.loaders.nwb", "from ..cli import main"),
    "upwards, relative module": (wrong_way_imports, "spikefit.loaders.nwb", "from .. import cli"),
    "upwards, by name": (
        wrong_way_imports,
        "spikefit.files",
        "import importlib\nimportlib.import_module('spikefit.cli')",
    ),
    "upwards for types only": (
        wrong_way_imports,
        "spikefit.config",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from spikefit.results import Fit",
    ),
    "between siblings": (wrong_way_imports, "spikefit.loaders.nwb", "from spikefit.exporters import nwb"),
    "a module without a place": (wrong_way_imports, "spikefit.utilities", ""),
    "of a module that is not there": (wrong_way_imports, "spikefit.cli", "from spikefit.nowhere import x"),
    "torch in a loader": (torch_outside_the_models, "spikefit.loaders.nwb", "def f():\n    import torch.nn as nn"),
    "torch in the results": (torch_outside_the_models, "spikefit.results", "from torch import Tensor"),
    "h5py in a model": (file_formats_inside_the_models, "spikefit.models.poglm", "import h5py"),
    "neo in the fitting": (file_formats_inside_the_models, "spikefit.fitting.loop", "from neo.io import NixIO"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule):
    faults = [fault for module, source in modules() for fault in rule(module, source)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("case", BROKEN)
def test_the_rule_sees_a_module_that_breaks_it(case):
    rule, module, source = BROKEN[case]
    assert len(rule(module, source)) == 1


def test_the_rules_let_a_sound_module_pass():
    source = (
        "import torch\nfrom spikefit.errors import UsageError\nfrom spikefit.prob import poisson\nfrom . import basis"
    )
    assert [fault for rule in RULES for fault in rule("spikefit.models.poglm", source)] == []


def test_every_module_was_looked_at():
    names = {module for module, _ in modules()}
    assert {"spikefit", "spikefit.errors", "spikefit.spikes", "spikefit.loaders", "spikefit.cli"} <= names


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("statement", ["import spikefit", "import spikefit.cli", "from spikefit.cli import main"])
def test_importing_stays_cheap(statement):
    assert not loaded_by(statement) & HEAVY


def test_the_check_of_cheap_imports_sees_a_dear_one():
    assert loaded_by("import spikefit, scipy") & HEAVY == {"scipy"}


def test_every_public_name_is_there():
    code = "import spikefit\nfor name in spikefit.__all__: getattr(spikefit, name)\nprint(spikefit.__version__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().count(".") == 2


def test_an_unknown_public_name_is_an_attribute_error():
    import spikefit

    with pytest.raises(AttributeError, match="no attribute 'infre'"):
        spikefit.infre  # noqa: B018
