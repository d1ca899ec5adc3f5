"""All that a model trains on, packed into one small folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

MAX_MB = 45.0
CRF = 30


def pack(
    datasets: Sequence[str | Path],
    out: str | Path,
    max_mb: float = MAX_MB,
    camera: str = "first_person",
    crf: int = CRF,
    fps: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Packs LeRobot v3 folders into one small folder."""
    raise NotImplementedError
