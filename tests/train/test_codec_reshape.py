import pytest
import torch
from diffusers import AutoencoderKLWan
from tiny_parts import CODEC

from vgen.errors import InputError
from vgen.train.objectives.codec_reshape import widened


def trained(**changes):
    torch.manual_seed(0)
    plain = {"latents_mean": [0.0] * CODEC["z_dim"], "latents_std": [1.0] * CODEC["z_dim"]}
    return AutoencoderKLWan(**CODEC | plain | changes)


WIDER = [
    {"base_dim": 12},
    {"decoder_base_dim": 16},
    {"z_dim": 7},
    {"base_dim": 16, "decoder_base_dim": 24, "z_dim": 6},
]


@pytest.mark.parametrize("keywords", WIDER)
@pytest.mark.parametrize("residual", [True, False])
def test_a_wider_codec_begins_as_the_trained_one(keywords, residual):
    before = trained(is_residual=residual)
    after = widened(before, keywords)
    video = torch.rand(2, 3, 9, 16, 16) * 2 - 1
    with torch.no_grad():
        wanted, found = before.encode(video).latent_dist, after.encode(video).latent_dist
        old = CODEC["z_dim"]
        torch.testing.assert_close(found.mean[:, :old], wanted.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.logvar[:, :old], wanted.logvar, rtol=1e-4, atol=1e-5)
        decoded = after.decode(found.mean).sample
        torch.testing.assert_close(decoded, before.decode(wanted.mean).sample, rtol=1e-4, atol=1e-5)


def test_all_further_weights_learn():
    after = widened(trained(), {"base_dim": 12, "decoder_base_dim": 12, "z_dim": 6})
    optimizer = torch.optim.SGD(after.parameters(), lr=0.1)
    start = {name: weight.detach().clone() for name, weight in after.named_parameters()}
    for _ in range(4):  # what is read with zeros has a gradient one step later
        video = torch.rand(2, 3, 9, 16, 16) * 2 - 1
        optimizer.zero_grad()
        (after.decode(after.encode(video).latent_dist.sample()).sample - video).square().mean().backward()
        optimizer.step()
    still = {name for name, weight in after.named_parameters() if torch.equal(weight, start[name])}
    assert not still
    moved = after.decoder.mid_block.resnets[0].conv1.weight != start["decoder.mid_block.resnets.0.conv1.weight"]
    assert moved.float().mean() > 0.99


def test_what_is_not_a_width_and_what_shrinks_are_refused():
    with pytest.raises(InputError, match=r"objective.model.patch_size=4: only base_dim, decoder_base_dim, z_dim may"):
        widened(trained(), {"patch_size": 4})
    with pytest.raises(InputError, match=r"objective.model.z_dim=3 is below the 4 of objective.pretrained; nearest: 4"):
        widened(trained(), {"z_dim": 3})
