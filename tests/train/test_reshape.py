import pytest
import torch
from tiny_parts import TRANSFORMER

from vgen.backbone.segments import target
from vgen.backbone.transformer import VideoTransformer
from vgen.errors import InputError
from vgen.train.objectives.reshape import READ, WRITE, reshaped


@pytest.fixture
def trained():
    torch.manual_seed(0)
    keywords = TRANSFORMER | {"in_channels": 4, "out_channels": 4, "text_dim": 8, "patch_size": (1, 2, 2)}
    return VideoTransformer(**keywords).eval()


def test_blocks_are_taken_over_and_an_even_picture_is_read_and_written_as_before(trained):
    model = reshaped(trained, {"patch_size": [1, 1, 1]}).eval()
    for name, weight in trained.blocks.state_dict().items():
        assert torch.equal(model.blocks.state_dict()[name], weight)
    pixel = torch.randn(1, 4, 1, 1, 1)
    coarse, fine = (each.patch_embedding(pixel.expand(1, 4, 1, 2, 2)) for each in (trained, model))
    torch.testing.assert_close(fine, coarse.expand_as(fine), atol=1e-5, rtol=1e-4)
    tokens = torch.randn(1, 1, trained.config.num_attention_heads * trained.config.attention_head_dim)
    whole = trained.proj_out(tokens).view(2, 2, 4)  # rows in the order y x c
    torch.testing.assert_close(model.proj_out(tokens).flatten(), whole.mean((0, 1)), atol=1e-5, rtol=1e-4)
    (velocity,) = model([target(torch.randn(1, 4, 2, 4, 4), torch.tensor([0.5]))], torch.randn(1, 3, 8))
    assert velocity.shape == (1, 4, 2, 4, 4)


def test_other_widths_keep_what_has_their_shape(trained):
    more = {"num_layers": trained.config.num_layers + 1, "condition_attention": "independent"}
    model = reshaped(trained, more)
    assert model.independent and len(model.blocks) == len(trained.blocks) + 1
    assert torch.equal(model.state_dict()[READ], trained.state_dict()[READ])
    assert torch.equal(model.state_dict()[WRITE], trained.state_dict()[WRITE])


def test_a_patch_that_does_not_divide_is_refused(trained):
    with pytest.raises(InputError, match=r"patch_size=\[1, 4, 4\] does not divide \[1, 2, 2\].*nearest"):
        reshaped(trained, {"patch_size": [1, 4, 4]})
