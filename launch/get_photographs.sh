#!/usr/bin/env bash
# Fetches photographs for `vgen record pictures --photos DIR`: Debian's packages of wallpapers and of cut-out objects,
# unpacked without being installed, and scikit-image's sample pictures where it is installed.
#
#   bash launch/get_photographs.sh DIR
#
# docs/recording.md says under which licences they are. What is there already is not fetched again.
set -euo pipefail
(($# == 1)) || { echo "error: no folder; use launch/get_photographs.sh DIR" >&2; exit 2; }
folder=$1
[[ $folder == /* ]] || folder=$PWD/$folder
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PACKAGES=(plasma-workspace-wallpapers gnome-backgrounds mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04
    ukui-wallpapers tuxpaint-stamps-default)
SAMPLES=(astronaut brick chelsea coffee coins grass gravel hubble_deep_field moon motorcycle_left retina rocket)

# prune PACKAGE FOLDER: removes what is no photograph from an unpacked package. Of tuxpaint's stamps these are flags,
# letters, money and drawings, mirror images, and the sounds, which are most of it.
prune() {
    [[ $1 == tuxpaint-stamps-default ]] || return 0
    rm -rf "$2/usr/share/tuxpaint/stamps/symbols"
    find "$2" -type d -name cartoon -prune -exec rm -rf {} +
    find "$2" -type f \( -name '*_mirror.*' -o -name '*.ogg' -o -name '*.wav' \) -delete
}

for tool in apt-get dpkg; do
    command -v "$tool" >/dev/null ||
        refuse "$tool is not here; any folder of photographs will do: vgen record pictures --photos FOLDER"
done

mkdir -p "$folder"
touch "$folder/.fetching" # vgen nano starts this again where it is left behind
for package in "${PACKAGES[@]}"; do
    [[ ! -d $folder/$package ]] || continue
    part=$folder/.$package.part
    rm -rf "$part"
    mkdir -p "$part/deb"
    (cd "$part/deb" && apt-get download -q "$package") ||
        fail "$package cannot be fetched; try apt-get update, or give another folder of photographs"
    dpkg -x "$part/deb/"*.deb "$part/x"
    prune "$package" "$part/x"
    mv "$part/x" "$folder/$package"
    rm -rf "$part"
done

if [[ ! -d $folder/scikit-image ]]; then
    python=${PYTHON:-python3}
    [[ -n ${PYTHON:-} || ! -x $VENV_PYTHON ]] || python=$VENV_PYTHON
    samples=$("$python" -c 'from importlib.util import find_spec as f; s = f("skimage"); print(s.submodule_search_locations[0] if s else "")')
    if [[ -n $samples ]]; then
        mkdir -p "$folder/.samples.part"
        for name in "${SAMPLES[@]}"; do
            cp "$samples/data/$name".* "$folder/.samples.part/" 2>/dev/null || true
        done
        mv "$folder/.samples.part" "$folder/scikit-image"
    fi
fi
rm "$folder/.fetching"
echo "photographs are in $folder"
