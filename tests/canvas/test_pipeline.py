"""The pipeline: diffusers' own where there is no condition, a diffusers folder before and after."""

import json
from dataclasses import replace

import accelerate
import numpy as np
import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from tiny_parts import TRANSFORMER

from vgen.backbone.encoding import encode_clip, encode_frames, given_of
from vgen.backbone.known import Known
from vgen.backbone.transformer import VideoTransformer
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.placed import place
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.media.placing import PlacedClip, PlacedFrame

SIZE = {"height": 32, "width": 64}


@pytest.fixture
def pipe(tiny_model):
    pipe = CanvasPipeline.from_pretrained(tiny_model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def canvas():
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    patches = (Patch(image, 0), Patch(image, 7, box=(0.25, 0.25, 0.75, 1)))
    return Canvas(9, **SIZE, prompt="a cat", fps=8, patches=patches)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_conditions_it_makes_what_wan_pipeline_makes(pipe, tiny_model):
    wan = WanPipeline.from_pretrained(tiny_model)
    wan.set_progress_bar_config(disable=True)
    expected = wan(
        prompt="a cat",
        negative_prompt="a dog",
        num_frames=9,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=seeded(),
        max_sequence_length=32,
        output_type="pt",
        **SIZE,
    ).frames
    got = pipe.sample(
        None,
        ["a cat"],
        negative_prompts=["a dog"],
        frames=9,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=seeded(),
        **SIZE,
    )
    torch.testing.assert_close(got.transpose(1, 2) / 2 + 0.5, expected, atol=1e-4, rtol=1e-4)


def test_a_canvas_becomes_a_video_of_its_size_the_same_for_the_same_seed(pipe, canvas):
    first, again, other = (pipe(canvas, generator=seeded(s), num_inference_steps=2) for s in (0, 0, 1))
    assert first.video.shape == (9, 32, 64, 3) and first.video.dtype == np.uint8
    assert np.array_equal(first.video, again.video) and not np.array_equal(first.video, other.video)
    assert {"encode", "denoise", "decode"} <= set(first.timings)


def test_a_placed_canvas_is_not_read_again_and_makes_the_same_video(pipe, canvas, monkeypatch):
    expected = pipe(canvas, num_inference_steps=2).video
    placed = place(canvas, pipe.temporal_stride, pipe.size_multiple)
    monkeypatch.setattr("vgen.media.placing.load_patch", None)
    assert np.array_equal(pipe(placed, num_inference_steps=2).video, expected)


def test_a_list_of_canvases_is_a_list_of_videos(pipe, canvas):
    other = replace(canvas, seed=1, frames=5, patches=())
    both = pipe([canvas, place(other)], num_inference_steps=2)
    alone = [pipe(each, num_inference_steps=2) for each in (canvas, other)]
    assert [len(output.video) for output in both] == [9, 5]
    assert all(np.array_equal(one.video, other.video) for one, other in zip(both, alone, strict=True))
    first, second = pipe([canvas, canvas], [seeded(0), seeded(1)], num_inference_steps=1)
    assert not np.array_equal(first.video, second.video) and pipe([]) == []
    with pytest.raises(InputError, match="1 generators for 2 canvases; give one for each"):
        pipe([canvas, canvas], [seeded()])


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ("canvas.yaml", {}, r"canvas\.yaml is no canvas; give a Canvas"),
        (None, {"num_inference_steps": 0}, "num_inference_steps=0 must lie in 1 to 1000; nearest: 1"),
        (None, {"guidance_scale": float("nan")}, "guidance_scale=nan must be a finite number"),
    ],
)
def test_what_cannot_be_run_is_one_line(pipe, canvas, given, options, words):
    with pytest.raises(InputError, match=words):
        pipe(given or canvas, **options)


