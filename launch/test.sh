#!/usr/bin/env bash
# Runs the tests, on the CPU: launch/test.sh [pytest options; paths are relative to the repository root]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
ensure_venv dev train
exec "$VENV_PYTHON" -m pytest -q "$@"
