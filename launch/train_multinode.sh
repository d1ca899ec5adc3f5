#!/usr/bin/env bash
# Trains on the nodes of a hostfile (launch/hostfile.example), one rank per slot, with DeepSpeed's launcher.
#   launch/train_multinode.sh configs/train/wan21_14b_full.yaml [key=value ...]
# All nodes need this folder and .venv under the same path, best on a shared file system, where the run folder must be.
# Either this runs once, on the first node, which reaches the others by pdsh and ssh without a password; or, where there
# is no ssh, it runs on every node, with NODE_RANK=0, 1, 2 ... in the order of the hostfile.
# The same command goes on from the newest checkpoint. SIGTERM or Ctrl-C here, on a node that trains, writes a checkpoint
# and ends all nodes; a second Ctrl-C ends them at once, without one.
# Settings, all optional: HOSTFILE (launch/hostfile), MASTER_ADDR (the first host), MASTER_PORT (29500), PYTHON (python)
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
training launch/train_multinode.sh "$@"
hostfile=${HOSTFILE:-launch/hostfile}
[[ -r $hostfile ]] || refuse "$hostfile is missing; copy launch/hostfile.example to it and name your nodes"
mapfile -t hosts < <(awk '!/^[[:space:]]*#/ && NF { print $1 }' "$hostfile")
((${#hosts[@]})) || refuse "$hostfile names no node"

options=(--hostfile "$hostfile" --master_addr "${MASTER_ADDR:-${hosts[0]}}" --master_port "${MASTER_PORT:-29500}")
if [[ -n ${NODE_RANK:-} ]]; then
    options+=(--no_ssh --node_rank "$NODE_RANK")
elif ((${#hosts[@]} == 1)); then
    options+=(--no_ssh_check) # the launcher starts the ranks itself
fi

set -m # the launcher gets its own process group: on a signal it would give the ranks 30 seconds, too few for a checkpoint
launch=$(uname -n)-$$-$RANDOM # tells the ranks of this launch from all others, also where ssh has started them
"$PYTHON" -m deepspeed.launcher.runner "${options[@]}" tools/train.py "--launch=$launch" "$@" &
launcher=$!
# One rank that is told to stop is enough: all then write the checkpoint and end, also on other nodes.
ranks="tools/train.py --local_rank=[0-9]+ --launch=$launch "
trap 'pkill -TERM -u "$(id -u)" -f "$ranks" || true' TERM
trap 'pkill -INT -u "$(id -u)" -f "$ranks" || true' INT

status=0
while kill -0 "$launcher" 2>/dev/null; do
    wait "$launcher" && status=0 || status=$?
done
exit "$status"
