"""The codec on tiny random VAEs in the shapes of Wan 2.1, of Wan 2.2 and of nano."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from vgen.backbone.codec import WanCodec
from vgen.errors import InputError

FAMILIES = {
    "wan2.1": {"z_dim": 16, "dim_mult": [1, 1, 1, 1], "temperal_downsample": [False, True, True]},
    "wan2.2": {
        "z_dim": 48,
        "dim_mult": [1, 1, 1, 1],
        "temperal_downsample": [False, True, True],
        "is_residual": True,
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
        "scale_factor_spatial": 16,
    },
    "nano": {
        "z_dim": 48,
        "dim_mult": [1, 2, 2],
        "temperal_downsample": [True, True],
        "is_residual": True,
        "patch_size": 4,
        "in_channels": 48,
        "out_channels": 48,
        "scale_factor_spatial": 16,
    },
}
STRIDES = {"wan2.1": 8, "wan2.2": 16, "nano": 16}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def codec(family):
    torch.manual_seed(0)
    config = FAMILIES[family]
    statistics = {"latents_mean": [0.5] * config["z_dim"], "latents_std": [2.0] * config["z_dim"]}
    return WanCodec(AutoencoderKLWan(base_dim=8, num_res_blocks=1, **statistics | config).eval())


@pytest.fixture
def video():
    return torch.rand(2, 3, 9, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("values", [None, [0.5] * 3, [[0.5]] * 16, ["a"] * 16, [float("nan")] * 16])
@pytest.mark.parametrize("name", ["latents_mean", "latents_std"])
def test_a_codec_that_does_not_say_how_latents_are_normalised_is_refused(name, values):
    vae = AutoencoderKLWan(base_dim=8, num_res_blocks=1, **FAMILIES["wan2.1"])
    WanCodec(vae)
    vae.register_to_config(**{name: values})
    with pytest.raises(InputError, match=f"^{name}=.* must be 16 finite numbers"):
        WanCodec(vae)


def test_strides_and_channels(codec, family, video):
    stride = STRIDES[family]
    assert (codec.temporal_stride, codec.spatial_stride, codec.channels) == (4, stride, FAMILIES[family]["z_dim"])
    latent = codec.encode_video(video)
    assert latent.shape == (2, codec.channels, 3, 32 // stride, 48 // stride)
    decoded = codec.decode(latent)
    assert decoded.shape == video.shape and decoded.abs().max() <= 1


def test_latents_are_normalised_and_decoding_undoes_it(codec, video):
    raw = codec.vae.encode(video).latent_dist.mode()
    latent = codec.encode_video(video)
    torch.testing.assert_close(latent, (raw - 0.5) / 2)
    torch.testing.assert_close(codec.decode(latent), codec.vae.decode(raw).sample, atol=1e-5, rtol=1e-5)


def test_image_mode_is_the_first_latent_of_a_clip_and_sees_no_other_frame(codec, video):
    image = codec.encode_image(video[:, :, 0])
    torch.testing.assert_close(image, codec.encode_video(video)[:, :, :1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(codec.encode_image(video[:1, :, 4])[0], codec.encode_image(video[:, :, 4])[0])


def test_frames_that_would_be_dropped_are_refused(codec, video):
    with pytest.raises(InputError, match="frames=8 is not 1"):
        codec.encode_video(video[:, :, :8])
    with pytest.raises(InputError, match="nearest: 32x48"):
        codec.encode_video(torch.nn.functional.pad(video, (0, 1)))
