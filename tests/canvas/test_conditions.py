"""What lies on a canvas, as condition segments."""

import torch

from vgen.canvas.conditions import encode_placed
from vgen.media.placing import PlacedClip, PlacedFrame


def test_placed_images_share_a_segment_and_every_clip_has_its_own(codec):
    image = PlacedFrame(torch.rand(3, 16, 32), torch.ones(1, 16, 32, dtype=torch.bool), 3.0)
    clip = PlacedClip(torch.rand(3, 5, 16, 32), torch.ones(1, 5, 16, 32, dtype=torch.bool), 4.0)
    segments = encode_placed(codec, [image, clip, image])
    assert [segment.t.tolist() for segment in segments] == [[[0.75, 0.75]], [[1.0, 2.0]]]
    assert encode_placed(codec, []) == []
