"""Contact sheets: one clip's frames from left to right, in rows of truth, given, model, blend and a peer."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from canvas_suite.evaluation import ClipBatch
from canvas_suite.tasks import Given
from vgen.media.pixels import to_uint8

GAP = 2
LABEL_HEIGHT = 14
SHOWN = ("model", "blend", "rife")


class ContactSheets:
    """Writes a sheet per task for the first few clips of a run; a watcher of `evaluate`."""

    def __init__(self, folder: Path, clips: int) -> None:
        self.folder, self.keys, self.clips = folder, [], clips
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, task: str, batch: ClipBatch, given: Given, videos: dict[str, Tensor]) -> None:
        """Draws those clips of the batch that are among the first of the run."""
        for place, key in enumerate(batch.keys):
            if key not in self.keys and len(self.keys) < self.clips:
                self.keys.append(key)
            if key in self.keys:
                rows = {
                    "truth": batch.truth[place],
                    "given": _given_video(given, place, batch.truth.shape[2]),
                    **{method: videos[method][place] for method in SHOWN if method in videos},
                }
                name = f"{self.keys.index(key)}-{task.replace(', ', '-').replace(' ', '-')}.png"
                contact_sheet(rows, f"{task}: {batch.prompts[place]} (episode {key[0]}, frame {key[1]})").save(
                    self.folder / name
                )


def contact_sheet(rows: dict[str, Tensor], title: str) -> Image.Image:
    """A picture of videos `[3, T, H, W]` in [-1, 1], one below the other, each under its name."""
    strips = {label: _strip(video) for label, video in rows.items()}
    width = max(strip.width for strip in strips.values())
    height = sum(strip.height + LABEL_HEIGHT for strip in strips.values()) + LABEL_HEIGHT
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 0), title, fill="black")
    y = LABEL_HEIGHT
    for label, strip in strips.items():
        draw.text((GAP, y), label, fill="black")
        sheet.paste(strip, (0, y + LABEL_HEIGHT))
        y += LABEL_HEIGHT + strip.height
    return sheet


def _strip(video: Tensor) -> Image.Image:
    pixels = to_uint8(video).cpu()
    frames = torch.nn.functional.pad(pixels, (0, GAP), value=255).permute(2, 1, 3, 0)
    return Image.fromarray(frames.flatten(1, 2).numpy())


def _given_video(given: Given, place: int, length: int) -> Tensor:
    pixels, masks = given.pixels[place], given.masks[place]
    video = pixels.new_zeros(length, *pixels.shape[1:])
    video[given.frames[place]] = pixels * masks
    return video.transpose(0, 1)
