import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from vgen.errors import InputError
from vgen.train import trackers
from vgen.train.config import load_config
from vgen.train.trackers import WebTracker


@pytest.fixture
def package(monkeypatch):
    """Puts a stand-in in place of wandb or trackio: package(name) -> the list of its calls."""

    def install(name):
        calls, module = [], ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        for call in ("init", "log", "finish"):
            setattr(module, call, lambda *a, call=call, **k: calls.append((call, a, k)))
        for kind in ("Video", "Image"):
            setattr(module, kind, lambda path, kind=kind, **k: (kind, path, k))
        monkeypatch.setitem(sys.modules, name, module)
        return calls

    return install


def test_a_run_is_tracked_and_a_resumed_one_goes_on_in_the_same(run, package):
    wandb, trackio = package("wandb"), package("trackio")
    keys = {"trackers": ["wandb", "trackio"], "project": "hands"}
    run(objective={"stop_at": 3}, **keys)
    folder = run(**keys)
    for calls in (wandb, trackio):
        starts = [keywords for call, _, keywords in calls if call == "init"]
        assert len(starts) == 2 and starts[0]["name"] == starts[1]["name"] and starts[0]["name"].startswith("run-")
        assert all(start["project"] == "hands" and start["resume"] == "allow" for start in starts)
        assert starts[0]["config"]["steps"] == 6
        logged = {(k["step"], name): value for call, a, k in calls if call == "log" for name, value in a[0].items()}
        assert {step for step, name in logged if name == "train/loss"} == {2, 4, 6}
        assert (6, "validation/rank") in logged
        assert [call for call, *_ in calls].count("finish") == 2
    assert [k.get("id") for c, _, k in wandb if c == "init"] == [k["name"] for c, _, k in trackio if c == "init"]
    assert (folder / "tracked_as").read_text().strip() == trackio[0][2]["name"]


def test_another_run_in_a_folder_of_the_same_name_is_another_one(package, tmp_path):
    calls = package("trackio")
    for place in ("here", "there"):
        (tmp_path / place / "run").mkdir(parents=True)
        WebTracker("trackio", "vgen", tmp_path / place / "run", {})
    assert calls[0][2]["name"] != calls[1][2]["name"]


def test_samples_are_sent_as_video_and_sheet(package, tmp_path):
    calls = package("wandb")
    WebTracker("wandb", "vgen", tmp_path, {}).show(7, "loop", tmp_path / "loop")
    (sent,), step = calls[-1][1:]
    assert step == {"step": 7}
    assert sent["samples/loop"][:2] == ("Video", str(tmp_path / "loop" / "video.mp4"))
    assert sent["samples/loop_sheet"][:2] == ("Image", str(tmp_path / "loop" / "contact_sheet.png"))


def test_what_is_not_known_or_not_installed_is_refused_before_anything_is_trained(recipe, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="trackers=trackio needs the package trackio; pip install trackio"):
        load_config(recipe(trackers=["trackio"]))
    with pytest.raises(InputError, match="'trackoi' is not in trackers; nearest: 'trackio'"):
        load_config(recipe(trackers=["trackoi"]))
