import pytest

from vgen.backbone.shapes import Strides, check_frames, check_size, latent_frames, pixel_frames
from vgen.errors import InputError


def test_frames_and_latents_are_inverse():
    assert [latent_frames(frames, 4) for frames in (1, 5, 17, 77)] == [1, 2, 5, 20]
    assert all(
        latent_frames(pixel_frames(count, stride), stride) == count for count in range(1, 9) for stride in (1, 4, 8)
    )


@pytest.mark.parametrize("frames, near", [(78, "77, 81"), (16, "13, 17"), (0, "1"), (-3, "1")])
def test_an_illegal_count_names_the_nearest(frames, near):
    with pytest.raises(InputError, match=f"^frames={frames} is not 1 \\+ 4k; nearest: {near}$"):
        check_frames(frames, 4)


@pytest.mark.parametrize("size, near", [((100, 128), "96x128"), ((384, 680), "384x672"), ((1, 0), "32x32")])
def test_an_illegal_size_names_the_nearest(size, near):
    with pytest.raises(InputError, match=f"nearest: {near}$"):
        check_size(*size, 32)


def test_legal_values_pass():
    check_frames(77, 4)
    check_size(384, 672, 32)


def test_a_latent_knows_its_tokens():
    wan = Strides(temporal=4, spatial=8, patch=2)
    assert wan.multiple == 16
    latent = wan.latent(77, 384, 672)
    assert (latent.frames, latent.height, latent.width) == (20, 48, 84)
    assert latent.grid == (20, 24, 42) and latent.frame_tokens == 1008 and latent.tokens == 20160
    with pytest.raises(InputError, match="nearest: 77, 81"):
        wan.latent(78, 384, 672)
    with pytest.raises(InputError, match="nearest: 384x672"):
        wan.latent(77, 380, 672)


def test_strides_are_those_of_the_configurations():
    strides = Strides.of({"scale_factor_temporal": 4, "scale_factor_spatial": 16}, {"patch_size": (1, 2, 2)})
    assert strides == Strides(4, 16, 2)
