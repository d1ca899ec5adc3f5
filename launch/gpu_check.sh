#!/usr/bin/env bash
# Checks what vgen does on this machine's GPU, and how fast: launch/gpu_check.sh [options of vgen bench gpu]
#   launch/gpu_check.sh --out gpu.json
#   VGEN_PYTHON=python3 launch/gpu_check.sh    with an interpreter that has the packages already; no .venv is made
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
ensure_venv train
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "$VENV_PYTHON" -u benchmarks/gpu_check.py "$@"
