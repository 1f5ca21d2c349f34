"""What whoever starts a fit wants to hear of it, and to keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spikefit.pieces import Spread, one_by_one


@dataclass
class Hooks:
    """What a caller wants to hear and to keep.

    Attributes:
        stage: told of a new stage and its length.
        update: told how far it is, with figures.
        checkpoints: folder for checkpoints; None for none.
        keeps_checkpoints: whether this process writes them; with several, one does and all can read.
        checkpoint_every_s: seconds between two of them.
        resume: go on from the checkpoints in the folder, where there are some.
        stop: raises when the run shall stop; called between epochs, after a checkpoint has been written.
        should_stop: whether the run shall stop.
        spread: does the independent pieces of the fit; see `spikefit.pieces`.
    """

    stage: Callable[[str, float | None], None] = lambda stage, total: None
    update: Callable[..., None] = lambda done, **figures: None
    checkpoints: Path | None = None
    keeps_checkpoints: bool = True
    checkpoint_every_s: float = 60.0
    resume: bool = False
    should_stop: Callable[[], bool] = lambda: False
    stop: Callable[[], None] = lambda: None
    spread: Spread = one_by_one
    last_checkpoint: float = field(default_factory=time.monotonic)