def test_tensors_and_images_are_patches_like_arrays(pipe, canvas):
    image = canvas.patches[0].source
    made = [
        pipe(replace(canvas, patches=(Patch(source, 0),)), num_inference_steps=1).video
        for source in (image, torch.from_numpy(image), Image.fromarray(image))
    ]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    with pytest.raises(InputError, match=r"source is an array float32 \[3, 32, 64\]; it must be uint8"):
        Patch(torch.rand(3, 32, 64))
    with pytest.raises(InputError, match=r"source is a tensor of torch\.bfloat16; it must be uint8"):
        Patch(torch.rand(3, 32, 64, dtype=torch.bfloat16))


def test_a_call_that_is_interrupted_decodes_what_is_there(pipe, canvas):
    steps = []

    def stop(pipe, step, timestep, tensors):
        steps.append(step)
        pipe._interrupt = step == 1
        return tensors

    outputs = pipe([canvas, canvas], num_inference_steps=4, callback_on_step_end=stop)
    assert steps == [0, 1] and pipe.interrupt and len(outputs) == 1 and outputs[0].video.shape == (9, 32, 64, 3)
    assert len(pipe([canvas], num_inference_steps=1)) == 1 and not pipe.interrupt


def test_placed_images_share_a_segment_and_every_clip_has_its_own(codec):
    image = PlacedFrame(torch.rand(3, 16, 32), torch.ones(1, 16, 32), 3.0)
    clip = PlacedClip(torch.rand(3, 5, 16, 32), torch.ones(1, 5, 16, 32), 4.0)
    segments = [given.encode(codec) for given in given_of([image, clip, image], padding="zeros")]
    assert [segment.t.tolist() for segment in segments] == [[[0.75, 0.75]], [[1.0, 2.0]]]
    assert given_of([], padding="zeros") == []


def test_patches_change_the_video(pipe, canvas):
    with_patches = pipe(canvas, generator=seeded(), num_inference_steps=2).video
    without = pipe(Canvas(9, **SIZE, prompt="a cat", fps=8), generator=seeded(), num_inference_steps=2).video
    assert not np.array_equal(with_patches, without)


def test_a_batch_is_its_samples_one_by_one(pipe):
    pixels, masks = torch.rand(2, 1, 3, 32, 64) * 2 - 1, torch.ones(2, 1, 1, 32, 64)
    frames = torch.tensor([[0], [6]])
    call = {"frames": 9, "num_inference_steps": 2, "guidance_scale": 2.0, **SIZE}

    def sample(rows):
        conditions = encode_frames(pipe.codec, pixels[rows], masks[rows], frames[rows])
        prompts = [("a cat", "a dog")[row] for row in rows]
        return pipe.sample(conditions, prompts, generator=[seeded(row) for row in rows], **call)

    both = sample([0, 1])
    torch.testing.assert_close(both, torch.cat([sample([0]), sample([1])]), atol=1e-4, rtol=1e-4)


def test_guidance_drops_the_text_and_keeps_the_conditions(pipe, canvas, monkeypatch):
    calls = []
    forward = VideoTransformer.forward

    def spy(self, segments, text, **kwargs):
        calls.append(([segment.role for segment in segments], text))
        return forward(self, segments, text, **kwargs)

    monkeypatch.setattr(VideoTransformer, "forward", spy)
    pipe(canvas, generator=seeded(), num_inference_steps=1, guidance_scale=2.0)
    (roles, text), (other_roles, other_text) = calls
    assert roles == other_roles == ["condition", "target"] and not torch.equal(text, other_text)
    calls.clear()
    pipe(canvas, generator=seeded(), num_inference_steps=1, guidance_scale=1.0)
    assert len(calls) == 1


@pytest.fixture
def independent(tiny_model):
    """With two blocks, since keys of the first do not feel the text, and a velocity that is felt."""
    sizes = {"num_layers": 2, "in_channels": 4, "out_channels": 4, "text_dim": 16}
    transformer = VideoTransformer(**TRANSFORMER | sizes, condition_attention="independent").eval()
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.5)
    pipe = CanvasPipeline.from_pretrained(tiny_model, transformer=transformer)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def ran(monkeypatch):
    """The roles of the segments that each pass through the transformer computes."""
    passes = []
    modulation = VideoTransformer._modulation
    monkeypatch.setattr(
        VideoTransformer,
        "_modulation",
        lambda self, segments, text: passes.append([s.role for s in segments]) or modulation(self, segments, text),
    )
    return passes


