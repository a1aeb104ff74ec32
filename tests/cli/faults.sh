#!/bin/bash
# A sample of what `make faults` tries everywhere: places of a run that fail, and runs that meet.
cd "$(dirname "$0")/../.." || exit 1
: "${FAULTS:=$(dirname "${FRONTIER:=$PWD/build/frontier}")/tests/faults}"
export FRONTIER FAULTS
SAMPLE=${SAMPLE:-20} SECONDS_MOST=20 SEED=${SEED:-$(date +%j)} tests/faults/io.sh || exit 1
SAMPLE=${SAMPLE:-20} SECONDS_MOST=15 SEED=${SEED:-$(date +%j)} COMMANDS="run show" tests/faults/alloc.sh || exit 1
KILLS=${KILLS:-12} SECONDS_MOST=15 SEED=${SEED:-$(date +%j)} tests/faults/kills.sh || exit 1
PAIRS=${PAIRS:-10} SECONDS_MOST=15 tests/faults/pairs.sh || exit 1
