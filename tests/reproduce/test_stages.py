import json
import shutil

import pytest
import torch
from crash_suite.toy_way import write_toy_profile
from PIL import Image
from safetensors.torch import load_file

from vgen.backbone.codec import WanCodec
from vgen.canvas.pipeline import CanvasPipeline
from vgen.commands import nano
from vgen.ego.adapter import EgoAdapter
from vgen.reproduce import stages, weights
from vgen.reproduce.profile import STAGES, load_profile
from vgen.reproduce.progress import Progress, StageProgress
from vgen.state.model import StateModel
from vgen.train.config import load_config


@pytest.fixture(scope="module")
def way(tmp_path_factory):
    """A profile of toys, and the folder of what its stages made, with files of weights cut small."""
    folder = tmp_path_factory.mktemp("way")
    profile, out = write_toy_profile(folder, seconds=600), folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "SHARD_BYTES", 20_000)
        nano.main(["--profile", str(profile), "--out", str(out)])
    return profile, out


def test_one_command_ends_with_a_whole_model_and_its_card(way):
    _, out = way
    model = out / "model"
    stages = json.loads((out / "stages.json").read_text())
    assert all(stages[name]["done"] for name in STAGES)
    assert len(list((model / "transformer").glob("*.safetensors"))) > 1
    pipe = CanvasPipeline.from_pretrained(model)
    assert pipe.config.default_frames == 9
    assert list(EgoAdapter.from_pretrained(model / "ego").config.layouts) == ["position4"]
    StateModel.from_pretrained(model / "state", WanCodec(pipe.vae))
    card = (model / "README.md").read_text()
    for name in ("codec", "canvas", "hand", "state"):
        assert f"## Training: {name}" in card and f"pictures/curve_{name}.png" in card
        assert Image.open(model / "pictures" / f"curve_{name}.png").size == (480, 220)
    assert "pictures/noise.png" in card and "| transformer | 0.0" in card
    _, _, measured = card.partition("\n`vgen bench codec --model nano --split train")
    assert measured.splitlines()[2:4] == ["```", "codec of nano, 9 frames in video mode"]
    assert [row.split(" |")[0] for row in history(card)] == ["| codec", "| canvas", "| hand", "| state"]


def test_a_model_goes_on_in_some_of_its_parts_alone(way, tmp_path):
    """Its front-ends are trained on; codec and Stage I are those that it has."""
    profile, out = way
    start, few = out / "model", ["codec.share=0", "canvas.share=0", "state.share=0", "bench.share=0"]
    nano.main(["--profile", str(profile), "--out", str(tmp_path / "on"), f"start={start}", *few])
    model = tmp_path / "on" / "model"
    assert same(model / "vae", start / "vae") and not same(model / "transformer", start / "transformer")
    StateModel.from_pretrained(model / "state", WanCodec(CanvasPipeline.from_pretrained(model).vae))
    before, card = (start / "README.md").read_text(), (model / "README.md").read_text()
    for name in ("codec", "state"):  # how these came about is kept
        _, _, told = before.partition(f"## Training: {name}")
        assert told.partition("\n## ")[0].strip() in card
        assert (model / "pictures" / f"curve_{name}.png").is_file()
    assert "Nothing was measured" in card
    assert history(card)[:-1] == history(before) and history(card)[-1].startswith("| hand | 1 rank, ")


def test_a_stage_that_is_over_is_not_run_again(way, capsys):
    profile, out = way
    before = (out / "model" / "README.md").stat().st_mtime_ns
    nano.main(["--profile", str(profile), "--out", str(out)])
    assert (out / "model" / "README.md").stat().st_mtime_ns == before
    assert f"done: {out / 'model'}" in capsys.readouterr().out


def test_a_training_that_goes_on_leaves_no_results_of_the_model_before(way):
    profile, out = way
    assert (out / "bench" / "codec.json").is_file()
    nano.main(["--profile", str(profile), "--out", str(out), "--stage", "state"])
    assert not (out / "bench").exists() and not (out / "pictures").exists()
    stages = json.loads((out / "stages.json").read_text())
    assert stages["state"]["done"] and "export" not in stages


def test_a_codec_that_goes_on_is_handed_to_what_stands_on_it(way, monkeypatch):
    profile, out = way
    learned = load_file(out / "hand" / "model" / "transformer" / "diffusion_pytorch_model.safetensors")
    again, handed = ["--profile", str(profile), "--out", str(out), "--stage", "codec"], []

    def killed(parts, folder, *rest):
        handed.append(folder)
        if len(handed) == 2:
            raise KeyboardInterrupt
        weights.write_parts(parts, folder, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages, "write_parts", killed)
        patch.setattr(stages.Way, "publish", lambda *_: None)
        nano.main(again)
    assert not json.loads((out / "stages.json").read_text())["codec"]["done"]  # so that the rest is handed over, too
    nano.main(again)
    told = json.loads((out / "stages.json").read_text())
    assert told["codec"]["done"] and not any(told[name]["done"] for name in ("canvas", "hand", "state"))
    assert not any((out / name).exists() for name in ("canvas", "hand", "state"))
    start = out / "before" / "hand"
    assert same(start / "vae", out / "codec" / "model" / "vae")
    kept = load_file(start / "transformer" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(kept[name], weight) for name, weight in learned.items())
    nano.main(["--profile", str(profile), "--out", str(out), "bench.share=0"])
    assert same(out / "hand" / "model" / "vae", out / "codec" / "model" / "vae")
    assert same(start / "transformer", out / "canvas" / "model" / "transformer")  # which had gone on, too
    begun = {name: load_config(out / "recipes" / f"{name}.yaml").objective.pretrained for name in ("canvas", "state")}
    assert begun == {"canvas": str(out / "before" / "canvas"), "state": str(out / "before" / "state" / "state")}


@pytest.mark.parametrize(("spent", "told"), [(599.0, True), (100.0, False)])
def test_a_stage_that_has_no_time_left_is_told(way, tmp_path, monkeypatch, caplog, spent, told):
    profile, out = way
    monkeypatch.setattr(stages, "train_here", lambda *_: "")
    monkeypatch.setattr(stages.Way, "publish", lambda *_: None)
    shutil.copytree(out / "before", tmp_path / "before")
    progress = Progress(tmp_path, {"codec": StageProgress(600, spent, True), "hand": StageProgress(0, 0, False)})
    stages.Way(load_profile(str(profile)), tmp_path)._stage(progress, "state")
    assert ("vgen nano --stage state gives it its share" in caplog.text) == told


def history(card):
    """The rows of the table of trainings."""
    told = card.partition("## How it was trained")[2].partition("\n## ")[0]
    return [line for line in told.splitlines() if line.startswith("| ")][2:]


def same(one, other):
    """Whether two folders of a component hold the same weights."""
    first, second = (
        {name: weight for file in folder.glob("*.safetensors") for name, weight in load_file(file).items()}
        for folder in (one, other)
    )
    return first.keys() == second.keys() and all(torch.equal(weight, second[name]) for name, weight in first.items())
