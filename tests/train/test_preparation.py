"""Preparing data on several ranks: in turns on a node, together on several, without any timeout."""

from pathlib import Path

from launched import run_ranks

from vgen.train.distributed import Ranks
from vgen.train.preparation import prepare

HERE = Path(__file__).parent


def test_ranks_wait_for_each_other_longer_than_any_connection_does(tmp_path: Path) -> None:
    run_ranks(2, HERE / "preparing_ranks.py", tmp_path)
    assert all((tmp_path / f"ended-{rank}").exists() for rank in range(2))
    (_, ended0), (begun1, ended1) = _times(tmp_path, "one")
    assert ended0 < begun1 and ended1 - begun1 < 1  # on a node, who comes second finds everything made
    (begun0, ended0), (begun1, ended1) = _times(tmp_path, "two")
    assert max(begun0, begun1) < min(ended0, ended1)  # several nodes are at it at the same time


def _times(folder: Path, name: str) -> list[list[float]]:
    return [[float(time) for time in (folder / f"{name}-{rank}").read_text().split()] for rank in range(2)]


def test_one_rank_prepares_alone() -> None:
    called = []

    class Quick:
        def prepare(self) -> None:
            called.append(self)

    prepare(Quick(), Ranks(0, 1, None))
    assert len(called) == 1
