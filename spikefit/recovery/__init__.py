"""What a recording can resolve: simulate from its fit, fit again, and hold both against each other."""

from spikefit.recovery.outcome import Recovery
from spikefit.recovery.plan import RecoveryPlan
from spikefit.recovery.run import plan_recovery, recover

__all__ = ["Recovery", "RecoveryPlan", "plan_recovery", "recover"]
