"""A world in which a soft bar crosses the picture at one pixel a frame, and samplers that know it."""

import torch

from vgen.metrics import linear_blend

SIZE, MIDDLE = 48, 24.0


def bar_video(positions):
    """Positions `[B, T]` of the bar -> video `[B, 3, T, 16, SIZE]` in [-1, 1]."""
    columns = torch.arange(float(SIZE))
    lines = torch.exp(-((columns - positions[..., None]) ** 2) / 8) * 2 - 1
    return lines[:, None, :, None, :].expand(-1, 3, -1, 16, -1).clone()


def bar_clips(batch, length):
    """Clips in which the bar stands at `MIDDLE - 8 + j` in frame j."""
    return bar_video((MIDDLE - 8 + torch.arange(float(length))).expand(batch, length))


class BarSampler:
    """Completes a whole given frame by moving its bar; it takes the frame for one at `place(frame)`."""

    def __init__(self, place=lambda frame: frame):
        self.place, self.calls = place, []

    def complete(self, given, prompts, length, seeds):
        self.calls.append((tuple(prompts), tuple(seeds)))
        start = given.pixels[:, 0, 0, 0].argmax(-1)
        frame = self.place(given.frames[:, 0].float())
        return bar_video(start[:, None] + torch.arange(float(length)) - frame[:, None])

    def reconstruct_video(self, video):
        return video

    def reconstruct_images(self, video):
        return video


class BlendSampler(BarSampler):
    """The blend itself, a little brighter."""

    def complete(self, given, prompts, length, seeds):
        return linear_blend(given.pixels, given.masks, given.frames, length) + 0.1
