import pytest
import torch
from diffusers import AutoencoderKLWan
from tiny_parts import CODEC

from vgen.backbone.codec_at_once import decode_at_once, encode_at_once, quicken, skip_time_padding


@pytest.mark.parametrize("frames", [1, 5])
def test_results_and_gradients_are_the_plain_ones(frames):
    torch.manual_seed(0)
    plain = AutoencoderKLWan(**CODEC, latents_mean=[0.0] * CODEC["z_dim"], latents_std=[1.0] * CODEC["z_dim"])
    quick = AutoencoderKLWan.from_config(plain.config)
    quick.load_state_dict(plain.state_dict())
    skip_time_padding(quick)
    video = torch.randn(2, 3, frames, 16, 16)
    results = []
    for vae in (plain, quick):
        output = vae.decode(vae.encode(video).latent_dist.mode()).sample
        output.square().mean().backward()
        results.append((output.detach(), vae.encoder.conv_in.weight.grad, vae.decoder.conv_out.weight.grad))
    for wanted, got in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("codec", [CODEC, {**CODEC, "is_residual": not CODEC.get("is_residual", False)}])
@pytest.mark.parametrize("frames", [1, 5, 13])
def test_a_clip_at_once_is_as_in_chunks(codec, frames):
    torch.manual_seed(0)
    plain = AutoencoderKLWan(**codec, latents_mean=[0.0] * codec["z_dim"], latents_std=[1.0] * codec["z_dim"])
    quick = AutoencoderKLWan.from_config(plain.config)
    quick.load_state_dict(plain.state_dict())
    quicken(quick)
    video = torch.rand(2, 3, frames, 16, 16) * 2 - 1
    with torch.no_grad():
        wanted = plain.encode(video).latent_dist
        posterior = encode_at_once(quick, video)
        torch.testing.assert_close(posterior.mean, wanted.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(posterior.std, wanted.std, rtol=1e-4, atol=1e-5)
        decoded = decode_at_once(quick, wanted.mean).clamp(-1, 1)
        torch.testing.assert_close(decoded, plain.decode(wanted.mean).sample, rtol=1e-4, atol=1e-5)
