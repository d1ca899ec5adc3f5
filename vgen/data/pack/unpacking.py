"""A pack, made into data sets that are trained on."""

from __future__ import annotations

from pathlib import Path


def unpack(pack: str | Path, out: str | Path) -> list[Path]:
    """Makes the data sets of a pack below `out`, each a folder by its name; returns these folders."""
    raise NotImplementedError
