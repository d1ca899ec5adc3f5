#!/usr/bin/env bash
# Runs every command of the README and of docs/, each page in a fresh folder: launch/check_docs.sh [PAGE ...]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
ensure_venv dev train
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "$VENV_PYTHON" benchmarks/check_docs.py "$@"
