"""What cannot be fitted, refused before the work starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.fitted.settings import fit_settings
from spikefit.pair_rules import check_names, check_pair_rules, read_pair_rules
from spikefit.results.parts import hidden_ids


def check_structure(config: Config, unit_ids: Sequence[str]) -> None:
    """Refuse what is known of pairs where it names units that the recording does not have.

    Args:
        config: of the fit.
        unit_ids: of the whole recording, with the units that the fit leaves out.

    Raises:
        UsageError: naming the unit, and the nearest there is.
    """
    if config.model.pair_mask is not None:
        check_pair_rules(read_pair_rules(config.model.pair_mask), unit_ids, Path(config.model.pair_mask).name)
    check_names([name for name in config.model.dale if name not in ("all", "hidden")], unit_ids, "dale")


def check_hidden(config: Config, unit_ids: Sequence[str]) -> None:
    """Refuse a number of hidden units that no data of this kind could support, and ids that hidden units would take.

    Raises:
        UsageError: naming what was asked for and what makes sense.
    """
    hidden = fit_settings(config).hidden
    most = max(hidden)
    if most > len(unit_ids):
        raise UsageError(
            f"--hidden {most}: more hidden units than the {len(unit_ids)} recorded ones cannot be told apart.",
            hint=f"pass at most {len(unit_ids)}; a few are usually enough",
        )
    taken = sorted(set(hidden_ids(most)) & set(unit_ids))
    if taken:
        raise UsageError(
            f"a recorded unit is called {taken[0]!r}, a name that spikefit gives to hidden units.",
            hint="rename it, or fit without hidden units (--hidden 0)",
        )
