"""launch/get_photographs.sh, with stand-ins for Debian's tools."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
APT = """#!/usr/bin/env bash
echo "${@: -1}" >>"$FAKE/fetched"
touch "${@: -1}_1_all.deb"
"""
DPKG = """#!/usr/bin/env bash
stamps=$3/usr/share/tuxpaint/stamps
mkdir -p "$stamps/symbols/money" "$stamps/fruit/cartoon" "$3/usr/share/doc"
touch "$stamps/symbols/money/penny.png" "$stamps/fruit/cartoon/pear.png" "$stamps/fruit/mango.png" \
    "$stamps/fruit/mango.txt" "$stamps/fruit/mango_mirror.png" "$stamps/fruit/mango.ogg" "$3/usr/share/doc/copyright"
"""


def test_packages_are_unpacked_once_and_stamps_without_drawings(tmp_path):
    tools, folder = tmp_path / "bin", tmp_path / "photographs"
    tools.mkdir()
    for name, text in (("apt-get", APT), ("dpkg", DPKG)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "FAKE": str(tmp_path), "PYTHON": "true"}
    for _ in range(2):
        subprocess.run(["bash", str(ROOT / "launch/get_photographs.sh"), str(folder)], check=True, env=environment)
    fetched = (tmp_path / "fetched").read_text().split()
    assert len(fetched) == len(set(fetched)) == 7 and {"ukui-wallpapers", "tuxpaint-stamps-default"} < set(fetched)
    stamps = folder / "tuxpaint-stamps-default"
    kept = {file.name for file in stamps.rglob("*") if file.is_file()}
    assert kept == {"mango.png", "mango.txt", "copyright"}
    assert len([file for file in (folder / "ukui-wallpapers").rglob("*") if file.is_file()]) == 7
    assert not (folder / ".fetching").exists()
