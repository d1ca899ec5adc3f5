#!/usr/bin/env bash
# Trains on this machine: one rank per GPU, or, without a GPU, RANKS one-thread ranks on the CPU (default: one per core).
#   launch/train_local.sh configs/train/nano_codec.yaml [key=value ...]
# The same command goes on from the newest checkpoint. SIGTERM or Ctrl-C writes a checkpoint and ends with status 0; a
# second Ctrl-C ends at once with status 130, without one.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) ||
    refuse "bash $BASH_VERSION is too old for launch/train_local.sh; use 5.1 or newer, or python tools/train.py"
training launch/train_local.sh "$@"

# The ranks are started here, without torchrun, which adds a traceback to every error and gives ranks that are told to
# stop 30 seconds only. Each gets its own process group, so that Ctrl-C reaches them through the trap alone.
set -m
# As under torchrun, they meet at a store that has a port already: one that is only looked for may be taken by then. It
# ends with this script.
coproc STORE { exec "$PYTHON" -c '
import os, sys, torch
store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
try:
    print(torch.cuda.device_count() or os.cpu_count(), store.port, flush=True)
except BrokenPipeError:  # the script was stopped meanwhile
    os._exit(0)
sys.stdin.read()'; }
read -r ranks MASTER_PORT 2>/dev/null <&"${STORE[0]:-}" || fail "the store at which the ranks meet did not start"
ranks=${RANKS:-$ranks}
export WORLD_SIZE=$ranks MASTER_ADDR=127.0.0.1 MASTER_PORT TORCHELASTIC_USE_AGENT_STORE=True
pids=()
for ((rank = 0; rank < ranks; rank++)); do
    RANK=$rank LOCAL_RANK=$rank "$PYTHON" -u tools/train.py "$@" &
    pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' TERM
trap 'kill -INT "${pids[@]}" 2>/dev/null || true' INT

left=$ranks
while ((left)); do
    status=0
    wait -n -p ended "${pids[@]}" || status=$?
    if [[ -z ${ended:-} ]]; then
        continue # a signal came; the ranks write their checkpoint
    fi
    if ((status)); then # the others would wait for this one
        kill -KILL "${pids[@]}" 2>/dev/null || true
        exit "$status"
    fi
    left=$((left - 1))
    for at in "${!pids[@]}"; do
        if [[ ${pids[at]} == "$ended" ]]; then unset "pids[$at]"; fi
    done
done
