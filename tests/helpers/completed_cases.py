"""Completed cases of a bench, made in memory."""

from types import SimpleNamespace

import cv2
import numpy as np
from bench_measures.completed import Completed

from vgen.canvas import placed
from vgen.canvas.spec import Canvas, Patch

FRAMES, HEIGHT, WIDTH, FPS = 17, 48, 64, 15.0


def texture(height=HEIGHT, width=WIDTH, seed=0):
    """A smooth picture that no other place of it looks like, uint8 `[H, W, 3]`."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def moving(step=2, frames=FRAMES):
    """The picture goes to the left by `step` pixels a frame, uint8 `[T, H, W, 3]`."""
    wide = texture(width=WIDTH + step * frames)
    return np.stack([wide[:, step * t : step * t + WIDTH] for t in range(frames)])


def completed(video, truth=None, patches=(), prompt="", fps=FPS):
    """A case whose canvas has these patches."""
    frames, height, width, _ = video.shape
    canvas = Canvas(frames, height, width, prompt, fps=fps, patches=tuple(patches))
    case = SimpleNamespace(name="anyi2v/0", group="AnyI2V", kind="first")
    return Completed(case, video, truth, placed.place(canvas, size_multiple=1), fps)


def images_of(video, *frames, box=None):
    """Frames of a video as patches."""
    pieces = video
    if box is not None:
        x0, y0, x1, y1 = (round(end * size) for end, size in zip(box, (WIDTH, HEIGHT) * 2, strict=True))
        pieces = video[:, y0:y1, x0:x1]
    return [Patch(pieces[frame].copy(), frame, box) for frame in frames]
