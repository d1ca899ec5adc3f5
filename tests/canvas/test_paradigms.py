"""Paradigms of conditioning: where what is given stands, in the pipeline and in training, by arithmetic of its own."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from tiny_parts import tiny_codec

from vgen.backbone.codec import WanCodec
from vgen.backbone.conditioning import CONCATENATION, Conditioning, Slots
from vgen.backbone.encoding import Given
from vgen.canvas.paradigms import PARADIGMS, choose_paradigm
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.train.objectives.reshape import for_paradigm

SHAPE = (2, 4, 3, 2, 4)  # of 9 frames of 16x32
SIZE = {"height": 16, "width": 32}
IN_THE_VIDEO = ("pixel_padding", "latent_conditioning", "latent_replacement", CONCATENATION)


@pytest.fixture(scope="module")
def codec():
    return WanCodec(tiny_codec())


@pytest.fixture(scope="module")
def frames():
    """Three frames of two videos; those of the second are not in order, and one has a hole on the left."""
    pixels = torch.rand(2, 3, 3, 16, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    masks = torch.ones(2, 3, 1, 16, 32, dtype=torch.bool)
    masks[1, 2, ..., :16] = False
    return Given(pixels, masks, torch.tensor([[0.0, 2, 7], [8, 3.5, 1]], dtype=torch.float64), padding="zeros")


@pytest.fixture(scope="module")
def clip():
    pixels = torch.rand(2, 5, 3, 16, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    start = torch.tensor([[3.0], [4.0]]) + torch.arange(5, dtype=torch.float64)
    return Given(pixels, torch.ones(2, 5, 1, 16, 32), start, clip=True, padding="zeros")


def made(name, codec, *given):
    return PARADIGMS[name].conditioning(codec, given, SHAPE)


@pytest.mark.parametrize(
    ("name", "of_frames", "of_clip"),
    [
        ("in_context", [[0, 0.5, 1.75], [2, 0.875, 0.25]], [[0.75, 1.75], [1, 2]]),
        ("nearest_slot", [[0, 1, 2], [2, 1, 0]], [[1, 2], [1, 2]]),
        ("integer_positions", [[3, 4, 6], [6, 4, 3]], [[5, 7], [5, 7]]),
        ("no_positions", [[0, 0, 0], [0, 0, 0]], [[0, 0], [0, 0]]),
    ],
)
def test_conditions_in_context_differ_in_their_places_alone(codec, frames, clip, name, of_frames, of_clip):
    given = made(name, codec, frames, clip)
    first, second = given.segments
    assert first.t.tolist() == of_frames and first.t.dtype == torch.float64
    # Of the second video 2.0 is told twice, frame 8 and the end of the clip: what is given first comes first.
    assert second.t.tolist() == of_clip and second.clip
    assert torch.equal(first.latent, frames.encode(codec).latent) and given.slots is given.channels is None
    assert PARADIGMS[name].frames_beside(5, 3) == 5


def test_pixel_padding_encodes_one_grey_video(codec, frames, clip):
    video = torch.zeros(2, 3, 9, 16, 32)
    for row, places in enumerate(([0, 2, 7], [8, 4, 1])):
        for k, place in enumerate(places):
            video[row, :, place] = frames.pixels[row, k] * frames.masks[row, k]
    (segment,) = made("pixel_padding", codec, frames).segments
    torch.testing.assert_close(segment.latent, codec.encode_video(video))
    assert segment.t.tolist() == [[0, 1, 2]] * 2 and segment.clip and not segment.time.any()
    for row, start in enumerate((3, 4)):
        video[row, :, start : start + 5] = clip.pixels[row].transpose(0, 1)
    torch.testing.assert_close(made("pixel_padding", codec, frames, clip).segments[0].latent, codec.encode_video(video))


def test_latents_stand_in_the_slot_whose_window_they_lie_in(codec, frames):
    latent = frames.encode(codec).latent
    expected = torch.zeros(SHAPE)
    expected[0] = latent[0]
    expected[1, :, 2] = latent[1, :, 0]
    expected[1, :, 1] = latent[1, :, 2]  # τ = 1, and 3.5 over it
    expected[1, :, 1] = latent[1, :, 1]
    (segment,) = made("latent_conditioning", codec, frames).segments
    torch.testing.assert_close(segment.latent, expected)
    channels = made(CONCATENATION, codec, frames).channels
    assert channels.shape == (2, 5, 3, 2, 4) and torch.equal(channels[:, :4], segment.latent)
    assert channels[:, 4].flatten(2).mean(2).tolist() == [[1, 1, 1], [0, 1, 1]]


def test_over_a_slot_lies_what_is_given_later_where_it_is_given(codec, frames):
    left, right = frames.masks.clone(), frames.masks.clone()
    left[..., 16:], right[..., :16] = False, False
    early = Given(frames.pixels[:, :1], left[:, :1], torch.tensor([[1.0], [1.0]]), padding="zeros")
    late = Given(
        frames.pixels[:, 1:2],
        right[:, 1:2] & left[:, 1:2] | right[:, :1],
        torch.tensor([[2.0], [3.0]]),
        padding="zeros",
    )
    slots = made("latent_replacement", codec, late, early).slots
    torch.testing.assert_close(slots.latent[..., 1, :, :2], early.encode(codec).latent[..., 0, :, :2])
    torch.testing.assert_close(slots.latent[..., 1, :, 2:], late.encode(codec).latent[..., 0, :, 2:])
    assert slots.covered[:, :, 1].all() and not slots.covered[:, :, [0, 2]].any()


def test_clips_have_slots_and_masks_of_their_own(codec, clip):
    half = dataclasses.replace(clip, masks=clip.masks.clone())
    half.masks[:, 1:3] = 0  # half of the frames of the second latent
    slots = made("latent_replacement", codec, half).slots
    torch.testing.assert_close(slots.latent[:, :, 1:], half.encode(codec).latent)
    assert slots.mask.flatten(2).mean(2).shape == (2, 1)
    assert slots.mask[:, 0, :, 0, 0].tolist() == [[0, 1, 0.5]] * 2
    assert slots.covered[:, 0, :, 0, 0].tolist() == [[False, True, False]] * 2


def test_replacement_overwrites_what_enters_and_has_no_loss_there():
    latent, mask = torch.ones(1, 2, 2, 1, 2), torch.zeros(1, 1, 2, 1, 2)
    mask[..., 0, 0, :] = torch.tensor([1.0, 0.5])
    given, noisy = Conditioning(slots=Slots(latent, mask)), torch.full((1, 2, 2, 1, 2), 5.0)
    assert given.enter(noisy).tolist() == [[[[[1, 5]], [[5, 5]]]] * 2] and given.overwrite(noisy).min() == 1
    error = torch.tensor([100.0, 1, 2, 3]).view(1, 1, 2, 1, 2).expand(1, 2, 2, 1, 2)
    assert given.mean(error).tolist() == [2] and Conditioning().mean(error).tolist() == [26.5]


@pytest.mark.parametrize("name", PARADIGMS)
def test_without_conditions_there_is_nothing_to_learn_of(codec, name):
    given = made(name, codec)
    assert not given.segments and given.slots is None and PARADIGMS[name].frames_beside(0, 3) == 0
    assert (given.channels is not None and not given.channels.any()) if name == CONCATENATION else not given.channels


@pytest.mark.parametrize("name", IN_THE_VIDEO)
def test_one_video_has_one_strength(codec, frames, name):
    with pytest.raises(InputError, match=r"strength=0.5 needs a paradigm .*; use strength=1, or in_context"):
        made(name, codec, dataclasses.replace(frames, strength=0.5))


@pytest.fixture(scope="module")
def canvas():
    image = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    return Canvas(9, **SIZE, patches=(Patch(image, 2), Patch(image[:, ::-1].copy(), 7, box=(0, 0, 0.5, 1))))


@pytest.fixture
def pipe(tiny_model):
    pipe = CanvasPipeline.from_pretrained(tiny_model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_call_overrides_the_paradigm_where_the_weights_are_the_same(pipe, canvas):
    videos = {name: pipe(canvas, num_inference_steps=2, paradigm=name).video for name in [*PARADIGMS][:-1]}
    assert np.array_equal(videos["in_context"], pipe(canvas, num_inference_steps=2).video)
    assert all(not np.array_equal(videos[a], videos[b]) for a, b in itertools.pairwise(videos))
    with pytest.raises(
        InputError, match=r"channel_concatenation reads other channels .* paradigm=in_context; use in_c"
    ):
        pipe(canvas, paradigm=CONCATENATION)
    with pytest.raises(InputError, match=r"paradigm=nearest_slots must be one of .*; did you mean nearest_slot\?"):
        pipe(canvas, paradigm="nearest_slots")


def test_a_model_says_what_it_was_trained_for_and_is_loaded_so(pipe, canvas, tmp_path):
    expected = pipe(canvas, num_inference_steps=1, paradigm="nearest_slot").video
    for_paradigm(pipe.transformer, "nearest_slot")
    pipe.save_pretrained(tmp_path / "model")
    again = CanvasPipeline.from_pretrained(tmp_path / "model")
    assert again.transformer.config.paradigm == "nearest_slot"
    assert np.array_equal(again(canvas, num_inference_steps=1).video, expected)


def test_concatenated_channels_begin_at_zero_and_are_saved(pipe, canvas, tmp_path):
    texts = dataclasses.replace(canvas, patches=())
    expected = pipe(texts, num_inference_steps=2).video
    wide = for_paradigm(pipe.transformer, CONCATENATION).eval()
    assert wide.config.in_channels == 9 and wide.patch_embedding.weight.shape[1] == 9
    pipe = CanvasPipeline(**pipe.components | {"transformer": wide})
    pipe.set_progress_bar_config(disable=True)
    assert np.array_equal(pipe(texts, num_inference_steps=2).video, expected)
    assert np.array_equal(pipe(canvas, num_inference_steps=2).video, expected), "what is given is not read yet"
    torch.nn.init.normal_(wide.patch_embedding.weight[:, 4:].detach(), generator=torch.Generator().manual_seed(0))
    read = pipe(canvas, num_inference_steps=2).video
    pipe.save_pretrained(tmp_path / "model")
    again = CanvasPipeline.from_pretrained(tmp_path / "model")
    assert not np.array_equal(read, expected) and np.array_equal(again(canvas, num_inference_steps=2).video, read)
    with pytest.raises(InputError, match="paradigm=in_context reads other channels"):
        choose_paradigm(CONCATENATION, "in_context")
    with pytest.raises(InputError, match="reads channels that others lack; use channel_concatenation"):
        for_paradigm(wide, "in_context")


def test_replaced_latents_are_those_of_the_video(pipe, canvas, monkeypatch):
    seen = []
    monkeypatch.setattr(type(pipe), "decode", lambda self, latents: seen.append(latents) or self.codec.decode(latents))
    pipe(canvas, num_inference_steps=2, paradigm="latent_replacement")
    image = torch.from_numpy(canvas.patches[0].source).permute(2, 0, 1)[None] / 127.5 - 1
    torch.testing.assert_close(seen[0][:, :, 1], pipe.codec.encode_image(image)[:, :, 0], atol=1e-5, rtol=1e-5)
