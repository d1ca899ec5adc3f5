"""What a model says of itself: the same from its folder and from a loaded pipeline, or one line."""

import json
import shutil

import pytest
from ego_models import RATE, STATE_RATE, save_model

from vgen.canvas.pipeline import CanvasPipeline
from vgen.ego.pipeline import EgoPipeline
from vgen.errors import InputError
from vgen.models import EGO, STATE, ModelInfo, PartInfo

LAYOUTS = {"keypoints": 84, "position4": 4}


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory, codec):
    return save_model(tiny_model, tmp_path_factory.mktemp("info") / "model", codec.vae)


def changed(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def part(**keys):
    return PartInfo.from_config(EGO, {"layouts": LAYOUTS, **keys})


def test_a_plain_wan_folder_has_the_papers_defaults(tiny_model):
    info = ModelInfo.read(tiny_model)
    assert (info.temporal_stride, info.spatial_stride, info.patch, info.size_multiple) == (4, 8, 2, 16)
    assert (info.frames, info.height, info.width, info.steps, info.guidance) == (77, 384, 672, 50, 7.5)
    assert info.ego is info.state is None and info.layouts == []


def test_nano_is_told_without_weights():
    info = ModelInfo.read("nano")
    assert (info.temporal_stride, info.size_multiple, info.frames, info.height, info.steps) == (4, 16, 17, 128, 5)
    assert info.layouts == ["adroit_hand", "position4"]
    assert info.ego.rate("position4") == 80 and info.state.rate("position4") == 20
    assert info.statistics_of("position4")["form"] == "absolute" and info.state.horizon == 50


def test_a_video_that_is_far_larger_than_the_models_own_is_told_of(tiny_model):
    nano = ModelInfo.read("nano")
    assert nano.work_line(17, 128, 128) == nano.work_line(49, 192, 320) == nano.work_line(17, 512, 496) == ""
    large = "17 frames of 4096x4096 are 1,024 times the tokens of 17 frames of 128x128"
    assert nano.work_line(17, 4096, 4096).startswith(large)
    assert " 16 times " in nano.work_line(17, 512, 512) and " 20 times " in nano.work_line(397, 128, 128)
    assert ModelInfo.read(tiny_model).work_line(81, 720, 1280) == ""


def test_a_loaded_pipeline_says_the_same(model):
    read, of = ModelInfo.read(model, (EGO,)), ModelInfo.of(EgoPipeline.from_pretrained(model))
    assert read.state is None and of == read
    assert ModelInfo.of(CanvasPipeline.from_pretrained(model)) == ModelInfo.read(model, ())


def test_a_part_that_is_asked_for_must_be_there(model, tmp_path):
    info = ModelInfo.read(model)
    assert (info.ego.rate("position4"), info.state.rate("position4")) == (RATE, STATE_RATE)
    shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / STATE)
    with pytest.raises(InputError, match="has no Stage I: it has no state/; use nano, or train one"):
        ModelInfo.read(tmp_path / "model", (EGO, STATE))
    assert ModelInfo.read(tmp_path / "model").state is None


def test_a_missing_rate_is_no_guess():
    assert part(rates={"position4": 15}).rate("position4") == 15.0
    with pytest.raises(InputError, match=r"'keypoints' has no rate .* into its ego/config\.json, such as"):
        part(rates={"position4": 15}).rate("keypoints")
    with pytest.raises(InputError, match="has no rate"):
        part().rate("position4")
    with pytest.raises(InputError, match="'position' is not in the layouts of this model; nearest: 'position4'"):
        part().rate("position")


@pytest.mark.parametrize("rate", [0, -1, "15", None, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match=r"rate of position4=.* must "):
        part(rates={"position4": rate})


@pytest.mark.parametrize("config", [{}, {"layouts": ["position4"]}, {"layouts": LAYOUTS, "rates": [15]}])
def test_a_damaged_part_is_one_line(config):
    with pytest.raises(InputError, match=r"ego/config\.json.* is damaged"):
        PartInfo.from_config(EGO, config)


def test_a_part_without_statistics_is_refused():
    known = part(statistics={"position4": {"form": "delta"}, "keypoints": {}})
    assert known.statistics_of("position4") == {"form": "delta"}
    with pytest.raises(InputError, match="'keypoints' has no statistics in this model; layouts that have: position4"):
        known.statistics_of("keypoints")
    with pytest.raises(InputError, match="layouts of this model"):
        known.statistics_of("position")


def test_a_layout_is_chosen_only_where_there_is_a_choice(model):
    info = ModelInfo.read(model)
    assert info.choose_layout() == info.choose_layout("position4") == "position4"
    with pytest.raises(InputError, match="'keypoints' is not in the layouts of model"):
        info.choose_layout("keypoints")
    with pytest.raises(
        InputError, match="knows 2 layouts; choose one with --layout, in Python layout=: adroit_hand, position4"
    ):
        ModelInfo.read("nano").choose_layout()
    with pytest.raises(InputError, match="knows 0 layouts"):
        ModelInfo.read(model, ()).choose_layout()
