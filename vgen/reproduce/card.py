"""The card of a model that a way to nano has made: written from its runs, never by hand."""

from __future__ import annotations

from pathlib import Path

from vgen.reproduce.profile import TRAINED, Profile
from vgen.train.export import card, read_curve
from vgen.train.logs import read_record


def write_card(profile: Profile, out: Path, folder: Path) -> None:
    """Writes README.md of a model folder from what the stages in `out` have left."""
    runs = [stage for stage in TRAINED if (out / stage / "run.json").is_file()]
    records = [(stage, read_record(out / stage), read_curve(out / stage)) for stage in runs]
    (folder / "README.md").write_text(card(out.name, {}, records, ""), encoding="utf-8")
