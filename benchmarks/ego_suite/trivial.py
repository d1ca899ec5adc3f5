"""What can be had without a model, of trajectories and texts: the section `baselines`.

From a quarter and from half of each episode on: the last step for ever (`constant velocity`) and no motion (`stay
put`), with ADE and FDE, and where the layout has boxes their intersection over union with the true ones; and how
often the sentence is the one that is most frequent in the split `train`, where there is one, and else in the split
itself. The video's own baseline, the start frame for ever, stands in the sections `forward` and `perceptual`.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from bench_common.episodes import SplitEpisode, by_turn, episode_infos
from tqdm import tqdm

from ego_suite.bodies import RecordedBody
from ego_suite.paths import HORIZONS, PathErrors, true_path
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.metrics import box_iou
from vgen.trajectory.places import body_places, constant_velocity
from vgen.trajectory.trajectory import Trajectory

PRESENTS = (0.25, 0.5)


def measure(body: RecordedBody, split: str, count: int) -> dict:
    """{"n", "ade", "fde", "hand_iou" of boxes, "text_accuracy_most_frequent", "most_frequent"}.

    Raises:
        InputError: the data cannot be read.
    """
    dataset, errors = LeRobotDataset(body.data, split), PathErrors()
    overlaps: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    chosen, cases = by_turn(episode_infos(dataset))[:count], 0
    for info in tqdm(chosen, desc=f"baselines, {body.name}"):
        truth = body.trajectory(dataset, info.number, body.rows(dataset, info.length))
        for present in sorted({int(share * len(truth)) for share in PRESENTS}):
            if truth.valid[present]:
                cases += 1
                _add(errors, overlaps, truth, present)
    means = {str(h): {name: float(np.mean(found)) for name, found in rows.items()} for h, rows in overlaps.items()}
    overlap = {"hand_iou": means} if means else {}
    return {"n": cases} | errors.summary() | overlap | _texts(body, split, chosen)


def _add(errors: PathErrors, overlaps: dict[int, dict[str, list[float]]], truth: Trajectory, present: int) -> None:
    for horizon in HORIZONS:
        path = true_path(truth, present, horizon)
        if path is None:
            continue
        still = np.broadcast_to(body_places(truth)[present], path.shape)
        straight = constant_velocity(truth, present, horizon + 1)[1:]
        errors.add(horizon, path, {"constant velocity": [straight], "stay put": [still]})
        for part, where in truth.spec.slices():
            if part.type == "box":
                now, then = truth.values[present, where], truth.values[present + horizon, where]
                overlaps[horizon]["stay put"].append(float(box_iou(now, then)))


def _texts(body: RecordedBody, split: str, chosen: list[SplitEpisode]) -> dict:
    try:
        known = [info.task for info in episode_infos(LeRobotDataset(body.data, "train"))]
    except InputError:  # it has no such split
        known = [info.task for info in episode_infos(LeRobotDataset(body.data, split))]
    usual, _ = Counter(known).most_common(1)[0]
    share = float(np.mean([info.task == usual for info in chosen]))
    return {"text_accuracy_most_frequent": share, "most_frequent": usual}
