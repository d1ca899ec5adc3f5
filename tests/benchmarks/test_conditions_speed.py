"""What conditions cost, on a tiny shape: which cases are run, and how their times become ratios."""

import json

import conditions_speed
import pytest
import torch

from vgen.backbone.tokens import count_of
from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError
from vgen.models import ModelInfo, read_config, resolve


def test_joint_and_remembered_stand_side_by_side(tmp_path, capsys, monkeypatch):
    passes = []
    modulation = VideoTransformer._modulation
    monkeypatch.setattr(
        VideoTransformer,
        "_modulation",
        lambda self, segments, text: (
            passes.append((self.independent, [s.role for s in segments])) or modulation(self, segments, text)
        ),
    )
    out = tmp_path / "conditions.json"
    sizes = ["--shape", "tiny", "--conditions", "3", "1", "--repeats", "2", "--timed-steps", "1"]
    conditions_speed.main([*sizes, "--steps", "7", "--out", str(out)])
    record = json.loads(out.read_text())
    assert [each["conditions"] for each in record["rows"]] == [0, 1, 3]
    assert all(each[kind]["ratio"] > 0 for each in record["rows"] for kind in ("joint", "independent"))
    none, *_, most = record["rows"]
    assert none["joint"]["ratios"] == none["independent"]["ratios"] == [1, 1]
    assert most["joint"]["once_s"] == 0 < most["independent"]["once_s"] and most["joint"]["memory_gb"] is None
    assert {"device", "dtype", "torch"} <= set(record["about"])
    printed = capsys.readouterr().out.splitlines()
    assert (
        printed[0].split()[-6:] == ["joint", "s", "ratio", "remembered", "s", "ratio"] and printed[3].split()[0] == "3"
    )
    turns = 1 + 2 * 2  # that which does not count, and two for each number of conditions but none
    assert passes.count((True, ["condition"])) == turns
    assert passes.count((False, ["condition", "target"])) == 2 * turns, "a step that does not count, and a timed one"
    assert (True, ["condition", "target"]) not in passes and (False, ["condition"]) not in passes


def test_patches_are_measured_without_the_rest_of_their_images_too(capsys, monkeypatch):
    lengths = set()
    prune = VideoTransformer._pruned

    def seen(self, segments):
        pruned = prune(self, segments)
        lengths.add((self.config.prune_conditions, *(count_of(segment, self.patch) for segment in pruned)))
        return pruned

    monkeypatch.setattr(VideoTransformer, "_pruned", seen)
    sizes = ["--shape", "tiny", "--conditions", "2", "--repeats", "1", "--timed-steps", "1"]
    conditions_speed.main([*sizes, "--side", "0.5"])
    assert capsys.readouterr().out.splitlines()[0].split()[3:6] == ["joint", "s", "ratio"]
    assert lengths >= {(True, 2, 12), (False, 8, 12)}, "a quarter of each image's four tokens, and all of both"


def test_a_call_is_what_is_remembered_once_and_its_steps():
    turn = conditions_speed.Turn
    turns, without = [turn(3, 1.5, None), turn(3, 2, None)], [turn(0, 1, None), turn(0, 1, None)]
    assert conditions_speed.compare(turns, without, steps=2)["ratios"] == [3, 3.5]
    assert conditions_speed.compare(turns, without, steps=2)["seconds"] == 6.5


def test_nanos_shape_is_the_shipped_models():
    shape, config = conditions_speed.nano(), read_config(resolve("nano"), "transformer/config.json")
    with torch.device("meta"):
        model = VideoTransformer(**shape.transformer)
    for name in ("num_layers", "num_attention_heads", "in_channels", "text_dim"):
        assert model.config[name] == config[name]
    assert ModelInfo.read("nano", parts=()).frames == 1 + 4 * (shape.latent[0] - 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shape", "smal"], "--shape=smal must be one of small, nano"),
        (["--conditions", "-1"], "--conditions=-1 must lie in 0 to 10000; nearest: 0"),
        (["--side", "1.5"], "--side 1.5 must be above 0 and at most 1; nearest: 1"),
        (["--repeats", "0"], "--repeats 0 must be 1 or more"),
        (["--dtype", "int8"], "--dtype=int8 must be one of auto"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        conditions_speed.main(arguments)
