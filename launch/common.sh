# shellcheck shell=bash
# Sourced by the launch scripts. Goes to the repository root; there, `ensure_venv EXTRA...` makes .venv and keeps it in
# step with setup.cfg, and `training RECIPE ...` prepares what each rank needs. Settings, all optional:
#   PYTHON            the interpreter that .venv is made with; of the ranks, where it is not .venv's
#   VGEN_PYTHON       an interpreter that has what vgen needs already; ensure_venv then makes no .venv
#   VGEN_TORCH_INDEX  the package index that torch comes from, such as https://download.pytorch.org/whl/cu128
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

TORCH="torch==2.13.0"
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
VENV_PYTHON=.venv/bin/python
INSTALL_LOG=.venv/install.log

fail() {
    echo "error: $*" >&2
    exit 1
}

# refuse MESSAGE: what was given cannot be used; as the commands say it.
refuse() {
    echo "error: $*" >&2
    exit 2
}

# training SCRIPT [RECIPE ...]: refuses a call without a recipe; PYTHON then runs the ranks, and they find vgen.
training() {
    (($# > 1)) || refuse "no recipe; use $1 configs/train/RECIPE.yaml [key=value ...]"
    if [[ -z ${PYTHON:-} ]]; then
        PYTHON=python
        [[ ! -x $VENV_PYTHON ]] || PYTHON=$VENV_PYTHON
    fi
    export PYTHON OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
}

# supported PYTHON: true where it runs and vgen supports its version (python_requires of setup.cfg).
supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}

find_python() {
    local candidate candidates=(python3.11 python3.12 python3.13 python3 python)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "${PYTHON:-python3} is not Python 3.11, 3.12 or 3.13; install one, or set PYTHON to its path"
}

make_venv() {
    local python
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python lacks the venv module; on Debian or Ubuntu: apt install python3-venv"
    echo "making .venv with $("$python" -V)"
    "$python" -m venv --clear .venv
}

# Without an NVIDIA driver, PyPI's torch for Linux is gigabytes of CUDA for nothing: the CPU index is tried first.
torch_index() {
    if [[ -n ${VGEN_TORCH_INDEX:-} ]]; then
        echo "--index-url $VGEN_TORCH_INDEX"
    elif ! command -v nvidia-smi >/dev/null &&
        "$VENV_PYTHON" -c "import urllib.request as r; r.urlopen('$TORCH_CPU_INDEX/torch/', timeout=5)" 2>/dev/null; then
        echo "--extra-index-url $TORCH_CPU_INDEX"
    fi
}

pip_install() {
    if ! "$VENV_PYTHON" -m pip install --disable-pip-version-check "$@" >>"$INSTALL_LOG" 2>&1; then
        tail -n 30 "$INSTALL_LOG" >&2
        fail "pip install $* did not succeed; the whole log is $PWD/$INSTALL_LOG"
    fi
}

# ensure_venv EXTRA...: .venv holds vgen with these extras of setup.cfg. Does nothing where it already does, or where
# VGEN_PYTHON is to be used instead.
ensure_venv() {
    local extra state stale=""
    if [[ -n ${VGEN_PYTHON:-} ]]; then
        supported "$VGEN_PYTHON" || refuse "VGEN_PYTHON=$VGEN_PYTHON is not Python 3.11, 3.12 or 3.13; name one that is"
        VENV_PYTHON=$VGEN_PYTHON
        return 0
    fi
    supported "$VENV_PYTHON" || make_venv
    state="$PWD $TORCH $(cksum setup.cfg setup.py | cksum)"
    for extra in base "$@"; do
        [[ $(cat ".venv/$extra.installed" 2>/dev/null) == "$state" ]] || stale=yes
    done
    [[ -n $stale ]] || return 0

    echo "installing vgen into .venv: minutes, the first time (log: $INSTALL_LOG)"
    : >"$INSTALL_LOG"
    local extras="$*" started=$SECONDS
    extras=${extras// /,}
    "$VENV_PYTHON" -m pip --version &>/dev/null || "$VENV_PYTHON" -m ensurepip &>>"$INSTALL_LOG" ||
        fail ".venv has no pip; remove .venv, then run this again"
    pip_install --upgrade pip "setuptools>=77"
    # shellcheck disable=SC2046  # an option and its value
    pip_install $(torch_index) "$TORCH"
    # Without isolation, because deepspeed's build looks at the installed torch.
    pip_install --no-build-isolation --editable ".${extras:+[$extras]}"
    for extra in base "$@"; do
        echo "$state" >".venv/$extra.installed"
    done
    echo "installed in $((SECONDS - started)) s"
}
