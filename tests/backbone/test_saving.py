"""What a pipeline saves: a folder that is whole, that diffusers opens without a word, and that tells of no machine."""

import json
import logging
import warnings
from contextlib import contextmanager

import pytest
import torch
from diffusers import WanPipeline
from ego_models import save_model

from vgen.backbone.transformer import VideoTransformer
from vgen.canvas.pipeline import CanvasPipeline
from vgen.ego.pipeline import EgoPipeline
from vgen.errors import InputError
from vgen.models import EGO, STATE, ModelInfo, fingerprint, join_own, resolve


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory, codec):
    return save_model(tiny_model, tmp_path_factory.mktemp("saving") / "model", codec.vae)


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@contextmanager
def without_a_word():
    said = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: said.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "vgen")]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
    assert not said and not [str(each.message) for each in warned]


def test_a_saved_canvas_pipeline_has_what_lies_beside_its_components(model, tmp_path):
    CanvasPipeline.from_pretrained(model).save_pretrained(tmp_path / "saved")
    for part in (EGO, STATE):
        saved, known = contents(tmp_path / "saved" / part), contents(model / part)
        assert saved.keys() == known.keys() and all(
            saved[file] == known[file] for file in known if file.suffix != ".json"
        )
    read = ModelInfo.read(tmp_path / "saved")
    assert (read.ego, read.state, read.steps) == (ModelInfo.read(model).ego, ModelInfo.read(model).state, 2)
    EgoPipeline.from_pretrained(tmp_path / "saved")
    CanvasPipeline.from_pretrained(model).save_pretrained(tmp_path / "alone", parts=())
    assert not (tmp_path / "alone" / EGO).exists()


def test_a_front_end_is_saved_as_it_is_held(model, tmp_path):
    pipe = EgoPipeline.from_pretrained(model)
    weight = next(pipe.ego.parameters())
    torch.nn.init.constant_(weight, 0.25)
    pipe.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / STATE / "config.json").is_file()
    back = EgoPipeline.from_pretrained(tmp_path / "saved")
    assert (next(back.ego.parameters()) == 0.25).all()
    back.save_pretrained(tmp_path / "saved")  # over itself
    assert (tmp_path / "saved" / STATE / "model.safetensors").is_file()


def test_no_place_of_the_machine_is_saved(model, tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "own.json").write_text('{"name_or_path": "mine"}')  # no part of a model
    EgoPipeline.from_pretrained(model).save_pretrained(tmp_path / "saved")
    configs = {file: data.decode() for file, data in contents(tmp_path / "saved").items() if file.suffix == ".json"}
    assert [file.name for file, text in configs.items() if "name_or_path" in text] == ["own.json"]
    assert not [file for file, text in configs.items() if str(model.parent) in text]


def test_neither_diffusers_nor_vgen_has_a_word_to_say(tmp_path):
    with without_a_word():
        WanPipeline.from_pretrained(resolve("nano"))
        pipe = EgoPipeline.from_pretrained("nano")
        pipe.save_pretrained(tmp_path)
        WanPipeline.from_pretrained(tmp_path)
        CanvasPipeline.from_pretrained(tmp_path)
    assert ModelInfo.read(tmp_path).frames == pipe.config.default_frames == 17


def test_keys_of_an_older_folder_count_and_it_is_the_same_model(model, tmp_path):
    pipe = CanvasPipeline.from_pretrained(model, condition_attention="independent", default_guidance=3.0)
    pipe.save_pretrained(tmp_path)
    index, transformer = tmp_path / "model_index.json", tmp_path / "transformer/config.json"
    now = fingerprint(str(tmp_path), (EGO,))
    for file in (index, transformer):
        config = json.loads(file.read_text())
        assert "_vgen" in config
        file.write_text(json.dumps(join_own(config), indent=2, sort_keys=True) + "\n")
    assert "default_guidance" in json.loads(index.read_text()) and fingerprint(str(tmp_path), (EGO,)) == now
    back = CanvasPipeline.from_pretrained(tmp_path)
    assert back.config.default_guidance == ModelInfo.read(tmp_path).guidance == 3.0 and back.transformer.independent
    assert VideoTransformer.from_pretrained(tmp_path, subfolder="transformer").independent
    index.write_text(json.dumps(join_own(json.loads(index.read_text())) | {"_vgen": [1]}))
    for read in (ModelInfo.read, CanvasPipeline.from_pretrained):
        with pytest.raises(InputError, match="_vgen must hold a JSON object"):
            read(tmp_path)


def test_where_nothing_can_be_saved_is_one_line(model, tmp_path):
    pipe = CanvasPipeline.from_pretrained(model)
    (tmp_path / "file").touch()
    for folder, options, words in (("file/saved", {}, "file"), ("saved", {"push_to_hub": True}, "push_to_hub=True")):
        with pytest.raises(InputError, match=words):
            pipe.save_pretrained(tmp_path / folder, **options)


def test_what_it_saves_makes_the_same_video(model, tmp_path):
    pipe = CanvasPipeline.from_pretrained(model)
    pipe.save_pretrained(tmp_path)
    call = {"frames": 5, "height": 32, "width": 64, "num_inference_steps": 1}
    back = CanvasPipeline.from_pretrained(tmp_path)
    made, again = (each.sample(None, [""], generator=torch.Generator().manual_seed(0), **call) for each in (pipe, back))
    assert torch.equal(made, again)
