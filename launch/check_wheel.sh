#!/usr/bin/env bash
# Builds the wheel, installs it where no other vgen is, and runs the first commands of the README in an empty folder.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
ensure_venv dev train
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

rm -rf build # setuptools would put what is left there into the wheel
"$VENV_PYTHON" -m pip wheel -q . --no-deps --no-build-isolation --wheel-dir "$work"
# The packages that vgen needs are those of .venv: without its .pth files, by which .venv finds the vgen of the checkout.
packages=$("$VENV_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$VENV_PYTHON" -m venv --without-pip "$work/venv"
echo "$packages" >"$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/packages.pth"
"$VENV_PYTHON" -m pip --python "$work/venv/bin/python" install -q --no-deps --no-index --ignore-installed "$work"/vgen-*.whl

mkdir "$work/empty"
cd "$work/empty"
vgen() {
    echo "vgen $*"
    "$work/venv/bin/vgen" "$@" >"$work/said" 2>&1 || { cat "$work/said" && exit 1; }
}
vgen --version
vgen info nano
vgen infer --spec configs/canvas/demo.yaml --out demo
vgen infer --from demo/run.json --out again
grep "the frames are those" "$work/said"
vgen rollout --start configs/canvas/media/button_0.png --trajectory configs/ego/press.json \
    --text "press the button" --frames 16 --out press
vgen train configs/train/wan21_1.3b_lora.yaml --help
vgen bench read --help
echo "the wheel works in an empty folder: $(basename "$work"/vgen-*.whl)"
