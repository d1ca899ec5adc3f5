"""Conditions: mid-grey outside the mask, each alone in image mode, at τ/N."""

import pytest
import torch
from tiny_parts import tiny_codec

from vgen.backbone.codec import WanCodec
from vgen.backbone.encoding import IMAGES_AT_ONCE, encode_clip, encode_frames


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(3)
    pixels = torch.rand(2, 3, 3, 16, 32, generator=generator) * 2 - 1
    masks = torch.zeros(2, 3, 1, 16, 32)
    masks[..., 4:12, 8:20] = 1
    return pixels, masks, torch.tensor([[0.0, 5.0, 10.5], [1.0, 1.0, 41.0]], dtype=torch.float64)


def test_what_lies_outside_the_mask_does_not_matter(codec, given):
    pixels, masks, frames = given
    noisy = torch.where(masks != 0, pixels, torch.randn_like(pixels))
    assert torch.equal(
        encode_frames(codec, pixels, masks, frames).latent, encode_frames(codec, noisy, masks, frames).latent
    )


def test_each_image_is_encoded_alone_on_a_grey_canvas(codec, given):
    pixels, masks, frames = given
    latent = encode_frames(codec, pixels, masks, frames).latent
    for sample in range(2):
        for k in range(3):
            canvas = torch.zeros(1, 3, 16, 32)
            canvas[..., 4:12, 8:20] = pixels[sample, k, :, 4:12, 8:20]
            alone = codec.encode_image(canvas)[0, :, 0]
            torch.testing.assert_close(latent[sample, :, k], alone, atol=1e-5, rtol=1e-5)


def test_a_pixel_that_is_given_by_half_is_encoded_half_way_to_grey(codec, given):
    pixels, masks, frames = given
    soft = encode_frames(codec, pixels, masks * 0.5, frames).latent
    assert torch.equal(soft, encode_frames(codec, pixels * 0.5, masks.bool(), frames).latent)


def test_more_images_than_are_encoded_at_once(codec):
    count = IMAGES_AT_ONCE + 3
    pixels, masks = torch.rand(1, count, 3, 16, 16), torch.ones(1, count, 1, 16, 16)
    segment = encode_frames(codec, pixels, masks, torch.arange(count)[None])
    assert segment.latent.shape[2] == count
    torch.testing.assert_close(segment.latent[:, :, [-1]], codec.encode_image(pixels[:, -1]), atol=1e-5, rtol=1e-5)


def test_images_sit_at_their_frame_over_the_stride_and_are_clean(codec, given):
    segment = encode_frames(codec, *given)
    assert segment.t.tolist() == [[0.0, 1.25, 2.625], [0.25, 0.25, 10.25]]
    assert segment.role == "condition" and segment.time.tolist() == [0.0, 0.0]


def test_all_of_a_condition_may_lie_on_another_device_than_the_cpu():
    away = WanCodec(tiny_codec().to("meta"))
    given = [torch.zeros(1, 9, *sides, device="meta") for sides in ((3, 16, 32), (1, 16, 32), ())]
    made = [encode(away, *given) for encode in (encode_clip, encode_frames)]
    assert {each.device.type for segment in made for each in (segment.latent, segment.t)} == {"meta"}


def test_a_clip_takes_a_quarter_of_the_tokens_and_starts_anywhere(codec):
    pixels = torch.rand(1, 9, 3, 16, 32) * 2 - 1
    segment = encode_clip(codec, pixels, torch.ones(1, 9, 1, 16, 32), torch.arange(2, 11)[None])
    assert segment.latent.shape[2] == 3
    assert segment.t.tolist() == [[0.5, 1.5, 2.5]]
    torch.testing.assert_close(segment.latent[:, :, [0]], codec.encode_image(pixels[:, 0]), atol=1e-5, rtol=1e-5)
