"""Remake every table and figure of the page on estimators.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/estimators/run.py [speed fidelity gradients elbo poglm] [--docs docs]

Without names all five parts run, in about half an hour on one core. Tables replace the ones between the marks
`<!-- table NAME -->` and `<!-- end NAME -->` of docs/estimators.md, figures go to docs/images/. Seeds stand in each part.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import elbo
import fidelity
import gradients
import poglm
import speed
import torch

PARTS = {"speed": speed, "fidelity": fidelity, "gradients": gradients, "elbo": elbo, "poglm": poglm}
ROOT = Path(__file__).resolve().parents[2]


def put_table(page: Path, name: str, table: str) -> None:
    """Replace the table of that name; a page without its marks is a fault of the page."""
    text = page.read_text(encoding="utf-8")
    found, n_found = re.subn(
        rf"(<!-- table {name} -->\n).*?(<!-- end {name} -->)",
        lambda match: f"{match[1]}{table.rstrip()}\n{match[2]}",
        text,
        flags=re.DOTALL,
    )
    if n_found != 1:
        raise SystemExit(f"{page}: expected one table named {name!r}, found {n_found}")
    page.write_text(found, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts; all by default")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page and its images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = options.docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name in options.parts or PARTS:
        started = time.perf_counter()
        tables = PARTS[name].run(images)
        for table_name, table in tables.items():
            print(f"\n{table_name}\n\n{table}", flush=True)
            put_table(options.docs / "estimators.md", table_name, table)
        print(f"\n{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
