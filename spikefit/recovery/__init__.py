"""What a recording can resolve: simulate from its fit, fit again, and hold both against each other."""

from spikefit.recovery.run import Recovery, recover

__all__ = ["Recovery", "recover"]
