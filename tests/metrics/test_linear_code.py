from itertools import product

import numpy as np
import pytest
import torch

from vgen.metrics import LinearCode, psnr

S, N = 4, 2  # pixels a side of a block, frames of a group


def moving_noise(seed: int, clips: int = 8, frames: int = 5) -> torch.Tensor:
    """Smooth noise that moves to the right, [B, 3, T, 16, 24]."""
    g = torch.Generator().manual_seed(seed)
    wide = torch.nn.functional.avg_pool2d(torch.randn(clips, 3, 18, 24 + frames + 2, generator=g), 3, 1)
    return torch.stack([wide[..., t : t + 24] for t in range(frames)], 2) * 2


def blocks_of(video: np.ndarray, frames: int) -> np.ndarray:
    """[N, 3·frames·S·S], cut one by one."""
    cuts = [range(0, video.shape[2], frames), range(0, video.shape[3], S), range(0, video.shape[4], S)]
    places = [(clip, *place) for clip in video for place in product(*cuts)]
    return np.stack([clip[:, t : t + frames, y : y + S, x : x + S].reshape(-1) for clip, t, y, x in places])


def left_out(blocks: np.ndarray, numbers: int) -> float:
    """What no projection on so many directions can do without: the rest of the singular values, squared."""
    return float((np.linalg.svd(blocks, compute_uv=False)[numbers:] ** 2).sum())


def test_single_frames_lose_what_the_singular_values_say():
    video = moving_noise(0, frames=1)
    code = LinearCode.fit([video], 10, S, N)
    error = (code.decode(code.encode(video)) - video).square().sum().item()
    assert error == pytest.approx(left_out(blocks_of(video.numpy(), 1), 10), rel=1e-3)


def test_groups_lose_hardly_more_than_the_best_code_of_groups():
    video = moving_noise(1)
    code = LinearCode.fit([video], 12, S, N)
    made = code.decode(code.encode(video))
    error = (made - video)[:, :, 1:].square().sum().item()
    best = left_out(blocks_of(video[:, :, 1:].numpy(), N), 12)
    assert best <= error < 1.1 * best


def test_a_still_clip_has_the_first_numbers_of_its_frame():
    still = moving_noise(2, frames=1).expand(-1, -1, 5, -1, -1)
    code = LinearCode.fit([moving_noise(3)], 12, S, N)
    numbers = code.encode(still)
    assert numbers.shape == (8, 12, 3, 4, 6)
    torch.testing.assert_close(numbers[:, :6, 1], numbers[:, :6, 0])


def test_as_many_numbers_as_pixels_lose_nothing():
    frame = moving_noise(4, frames=1)
    code = LinearCode.fit([frame], 3 * S * S, S, N)
    torch.testing.assert_close(code.decode(code.encode(frame)), frame, atol=1e-4, rtol=0)


def test_more_numbers_hold_more_of_videos_that_were_not_fitted():
    train, test = moving_noise(5, clips=32), moving_noise(6)
    held = [
        psnr(code.decode(code.encode(test)), test).mean()
        for code in (LinearCode.fit([train], k, S, N) for k in (4, 8, 16))
    ]
    assert held[0] < held[1] < held[2]


def test_each_of_several_sets_counts_as_much():
    """One number for two sets of one block each over and over: that of the brighter set, however many the other has."""
    across = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(3, 1, S, S)
    many, few = 0.9 * across.expand(64, -1, -1, -1, -1), across.transpose(-1, -2).unsqueeze(0)
    code = LinearCode.fit([many, few], 1, S, N)
    torch.testing.assert_close(code.decode(code.encode(few)), few)
    assert code.encode(many).abs().max() < 1e-5