def given(codec, kinds):
    """Conditions of a batch of two: patches of images, a clip; positions between integers and out of order."""
    generator = seeded(3)
    pixels = torch.rand(2, 5, 3, 32, 64, generator=generator) * 2 - 1
    masks = torch.ones(2, 5, 1, 32, 64)
    masks[:, 1, :, :16, 20:] = 0
    frames = torch.tensor([[7, 2], [0, 5]])
    made = {
        "frames": lambda: encode_frames(codec, pixels[:, :2], masks[:, :2], frames),
        "clip": lambda: encode_clip(codec, pixels, masks, torch.tensor([[1], [4]]) + torch.arange(5)),
    }
    return [made[kind]() for kind in kinds]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kinds", [[], ["frames"], ["frames", "clip"]])
def test_remembered_conditions_make_the_same_video(independent, ran, kinds, guidance):
    conditions = given(independent.codec, kinds)
    call = {"frames": 9, "num_inference_steps": 3, "guidance_scale": guidance, **SIZE}
    videos, passes = [], []
    for remember in (True, False):
        independent.remembers_conditions = remember
        generator = [seeded(1), seeded(2)]
        videos.append(independent.sample(conditions, ["a cat", "a dog"], generator=generator, **call))
        passes.append(list(ran))
        ran.clear()
    torch.testing.assert_close(*videos, atol=1e-4, rtol=0)
    texts, roles = (2 if guidance > 1 else 1), ["condition"] * len(kinds)
    assert passes[0] == [roles] * (texts if kinds else 0) + [["target"]] * (3 * texts)
    assert passes[1] == [[*roles, "target"]] * (3 * texts)


def test_each_text_has_conditions_of_its_own(independent):
    conditions = given(independent.codec, ["frames"])
    texts = [independent.embed([text] * 2) for text in ("", "a cat")]
    empty, cat = (Known.of_text(independent.transformer, text, conditions) for text in texts)
    assert cat.cache is not None and not torch.equal(cat.cache.blocks[1][0], empty.cache.blocks[1][0])
    assert not cat.conditions and not cat.cache.blocks[1][0].requires_grad


def test_a_model_with_joint_attention_computes_conditions_at_every_step(pipe, canvas, ran):
    pipe(canvas, num_inference_steps=2, guidance_scale=1)
    assert ran == [["condition", "target"]] * 2


def test_what_is_remembered_is_weighed_and_offloaded_like_the_rest(independent, canvas, tmp_path):
    """A LoRA's scale counts for conditions too; and layers may wait elsewhere, as under --offload sequential."""
    donor = VideoTransformer(**independent.transformer.config)
    donor.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_v"]))
    for name, parameter in donor.named_parameters():
        torch.nn.init.constant_(parameter, 0.5) if "lora_B" in name else None
    CanvasPipeline.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(donor))
    independent.load_lora_weights(tmp_path)
    latents = []

    def keep(pipe, step, timestep, tensors):
        latents.append(tensors["latents"])
        return tensors

    for remember in (False, True, True):
        if len(latents) == 4:
            accelerate.cpu_offload(independent.transformer, "cpu")
        independent.remembers_conditions = remember
        independent(canvas, num_inference_steps=2, attention_kwargs={"scale": 0.5}, callback_on_step_end=keep)
    plain, remembered, offloaded = latents[1::2]
    torch.testing.assert_close(remembered, plain, atol=1e-4, rtol=0)
    assert torch.equal(offloaded, remembered)


