"""Stage I: what will the hand do next (`policy`), and what has it done (`inverse_dynamics`)?

Policy: asked at a quarter and at half of each test episode, with the sentence; several futures are drawn. Displacement
error at t is the distance between predicted and true place t seconds ahead (mean over bodies, units of the layout);
`model` is the mean over the futures, `mean of K` the error of their mean place (a single draw adds its own spread to
that of the truth), `best of K` the nearest of them at that time, `no sentence` one future without a
prompt, whose text, which the model then tells from what it sees, is compared with the episode's sentence: right or
wrong as a whole, beside the share of the most frequent sentence. Adroit's sentences name a goal that is not in the
picture, so that few can be told. Only times within the horizon that the model was trained for count. Baselines: the
last step for ever, and staying put. Over whole paths of 8, 16, 32 and 64 rows, as far as the model's horizon goes, ADE
and FDE (paths.py), of K the future of least ADE. Where the layout holds boxes, their intersection over union with the
true ones at the same times.

Inverse dynamics: true frames from START on, up to 64 of the recording, and the state at the first. Errors of each step
(distance between predicted and true displacement) and of the place at the end, against a hand that does not move.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench_common.episodes import by_turn, episode_infos
from tqdm import tqdm

from ego_suite.bodies import RecordedBody
from ego_suite.cases import HORIZONS, START
from ego_suite.forward import mean
from ego_suite.paths import HORIZONS as PATHS
from ego_suite.paths import PathErrors, true_path
from vgen.backbone.codec import Codec
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.metrics import box_iou
from vgen.models import STATE, resolve
from vgen.state.model import StateModel
from vgen.state.predict import futures, inverse_dynamics, policy
from vgen.trajectory.places import body_places, constant_velocity
from vgen.trajectory.trajectory import Trajectory

TIMES = (0.5, 1.0, 2.0)
PRESENTS = (0.25, 0.5)
SAMPLES = 8


@dataclass(frozen=True)
class StateEpisode:
    """An episode at the model's rate: T rows of its absolute trajectory, and their frames uint8 [T, H, W, 3]."""

    trajectory: Trajectory
    frames: np.ndarray
    text: str
    number: int


def load_state(model: str, codec: Codec) -> StateModel | None:
    """Stage I of a model folder; None where it has none.

    Raises:
        InputError: it is damaged.
    """
    folder = Path(resolve(model)) / STATE
    return StateModel.from_pretrained(folder, codec) if folder.is_dir() else None


def read_episodes(body: RecordedBody, dataset: LeRobotDataset, count: int, rate: float) -> Iterator[StateEpisode]:
    """Episodes that take the first turns, at some rate.

    Raises:
        InputError: the data cannot be read.
    """
    for info in by_turn(episode_infos(dataset))[:count]:
        rows = replace(body, rate=rate).rows(dataset, info.length)
        taken = body.trajectory(dataset, info.number, rows)
        yield StateEpisode(taken, body.frames(dataset, info.number, rows), info.task, info.number)


