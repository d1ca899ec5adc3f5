"""Contact sheets: one start and its different futures with the truth beneath each; and single episodes."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ego_suite.play import Played
from vgen.media.pixels import to_uint8
from vgen.media.sheet import Tile, draw_sheet, picture_of, tile_size

FUTURES = (8, 16, 32, 48, 64)
FORWARD = (4, 8, 16, 32, 64)


class Sheets:
    """A watcher that draws the first few of what it is shown.

    Args:
        folder: where PNG files go.
        name: how their names begin.
        count: how many are drawn.
    """

    def __init__(self, folder: Path, name: str, count: int) -> None:
        self._folder, self._name, self._left, self._drawn = folder, name, count, 0
        folder.mkdir(parents=True, exist_ok=True)

    def _save(self, title: str, rows: dict[str, Tensor], frames: tuple[int, ...]) -> None:
        """Videos [3, T, H, W] in rows: the start, then the frames at some horizons."""
        size = tile_size(*next(iter(rows.values())).shape[-2:])
        sections = [(heading, _tiles(video, frames, size)) for heading, video in rows.items()]
        draw_sheet(title, sections, size).save(self._folder / f"{self._name}-{self._drawn}.png")
        self._drawn += 1
        self._left -= 1


class FutureSheets(Sheets):
    """Contact sheets of groups: what is generated under each trajectory, and what happened."""

    def __call__(self, played: Played) -> None:
        """Draws one group."""
        if not self._left:
            return
        rows = {}
        for case, made, truth in zip(played.cases, played.videos["model"], played.truth, strict=True):
            rows[f"{case.kind}: generated"], rows[f"{case.kind}: what happened"] = made, truth
        self._save(f"{played.cases[0].text} ({played.cases[0].name} and its branches)", rows, FUTURES)


class ForwardSheets(Sheets):
    """Contact sheets of single episodes: what happened, the model, and the model without actions."""

    def __call__(self, played: Played) -> None:
        """Draws the first ones of a batch."""
        for place, case in enumerate(played.cases[: self._left]):
            rows = {"what happened": played.truth[place], "model": played.videos["model"][place]}
            rows["none: the same model without actions"] = played.videos["none"][place]
            self._save(f"{case.text} ({case.name})", rows, FORWARD)


def _tiles(video: Tensor, frames: tuple[int, ...], size: tuple[int, int]) -> list[Tile]:
    pixels = to_uint8(video).permute(1, 2, 3, 0).cpu().numpy()
    start = Tile(picture_of(pixels[0], size), "start", "", True)
    return [start, *(Tile(picture_of(pixels[n], size), f"+{n}", "", False) for n in frames if n < len(pixels))]