def test_a_negative_prompt_without_guidance_is_told(pipe, canvas, caplog):
    for negative, guidance, told in (("a dog", 1.0, 1), ("a dog", 2.0, 0), ("", 1.0, 0)):
        caplog.clear()
        pipe(replace(canvas, negative_prompt=negative), num_inference_steps=1, guidance_scale=guidance)
        assert caplog.text.count("guidance=1, which is none, the negative prompt has no effect") == told


def test_what_is_cut_off_the_prompts_is_told_once(pipe, canvas, caplog):
    pipe.tokenizer.model_max_length = 16
    canvas = replace(canvas, prompt="a cat sleeps on a mat", negative_prompt="too dark, noisé and blurred")
    for _ in range(2):
        pipe(canvas, num_inference_steps=1, guidance_scale=2.0)
    told = [record.getMessage() for record in caplog.records if record.name == "vgen.backbone.text"]
    assert [message.split("no effect: ")[1] for message in told] == ['"a mat"', '"é and blurred"']
    with pytest.raises(InputError, match="must be text in UTF-8"):
        pipe.embed(["\ud800"])


def test_what_it_saves_is_a_wan_folder(pipe, canvas, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["_class_name"] == "WanPipeline"
    assert index["transformer"] == ["diffusers", "WanTransformer3DModel"]
    wan = WanPipeline.from_pretrained(tmp_path)
    assert type(wan.transformer) is WanTransformer3DModel
    frames = wan("a cat", num_frames=5, num_inference_steps=1, max_sequence_length=32, **SIZE).frames
    assert frames.shape == (1, 5, 32, 64, 3)
    back = CanvasPipeline.from_pretrained(tmp_path)
    expected = pipe(canvas, generator=seeded(), num_inference_steps=2).video
    assert np.array_equal(back(canvas, generator=seeded(), num_inference_steps=2).video, expected)


def test_a_lora_loads_and_its_scale_counts(pipe, canvas, tmp_path):
    plain = pipe(canvas, generator=seeded(), num_inference_steps=2).video
    donor = CanvasPipeline.from_pretrained(pipe.name_or_path).transformer
    donor.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"]))
    for name, parameter in donor.named_parameters():
        torch.nn.init.constant_(parameter, 0.5) if "lora_B" in name else None
    CanvasPipeline.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(donor))
    pipe.load_lora_weights(tmp_path)
    on = pipe(canvas, generator=seeded(), num_inference_steps=2).video
    off = pipe(canvas, generator=seeded(), num_inference_steps=2, attention_kwargs={"scale": 0.0}).video
    assert not np.array_equal(on, plain) and np.array_equal(off, plain)


def test_a_callback_may_replace_the_latents(pipe, canvas):
    steps = []

    def zero(pipe, step, timestep, tensors):
        steps.append(step)
        return {"latents": torch.zeros_like(tensors["latents"])}

    video = pipe(canvas, generator=seeded(), num_inference_steps=2, callback_on_step_end=zero).video
    other = pipe(canvas, generator=seeded(1), num_inference_steps=2, callback_on_step_end=zero).video
    assert steps == [0, 1, 0, 1] and np.array_equal(video, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"frames": 8}, "nearest: 5, 9"), ({"height": 40}, "nearest: 32x64"), ({"width": 0}, "size=32x0")],
)
def test_illegal_sizes_are_refused(pipe, change, words):
    with pytest.raises(InputError, match=words):
        pipe.sample(None, ["a cat"], **{"frames": 9, **SIZE, **change})


def test_an_image_to_video_model_is_refused(tiny_model):
    transformer = VideoTransformer.from_pretrained(tiny_model, subfolder="transformer")
    config = {**transformer.config, "in_channels": 9}
    with pytest.raises(InputError, match=r"9 input channels for 4 latent channels.*text-to-video"):
        CanvasPipeline.from_pretrained(tiny_model, transformer=VideoTransformer.from_config(config))


def test_a_folder_that_is_broken_is_one_line(tiny_model, tmp_path):
    (tmp_path / "model_index.json").write_text((tiny_model / "model_index.json").read_text())
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        CanvasPipeline.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
