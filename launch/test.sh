#!/usr/bin/env bash
# Runs the tests, on the CPU, in a process per core (four at most), each file in one of them.
#   launch/test.sh [pytest options; paths are relative to the repository root; -n 0 for a debugger]
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
ensure_venv dev train
exec "$VENV_PYTHON" -m pytest -q -n auto --maxprocesses 4 --dist loadfile "$@"
