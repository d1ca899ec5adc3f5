#!/usr/bin/env bash
# Makes nano anew: data, codec, both front-ends, Stage I, benchmarks, and a model folder with its card.
#   launch/nano.sh --profile cpu|gpu [--minutes M] [--out DIR] [--stage NAME] [--pack DIR] [--dry-run] [key=value ...]
# The same command goes on where it was, whatever ended it. docs/reproduce_nano.md tells more.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
extras=(train metrics)
[[ " $* " == *" --pack "* ]] || extras+=(record)
ensure_venv "${extras[@]}"
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "$VENV_PYTHON" -m vgen nano "$@"
