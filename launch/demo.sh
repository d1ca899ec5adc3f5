#!/usr/bin/env bash
# Completes a video with the shipped nano model, on the CPU: launch/demo.sh [options of tools/infer.py]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
ensure_venv
exec "$VENV_PYTHON" tools/infer.py --model nano --spec configs/canvas/demo.yaml --out outputs/demo --overwrite "$@"
