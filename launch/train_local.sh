#!/usr/bin/env bash
# Trains on this machine: one rank per GPU, or, without a GPU, RANKS one-thread ranks on the CPU (default: one per core).
#   launch/train_local.sh configs/train/nano_codec.yaml [key=value ...]
# The same command goes on from the newest checkpoint. SIGTERM or Ctrl-C writes a checkpoint and ends with status 0.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
ranks=${RANKS:-$("$PYTHON" -c 'import os, torch; print(torch.cuda.device_count() or os.cpu_count())')}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$PWD"

set -m # the launcher gets its own process group, so that Ctrl-C reaches the ranks through the trap alone
"$PYTHON" -m torch.distributed.run --standalone --nproc-per-node "$ranks" tools/train.py "$@" &
launcher=$!
trap 'pkill -TERM -P "$launcher" || true' TERM INT # to the ranks: the launcher itself would give them 30 seconds only

status=0
while kill -0 "$launcher" 2>/dev/null; do
    wait "$launcher" && status=0 || status=$?
done
exit "$status"
