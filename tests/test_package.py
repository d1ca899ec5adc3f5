"""What `import vgen` gives and costs, the old names that still work, and what travels with the package."""

import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vgen
from vgen import moved, shipped
from vgen.canvas.spec import Canvas

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "av", "huggingface_hub", "omegaconf")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_vgen_imports_nothing_heavy():
    assert run(f"import sys, vgen; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_every_exported_name_is_found_where_it_is_defined():
    assert set(vgen.__all__) <= set(dir(vgen))
    for name in vgen.__all__:
        assert getattr(vgen, name) is not None
    assert vgen.Canvas is Canvas
    assert vgen.tasks is importlib.import_module("vgen.canvas.tasks")
    with pytest.raises(AttributeError, match="no attribute 'Canvass'"):
        _ = vgen.Canvass


def test_the_version_has_one_source():
    assert "version = attr: vgen.__version__" in Path("setup.cfg").read_text()
    assert vgen.__version__ == "0.2.0" and version("vgen")


@pytest.mark.parametrize(("old", "new"), moved.MOVED.items())
def test_old_modules_lead_to_modules_that_are_there(old, new):
    assert importlib.util.find_spec(new) is not None
    assert not Path(*old.split(".")).with_suffix(".py").exists(), "an old name is taken again"


def test_the_changelog_names_what_is_there():
    rows = [row.split("|") for row in Path("CHANGELOG.md").read_text(encoding="utf-8").splitlines() if "  | `" in row]
    for now in (row[2] for row in rows):
        for name in re.findall(r"`(vgen(?:\.\w+)+)`", now):
            assert pkgutil.resolve_name(name) is not None


def test_an_old_module_is_the_new_one_and_says_so():
    sys.modules.pop("vgen.ego.trajectory", None)
    with pytest.warns(DeprecationWarning, match=r"vgen\.ego\.trajectory is vgen\.trajectory\.trajectory now") as told:
        from vgen.ego.trajectory import Trajectory
    assert Trajectory is vgen.Trajectory
    assert told[0].filename == __file__
    assert importlib.import_module("vgen.trajectory.trajectory").__spec__.name == "vgen.trajectory.trajectory"


def test_an_old_package_with_its_modules():
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from vgen.data.recorders import adroit_plan, plan\n"
        "import vgen.data.recorders.metaworld_plan as metaworld\n"
        "print(adroit_plan.__name__, plan.__name__, metaworld.__name__)"
    )
    assert run(code) == "vgen.simulators.adroit.settings vgen.simulators.settings vgen.simulators.metaworld.settings"


@pytest.mark.parametrize(
    ("package", "name", "home"),
    [
        ("vgen.weights", "resolve", "vgen.models"),
        ("vgen.data.lerobot", "LeRobotDataset", "vgen.data.lerobot.dataset"),
    ],
)
def test_modules_that_became_packages_keep_their_names(package, name, home):
    with pytest.warns(DeprecationWarning, match=f"{package}.{name} is {home}.{name} now"):
        found = getattr(importlib.import_module(package), name)
    assert found is getattr(importlib.import_module(home), name)
    with pytest.raises(AttributeError):
        _ = importlib.import_module(package).absent


def test_what_is_in_the_working_directory_goes_before_what_travels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = "configs/canvas/demo.yaml"
    own = shipped.folder("configs")
    assert shipped.find(spec) == str(own / "canvas/demo.yaml")
    assert shipped.find("canvas/demo.yaml") == "canvas/demo.yaml"
    assert shipped.find("configs/canvas/absent.yaml") == "configs/canvas/absent.yaml"
    assert Canvas.from_yaml(spec) == Canvas.from_yaml(own / "canvas/demo.yaml")
    (tmp_path / "configs/canvas").mkdir(parents=True)
    (tmp_path / spec).write_text("frames: 5\nsize: 32x64\n")
    assert Canvas.from_yaml(spec).frames == 5