class PolicyScores:
    """Errors of predicted trajectories and texts, present by present."""

    def __init__(self, model: StateModel, layout: str, seed: int) -> None:
        self._model, self._layout, self._seed = model, layout, seed
        self._rate = model.rate(layout)
        self._errors: dict[float, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._overlap: dict[float, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._paths = PathErrors()
        self._right: list[float] = []
        self._asked: Counter[str] = Counter()

    def add(self, episode: StateEpisode, present: int) -> None:
        """Asks the model at one frame of an episode."""
        model, layout, truth = self._model, self._layout, episode.trajectory
        if not truth.valid[present]:
            return
        frames = episode.frames[max(0, present + 1 - model.config.states) : present + 1]
        past = truth.rows(max(0, present - model.config.history), present + 1)
        generator = torch.Generator().manual_seed(self._seed + 1000 * episode.number + present)
        alone, written = policy(model, layout, frames, past, generator=generator)
        drawn = futures(model, layout, frames, past, episode.text, SAMPLES, generator)
        self._right.append(float(written == episode.text.strip()))
        self._asked[episode.text] += 1
        for seconds in TIMES:
            ahead = round(seconds * self._rate)
            there = ahead <= model.config.horizon and present + ahead < len(truth) and truth.valid[present + ahead]
            if there:
                self._score(seconds, truth, present, ahead, drawn, alone)
        for horizon in (each for each in PATHS if each <= model.config.horizon):
            path = true_path(truth, present, horizon)
            if path is not None:
                self._score_path(truth, present, path, drawn, alone)

    def _score_path(
        self, truth: Trajectory, present: int, path: np.ndarray, drawn: list[Trajectory], alone: Trajectory
    ) -> None:
        stop = len(path) + 1
        paths = [body_places(future)[1:stop] for future in drawn]
        methods = {
            "model": paths,
            f"mean of {SAMPLES}": [np.mean(paths, axis=0)],
            f"best of {SAMPLES}": [min(paths, key=lambda each: _distance(each, path))],
            "no sentence": [body_places(alone)[1:stop]],
            "constant velocity": [constant_velocity(truth, present, stop)[1:]],
            "stay put": [np.broadcast_to(body_places(truth)[present], path.shape)],
        }
        self._paths.add(len(path), path, methods)

    def _score(
        self, seconds: float, truth: Trajectory, present: int, ahead: int, drawn: list[Trajectory], alone: Trajectory
    ) -> None:
        true = body_places(truth)[present + ahead]
        places = np.stack([body_places(future)[ahead] for future in drawn])
        errors = [_distance(place, true) for place in places]
        answers = {
            "model": float(np.mean(errors)),
            f"mean of {SAMPLES}": _distance(places.mean(0), true),
            f"best of {SAMPLES}": min(errors),
            "no sentence": _distance(body_places(alone)[ahead], true),
            "constant velocity": _distance(constant_velocity(truth, present, ahead + 1)[ahead], true),
            "stay put": _distance(body_places(truth)[present], true),
        }
        for name, error in answers.items():
            self._errors[seconds][name].append(error)
        boxes = [where for part, where in truth.spec.slices() if part.type == "box"]
        for where in boxes:
            goal = truth.values[present + ahead, where]
            found = [float(box_iou(future.values[ahead, where], goal)) for future in drawn]
            self._overlap[seconds]["model"].append(float(np.mean(found)))
            self._overlap[seconds]["stay put"].append(float(box_iou(truth.values[present, where], goal)))

    def summary(self) -> dict:
        """{"n", "text_accuracy" and that of the most frequent sentence for ever, "displacement" and, for boxes,
        "hand_iou": of each time {"n", means by name}, "ade" and "fde": the same of each number of rows}."""
        result = {
            "n": len(self._right),
            "horizon_s": self._model.config.horizon / self._rate,
            "samples": SAMPLES,
            "text_accuracy": mean(self._right),
            "text_accuracy_most_frequent": max(self._asked.values(), default=0) / max(1, len(self._right)),
            "displacement": {f"{seconds:g}": _means(rows) for seconds, rows in sorted(self._errors.items())},
        }
        result |= self._paths.summary()
        overlap = {f"{seconds:g}": _means(rows) for seconds, rows in sorted(self._overlap.items())}
        return result | ({"hand_iou": overlap} if overlap else {})


class InverseScores:
    """Errors of the trajectories that explain true videos."""

    def __init__(self, model: StateModel, layout: str, seed: int) -> None:
        self._model, self._layout, self._seed = model, layout, seed
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, episode: StateEpisode, start: int, stop: int) -> None:
        """Explains frames start to stop - 1."""
        truth = episode.trajectory.rows(start, stop)
        if not truth.valid.all():
            return
        generator = torch.Generator().manual_seed(self._seed + episode.number)
        found = inverse_dynamics(
            self._model, self._layout, episode.frames[start:stop], truth.rows(0, 1), generator=generator
        )
        true, guess = body_places(truth), body_places(found)
        steps = np.diff(true, axis=0)
        self._values["step"].append(_distance(np.diff(guess, axis=0), steps))
        self._values["step, zero motion"].append(_distance(0 * steps, steps))
        self._values["final"].append(_distance(guess[-1], true[-1]))
        self._values["final, zero motion"].append(_distance(true[0], true[-1]))

    def summary(self) -> dict:
        """{"n", and the mean of each error}."""
        return {"n": len(self._values["step"])} | {name: mean(values) for name, values in self._values.items()}


def measure(
    model: StateModel | None, body: RecordedBody, split: str, count: int, sections: set[str], seed: int
) -> dict:
    """The sections "policy" and "inverse" that are asked for, of one body; or why there are none.

    Raises:
        InputError: the data cannot be read.
    """
    asked = sorted({"policy", "inverse"} & sections)
    missing = _missing(model, body.layout)
    if missing or not asked:
        return {name: {"missing": missing} for name in asked}
    rate, dataset = model.rate(body.layout), LeRobotDataset(body.data, split)
    policies, inverses = PolicyScores(model, body.layout, seed), InverseScores(model, body.layout, seed)
    begin, reach = (round(span * rate / dataset.fps) for span in (START, HORIZONS[-1]))
    total = min(count, len(dataset))
    for episode in tqdm(read_episodes(body, dataset, count, rate), total=total, desc=f"Stage I, {body.name}"):
        length = len(episode.trajectory)
        if "policy" in sections:
            for present in sorted({int(share * length) for share in PRESENTS}):
                policies.add(episode, present)
        if "inverse" in sections and begin + 2 <= length:
            inverses.add(episode, begin, min(length, begin + reach + 1))
    made = {"policy": policies, "inverse": inverses}
    return {name: made[name].summary() for name in asked}


def _missing(model: StateModel | None, layout: str) -> str:
    if model is None:
        return f"the model has no {STATE}/; train one with configs/train/nano_state.yaml"
    if layout not in model.config.layouts:
        return f"{STATE}/ does not know the layout {layout}; it knows: {', '.join(sorted(model.config.layouts))}"
    return ""


def _means(rows: dict[str, list[float]]) -> dict[str, float]:
    return {"n": len(rows["model"])} | {name: mean(values) for name, values in rows.items()}


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance of places [..., 2 or 3]."""
    return float(np.linalg.norm(one - other, axis=-1).mean())
