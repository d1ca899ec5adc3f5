"""What stands in for pixels that are not given: zeros, or the nearest given ones."""

import pytest
import torch
from stock_wan import COMMON, TINY

from vgen.backbone.encoding import encode_clip, encode_frames, rebuild
from vgen.backbone.padding import Nearest, padded
from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError


def pictures(*shape, seed=3):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def box(height, width, top, left, bottom, right):
    mask = torch.zeros(1, 1, height, width)
    mask[..., top:bottom, left:right] = 1
    return mask


def coordinates(height, width):
    """A picture whose colours say where each of its pixels lies: [1, 3, H, W]."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)]).double()[None]


@pytest.mark.parametrize("share", [0.5, 0.03, 0.004])
@pytest.mark.parametrize("size", [(24, 40), (33, 17)])
def test_no_given_pixel_is_nearer(size, share):
    given = torch.rand(*size, generator=torch.Generator().manual_seed(1)) < share
    given[5, 7] = True
    place = coordinates(*size)
    near = Nearest.of(given[None, None]).pixels(place)[0, :2].long()
    assert given[near[0], near[1]].all()
    distance = (near - place[0, :2]).square().sum(dim=0).sqrt()
    every = torch.cdist(place[0, :2].flatten(1).T, place[0, :2, given].T)  # to each of the given pixels
    torch.testing.assert_close(distance.flatten(), every.amin(dim=1))


def test_a_box_goes_on_at_its_border_and_a_hole_is_closed_from_all_sides():
    picture, inside = pictures(1, 3, 16, 20), box(16, 20, 4, 6, 9, 15)
    rows, columns = torch.arange(16).clamp(4, 8), torch.arange(20).clamp(6, 14)
    assert torch.equal(padded(picture, inside, "nearest"), picture[:, :, rows][..., columns])
    closed = padded(picture, 1 - inside, "nearest")
    for row, column, near in ((4, slice(7, 14), (3, slice(7, 14))), (8, slice(7, 14), (9, slice(7, 14)))):
        assert torch.equal(closed[..., row, column], picture[..., near[0], near[1]])
    assert torch.equal(closed[..., 6, [6, 14]], picture[..., 6, [5, 15]])


def test_a_pixel_that_is_given_in_part_is_mixed_with_the_nearest_whole_one():
    picture, mask = pictures(1, 3, 8, 8), box(8, 8, 0, 0, 8, 4)
    mask[..., 4] = 0.25
    made = padded(picture, mask, "nearest")
    torch.testing.assert_close(made[..., 4], 0.25 * picture[..., 4] + 0.75 * picture[..., 3])
    assert torch.equal(made[..., 5], picture[..., 3])


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_where_nothing_is_given_whole_it_stays_grey(level):
    picture = pictures(2, 3, 3, 8, 8)
    masks = torch.ones(2, 3, 1, 8, 8)
    masks[1, 2] = level
    made = padded(picture, masks, "nearest")
    assert torch.equal(made[0], picture[0]) and torch.equal(made[1, 2], picture[1, 2] * level)


def test_zeros_are_grey_and_whole_pictures_stay_what_they_are():
    picture, mask = pictures(2, 3, 8, 8), box(8, 8, 2, 2, 6, 6).expand(2, -1, -1, -1)
    assert torch.equal(padded(picture, mask, "zeros"), picture * mask)
    for kind in ("zeros", "nearest"):
        assert torch.equal(padded(picture, torch.ones(2, 1, 8, 8, dtype=torch.bool), kind), picture)


def test_images_clips_and_what_the_codec_alone_holds_are_padded_alike(codec):
    pixels, masks = pictures(1, 5, 3, 16, 16), box(16, 16, 3, 3, 12, 9).expand(1, 5, -1, -1, -1).clone()
    masks[:, 3] = 1 - masks[:, 3]  # each frame is padded from itself
    whole, alike = padded(pixels, masks, "nearest"), torch.ones_like(masks)
    places = torch.arange(5.0)[None]
    for encode in (encode_frames, encode_clip):
        made, true = encode(codec, pixels, masks, places, "nearest"), encode(codec, whole, alike, places)
        assert torch.equal(made.latent, true.latent) and not torch.equal(made.given, true.given)
    assert torch.equal(rebuild(codec, pixels[0], masks[0], "nearest"), rebuild(codec, whole[0], alike[0]))


def test_a_model_keeps_its_padding_and_refuses_what_does_not_go_together(tmp_path):
    VideoTransformer(**TINY, **COMMON, condition_padding="nearest").save_pretrained(tmp_path)
    assert VideoTransformer.from_pretrained(tmp_path).config.condition_padding == "nearest"
    assert VideoTransformer(**TINY, **COMMON).config.condition_padding == "zeros"
    with pytest.raises(InputError, match=r"nearst.* nearest"):
        VideoTransformer(**TINY, **COMMON, condition_padding="nearst")
    with pytest.raises(InputError, match="condition_padding=nearest: paradigm=pixel_padding pads with zeros"):
        VideoTransformer(**TINY, **COMMON, condition_padding="nearest", paradigm="pixel_padding")
