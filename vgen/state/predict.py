"""The two questions that Stage I answers, asked with frames and trajectories as they are recorded.

`policy`: what will the hand do next? `inverse_dynamics`: what has it done between these frames?
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vgen.backbone.text import TextLimit
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.state.model import StateModel, States
from vgen.trajectory.convert import resample, to_absolute, to_delta
from vgen.trajectory.trajectory import Trajectory

EXPLANATIONS = 8  # whose mean is the answer of inverse dynamics


def policy(
    model: StateModel,
    layout: str,
    frames: np.ndarray,
    past: Trajectory | None = None,
    text: str = "",
    count: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Trajectory, str]:
    """One future of the hand, and what it does in words.

    Args:
        model: of Stage I.
        layout: of the trajectory that is asked for.
        frames: uint8 [S, H, W, 3], consecutive at the model's rate, the present one last; of more than the model's
            `states` the last count, and fewer will do.
        past: absolute, at any rate; its last row is the present. None: nothing is known of it.
        text: the prompt; "" says nothing.
        count: how many steps are asked for; None: the model's horizon.
        generator: of the future that is drawn.

    Returns:
        The future in absolute form, whose first row is the present one; in delta form where the past is not known. Its
        times go on from those of `past`, or from 0. And the text of the action.

    Raises:
        InputError: the model does not know the layout, or `past` is of another layout or form.
    """
    states = _present(model, layout, frames, past)
    text_limit(model).warn([text])
    predicted, (written,) = model.predict(states, [text], generator, count)
    return _coming(model, layout, predicted, past), written


def futures(
    model: StateModel,
    layout: str,
    frames: np.ndarray,
    past: Trajectory | None = None,
    text: str = "",
    samples: int = 8,
    generator: torch.Generator | None = None,
) -> list[Trajectory]:
    """Several futures of the hand, each drawn by itself, without the time that the text takes; else as `policy`.

    Raises:
        InputError: as `policy`.
    """
    text_limit(model).warn([text])
    drawn = model.draw(_present(model, layout, frames, past), [text], samples, generator)
    return [_coming(model, layout, steps, past) for steps in drawn]


def inverse_dynamics(
    model: StateModel,
    layout: str,
    frames: np.ndarray,
    start: Trajectory | None = None,
    text: str = "",
    generator: torch.Generator | None = None,
) -> Trajectory:
    """The trajectory that explains a video; see `explanations`, whose mean it is."""
    return explanations(model, layout, frames, start, text, generator)[0]


def explanations(
    model: StateModel,
    layout: str,
    frames: np.ndarray,
    start: Trajectory | None = None,
    text: str = "",
    generator: torch.Generator | None = None,
) -> tuple[Trajectory, list[Trajectory]]:
    """The trajectory that explains a video, as many steps at a time as in training: the mean of several that are drawn,
    since what has happened is one thing, and a single draw would add its own spread.

    Args:
        model: of Stage I.
        layout: of the trajectory.
        frames: uint8 [T, H, W, 3] at the model's rate, T of 2 and more.
        start: one absolute row, the state at the first frame; None where it is not known.
        text: what is done, where that is known.
        generator: of what is drawn where the frames leave it open.

    Returns:
        The mean, in absolute form, T rows; in delta form, T - 1 rows, without a start. And all that were drawn, in
        delta form; a model that regresses draws one and the same. Times count from the start's, or from 0.

    Raises:
        InputError: fewer than two frames, an unknown layout, or a start that does not fit.
    """
    rate = model.rate(layout)
    _check_frames(frames, 2)
    text_limit(model).warn([text])
    horizon, parts = model.config.inverse_steps, []
    for first in tqdm(range(0, len(frames) - 1, horizon), f"explaining {len(frames)} frames", delay=2):
        seen = _see(model, frames[first : first + horizon + 1])
        count = seen.shape[1] - 1
        states = States(
            seen,
            torch.arange(count + 1),
            torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device),
            seen.new_zeros(1, 0, model.config.layouts[layout]),
            torch.arange(0),
            torch.ones(1, 0, dtype=torch.bool, device=seen.device),
            layout,
        )
        parts.append(model.draw(states, [text], EXPLANATIONS, generator, count))
    now = 0.0 if start is None else start.times[-1]
    steps = _restored(model, layout, torch.cat([part.mean(0) for part in parts], 1), now, rate)
    drawn = [_restored(model, layout, each, now, rate) for each in torch.cat(parts, 2)]
    return steps if start is None else to_absolute(steps, start), drawn


def text_limit(model: StateModel) -> TextLimit:
    """How much of a prompt, and of the text of an action, a model reads."""
    return TextLimit(model.tokenizer, model.config.text_tokens, "the state model")


def _present(model: StateModel, layout: str, frames: np.ndarray, past: Trajectory | None) -> States:
    """What a policy knows: the latest frames, and the actions up to now."""
    rate = model.rate(layout)
    _check_frames(frames, 1)
    actions, valid = _past(model, layout, past, rate)
    seen = _see(model, frames[-model.config.states :])
    return States(
        seen,
        torch.arange(1 - seen.shape[1], 1),
        torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device),
        actions.to(seen.device),
        torch.arange(1 - actions.shape[1], 1),
        valid.to(seen.device),
        layout,
    )


def _coming(model: StateModel, layout: str, predicted: Tensor, past: Trajectory | None) -> Trajectory:
    """Predicted steps [1, K, D] from the present on: absolute where the present is known."""
    now = 0.0 if past is None else past.times[-1]
    steps = _restored(model, layout, predicted, now, model.rate(layout))
    start = None if past is None or not past.valid[-1] else past.rows(len(past) - 1, len(past))
    return steps if start is None else to_absolute(steps, start)


def _past(model: StateModel, layout: str, past: Trajectory | None, rate: float) -> tuple[Tensor, Tensor]:
    """The last actions [1, A, D] up to now, normalised, at the model's rate, and whether each is valid [1, A]."""
    width = model.config.layouts[layout]
    if past is not None and (past.layout, past.form) != (layout, "absolute"):
        raise InputError(f"the past is {past.layout} ({past.form}); the model needs {layout} (absolute)")
    known = 0 if past is None else int(np.floor((past.times[-1] - past.times[0]) * rate + 1e-6))
    known = min(known, model.config.history)
    if past is None or known == 0:
        return torch.zeros(1, 0, width), torch.ones(1, 0, dtype=torch.bool)
    times = np.maximum(past.times[-1] - np.arange(known, -1, -1) / rate, past.times[0])
    rows = resample(past, times)
    if not rows.valid.any():
        return torch.zeros(1, 0, width), torch.ones(1, 0, dtype=torch.bool)
    steps = to_delta(rows)
    values = model.statistics[layout].normalise(steps)
    return torch.from_numpy(values)[None], torch.from_numpy(steps.valid)[None]


def _see(model: StateModel, frames: np.ndarray) -> Tensor:
    device = model.marks.weight.device
    return model.see(to_unit(torch.tensor(frames)).permute(0, 3, 1, 2)[None].to(device))


def _restored(model: StateModel, layout: str, actions: Tensor, now: float, rate: float) -> Trajectory:
    """Steps in recorded units, from `now` in seconds on."""
    rows = actions[0].float().cpu().numpy()
    return model.statistics[layout].restore(rows, now + np.arange(1, len(rows) + 1) / rate)


def _check_frames(frames: np.ndarray, least: int) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) < least:
        found = f"{frames.dtype} of shape {list(frames.shape)}"
        raise InputError(f"frames are {found}; they must be uint8 [T, H, W, 3], T of {least} or more")
