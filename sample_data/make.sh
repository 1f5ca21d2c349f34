#!/usr/bin/env bash
# Makes drivers.nwb and drivers.truth.h5: 5 minutes of 20 simulated neurons, and of 3 drivers that are left out of the
# recording. The same seed gives the same spikes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
spikefit simulate -o drivers.nwb --neurons 20 --drivers 3 --duration 5min --bin 10ms --seed 1 --overwrite
