#!/usr/bin/env python
"""Makes the moving picture at the top of the README: what nano is given, and what it makes of it.

    python benchmarks/make_pictures.py --out docs
    python benchmarks/make_pictures.py --out pictures --keep outputs/pictures   # keeps the folders of the four commands

Two canvases, one of them of photographs, and two rollouts are made with the commands that a user has. Each is one pair
of panels: on the left what is given, on the right what nano made.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vgen.errors import Parser, exit_on_input_error
from vgen.media.source import read_media
from vgen.trajectory.files import read_trajectory

ROOT = Path(__file__).parents[1]
MEDIA = ROOT / "configs" / "canvas" / "media"
TICKS, TICK_MS, HOLD_MS = 34, 60, 1200  # every frame of a canvas twice, every second one of a rollout
PANEL, GAP, TITLE = 208, 10, 26
INK, QUIET, PAPER, EMPTY = (32, 32, 36), (120, 120, 126), (250, 250, 248), (222, 222, 222)
GIVEN = (232, 96, 8)
WHOLE = (0, 0, 1, 1)
PART = (0.3125, 0.0625, 0.8125, 0.5625)  # of configs/canvas/demo.yaml

START = ["--start", str(MEDIA / "button_0.png"), "--trajectory", str(ROOT / "configs/ego/press.json")]
START += ["--text", "press the button", "--advance", "16"]
COMMANDS = {
    "parts": ["infer", "--spec", str(ROOT / "configs/canvas/demo.yaml")],
    "photographs": ["infer", "--spec", str(ROOT / "configs/canvas/photographs.yaml")],
    "right": ["rollout", *START, "--edit", "redirect=0.2,0.6,0.2@0.1"],
    "left": ["rollout", *START, "--edit", "redirect=-0.2,0.6,0.2@0.1"],
}
TITLES = {
    "parts": "two images and a part of a third",
    "photographs": "two photographs",
    "right": "one image and a path of the hand",
    "left": "the same image, another path",
}

GIVEN_IMAGES = {  # by name, file, frame and box
    "parts": (("button_0", 0, WHOLE), ("button_8_part", 8, PART), ("button_16", 16, WHOLE)),
    "photographs": (("cat", 0, WHOLE), ("coffee", 16, WHOLE)),
}

# The camera of the recorded scene (vgen/simulators/metaworld/environment.py): it looks at a point from 0.85 m.
LOOK_AT, DISTANCE, DOWN, FIELD = np.array([0.0, 0.65, 0.1]), 0.85, np.radians(42), np.radians(45)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where nano.webp goes")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the results of the commands stay")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        work = arguments.keep or Path(aside)
        for name, command in COMMANDS.items():
            run = [sys.executable, "-m", "vgen", *command, "--model", "nano", "--out", str(work / name)]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        pages = [page(work, tick) for tick in range(TICKS)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "nano.webp"
    durations = [TICK_MS] * (TICKS - 1) + [HOLD_MS]
    pages[0].save(file, save_all=True, append_images=pages[1:], duration=durations, loop=0, quality=72, method=6)
    print(f"wrote {file}, {file.stat().st_size / 1000:.0f} kB")


def page(work: Path, tick: int) -> Image.Image:
    """One moment of all four pairs, two in a row."""
    high = TITLE + PANEL + TITLE
    sheet = Image.new("RGB", (4 * PANEL + 5 * GAP, 2 * high + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(COMMANDS):
        x, y = GAP + 2 * (place % 2) * (PANEL + GAP), GAP // 2 + (place // 2) * high
        video = read_media(work / name / "video.mp4")
        given = given_path(work / name, tick) if name in ("right", "left") else given_patches(name, tick)
        made = enlarged(Image.fromarray(np.asarray(video[at(tick, len(video))])))
        sheet.paste(given, (x, y + TITLE))
        sheet.paste(made, (x + PANEL + GAP, y + TITLE))
        draw.text((x, y + 4), TITLES[name], INK, ImageFont.load_default(15))
        draw.text((x, y + TITLE + PANEL + 3), "given", GIVEN, ImageFont.load_default(13))
        draw.text((x + PANEL + GAP, y + TITLE + PANEL + 3), "made by nano", QUIET, ImageFont.load_default(13))
    return sheet


def at(tick: int, frames: int) -> int:
    """Which of so many frames is shown at this moment."""
    return round(tick * (frames - 1) / (TICKS - 1))


def enlarged(image: Image.Image) -> Image.Image:
    return image.resize((PANEL, PANEL), Image.Resampling.LANCZOS)


def given_patches(name: str, tick: int) -> Image.Image:
    """The patches of a canvas on an empty one; an image fades in before its frame and out after it."""
    empty = Image.new("RGB", (PANEL, PANEL), EMPTY)
    frame, sheet = at(tick, 17), empty
    for file, when, box in GIVEN_IMAGES[name]:
        shown = pasted(empty, Image.open(MEDIA / f"{file}.png").convert("RGB"), box)
        sheet = Image.blend(sheet, shown, max(0, 1 - abs(frame - when) / 4))
    return sheet


def pasted(empty: Image.Image, image: Image.Image, box: tuple[float, ...]) -> Image.Image:
    """An image in its box, with a line around it."""
    x0, y0, x1, y1 = (round(side * PANEL) for side in box)
    sheet = empty.copy()
    sheet.paste(image.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS), (x0, y0))
    ImageDraw.Draw(sheet).rectangle((x0, y0, x1 - 1, y1 - 1), outline=GIVEN, width=2)
    return sheet


def given_path(folder: Path, tick: int) -> Image.Image:
    """The start frame, and on it the path of the hand, with a dot where the hand is to be now."""
    sheet = enlarged(Image.open(MEDIA / "button_0.png").convert("RGB"))
    draw = ImageDraw.Draw(sheet)
    places = [tuple(place) for place in seen(read_trajectory(folder / "trajectory.npz").values[:, :3]) * PANEL]
    now = places[at(tick, len(places))]
    draw.line(places, fill=(255, 255, 255), width=5)
    draw.line(places, fill=GIVEN, width=3)
    draw.ellipse((now[0] - 6, now[1] - 6, now[0] + 6, now[1] + 6), fill=GIVEN, outline=(255, 255, 255), width=2)
    return sheet


def seen(points: np.ndarray) -> np.ndarray:
    """Where points of the scene [N, 3], in metres, lie in the picture: shares [N, 2] from its upper left corner."""
    forward = np.array([0, np.cos(DOWN), -np.sin(DOWN)])
    up = np.array([0, np.sin(DOWN), np.cos(DOWN)])
    rays = points - (LOOK_AT - DISTANCE * forward)
    plane = np.stack([rays[:, 0], -(rays @ up)], axis=-1) / (rays @ forward)[:, None]
    return 0.5 + plane / (2 * np.tan(FIELD / 2))


if __name__ == "__main__":
    exit_on_input_error(main)
