"""The check of a data set: what its columns hold, what is suspicious, the delay, and episodes drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from vgen.errors import InputError
from vgen.media.sheet import spread
from vgen.results import Kind, check_folder, results_folder
from vgen.sources.check.delay import Delay, measure
from vgen.sources.check.drawing import draw_delay, write_episode
from vgen.sources.check.motion import Motion, motion_of
from vgen.sources.check.recordings import Place, Recordings
from vgen.sources.check.report import Report
from vgen.sources.check.survey import survey
from vgen.sources.check.suspicions import suspicions

EPISODES = 12  # whose frames are looked at, unless it is said
DRAWN = 3  # of them, where they are not named
FILES = frozenset({"check.json", "check.txt", "delay.png", "delay_camera.png", "episodes"})
CHECK = Kind("a check of a data set", "check.json", FILES)


def check(
    folder: Path,
    out: Path | None = None,
    episodes: Sequence[str] = (),
    column: str | None = None,
    layout: str | None = None,
    camera: str | None = None,
    overwrite: bool = False,
) -> Report:
    """Checks a LeRobot v3 folder with a trajectory.

    Args:
        folder: of the data set.
        out: folder for the report and the drawn episodes; None: nothing is written.
        episodes: whose frames are looked at: one whole number, so many of them; otherwise names, numbers, FIRST:STOP.
        column, layout, camera: see `Recordings`.
        overwrite: an older check at `out` is replaced.

    Raises:
        InputError: it cannot be read as a data set with a trajectory, or `out` cannot be written.
        TryAgain: the disk is full.
    """
    if out is not None:
        check_folder(out, CHECK, overwrite)
    recordings = Recordings(folder, column, layout, camera)
    chosen = recordings.choose(episodes, EPISODES)
    found = survey(recordings, tqdm(recordings.places, unit="episode", desc="columns"))
    if len(found.refused) and not found.rows:
        raise InputError(next(iter(found.refused)))
    motions, undecoded = _motions(recordings, chosen)
    named = any(not each.isdecimal() for each in episodes) or len(episodes) > 1
    drawn = motions if named else [motions[at] for at in spread(len(motions), min(DRAWN, len(motions)))]
    told = suspicions(recordings, found, motions)
    looked_at = [motion.place.index for motion in motions]
    report = Report(recordings, found, told, delays(motions, recordings.fps), looked_at, undecoded)
    if out is not None:
        _write(report, drawn, out, overwrite)
    return report


def delays(motions: Sequence[Motion], fps: float) -> list[Delay]:
    """The delay of the trajectory, and that of the camera where it moves; none without motion."""
    if not motions:
        return []
    whole = measure([(motion.picture, motion.hand) for motion in motions], fps, "whole picture and hand")
    local = [(motion.around, motion.hand) for motion in motions if motion.around is not None]
    around = measure(local, fps, "picture around the hand, and hand") if local else whole
    found = [max(whole, around, key=lambda delay: (delay.certain, delay.correlation))]
    cameras = [(motion.picture, motion.camera) for motion in motions if motion.camera is not None]
    return [*found, measure(cameras, fps, "whole picture and camera")] if cameras else found


def _motions(recordings: Recordings, places: Sequence[Place]) -> tuple[list[Motion], list[str]]:
    motions, undecoded = [], []
    for place in tqdm(places if recordings.camera else [], unit="episode", desc="frames"):
        try:
            motions.append(motion_of(recordings, recordings.read(place)))
        except InputError as error:
            undecoded.append(f"episode {place.index}: {error}")
    return motions, undecoded


def _write(report: Report, drawn: Sequence[Motion], out: Path, overwrite: bool) -> None:
    recordings = report.recordings
    with results_folder(out, CHECK, overwrite) as part:
        (part / "check.txt").write_text("\n".join(report.lines()) + "\n", encoding="utf-8")
        told = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
        (part / "check.json").write_text(told + "\n", encoding="utf-8")
        for number, delay in enumerate(report.delays):
            draw_delay(delay, recordings.fps).save(part / ("delay.png" if number == 0 else "delay_camera.png"))
        (part / "episodes").mkdir()
        for motion in tqdm(drawn, unit="episode", desc="drawn"):
            write_episode(recordings, recordings.read(motion.place), motion, part / "episodes")
