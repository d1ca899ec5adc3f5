import pytest

from vgen.models import STATE, component_folder, resolve
from vgen.reproduce.on_paper import stages_on_paper
from vgen.reproduce.profile import load_profile
from vgen.reproduce.recipes import read_stage, start_of
from vgen.state.model import StateModel


def test_stage_one_goes_on_from_that_of_the_start(tmp_path):
    config = read_stage(load_profile("cpu", ["codec.share=0.2"]), tmp_path, "state").objective
    assert config.pretrained == str(start_of(tmp_path, "state") / "state")
    assert config.llama == {} and config.codec == str(tmp_path / "codec/model/vae")


def test_without_a_codec_to_train_stage_one_sees_through_that_of_the_start(tmp_path):
    config = read_stage(load_profile("cpu", ["codec.share=0"]), tmp_path, "state").objective
    assert config.codec == str(start_of(tmp_path, "state") / "vae")


@pytest.mark.parametrize("start", [True, False])
def test_stage_one_is_made_from_nothing_where_there_is_none(start, tmp_path):
    """With a start of a codec and a backbone alone, and without any."""
    (tmp_path / "model_index.json").write_text("{}")
    given = [f"start={tmp_path}"] if start else ["start=null", "codec.share=0.3", "canvas.share=0.3"]
    config = read_stage(load_profile("cpu", given), tmp_path, "state").objective
    assert config.pretrained is None and config.llama


def test_on_paper_stage_one_has_the_shape_of_that_of_the_start(tmp_path):
    """As `--dry-run` does, which reads no weight."""
    planned = stages_on_paper(load_profile("cpu"), tmp_path)["state"].objective.model.state_dict()
    real = StateModel.from_pretrained(component_folder(resolve("nano"), STATE)).state_dict()
    assert all(weight.is_meta for weight in planned.values())
    assert {name: weight.shape for name, weight in planned.items()} == {name: w.shape for name, w in real.items()}


def test_a_codec_begins_as_the_linear_code_from_nothing_alone(tmp_path):
    from_nothing = read_stage(load_profile("gpu", []), tmp_path, "codec").objective
    assert from_nothing.pretrained is None and from_nothing.linear_start > 0
    goes_on = read_stage(load_profile("cpu", ["codec.share=0.2"]), tmp_path, "codec").objective
    assert goes_on.pretrained and goes_on.linear_start == 0
    widened = read_stage(load_profile("gpu", ["codec.set.objective.pretrained=a/vae"]), tmp_path, "codec").objective
    assert widened.pretrained == "a/vae" and widened.linear_start == 0


def test_a_gpu_goes_on_with_both_front_ends_alone(tmp_path):
    profile = load_profile("configs/train/nano/gpu_on.yaml")
    assert profile.stages == ["data", "hand", "export"] and profile.machine == "gpu"
    objective = read_stage(profile, tmp_path, "hand").objective
    assert objective.in_memory and not objective.transformer, "the shape is that of the start"
    assert objective.pretrained == str(tmp_path / "before/hand")
