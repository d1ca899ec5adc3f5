#!/usr/bin/env bash
# Trains on this machine: one rank per GPU, or, without a GPU, RANKS one-thread ranks on the CPU (default: one per core).
#   launch/train_local.sh configs/train/nano_codec.yaml [key=value ...]
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
ranks=${RANKS:-$("$PYTHON" -c 'import os, torch; print(torch.cuda.device_count() or os.cpu_count())')}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$PWD"
exec "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node "$ranks" tools/train.py "$@"
