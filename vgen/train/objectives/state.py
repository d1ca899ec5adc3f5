"""Training Stage I: from the last states to the next actions and the text of the action (Ego-PM, Stage I)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgen.checks import within
from vgen.data.cache.shares import worker_count
from vgen.data.opening import check_batch
from vgen.data.schedule import spread
from vgen.errors import InputError
from vgen.media.pixels import to_unit
from vgen.models import STATE
from vgen.state.frame_encoder import LatentVision, Vision, load_clip
from vgen.state.language_model import choose_trained, load_tokenizer, load_trunk, new_llama
from vgen.state.model import StateConfig, StateModel, States
from vgen.state.predict import text_limit
from vgen.train.objectives.base import Objective
from vgen.train.objectives.bodies import BodyConfig, body_shares
from vgen.train.objectives.building import frozen_codec
from vgen.train.objectives.state_data import BodyEpisodes, StateBatch, WindowChoice
from vgen.train.objectives.state_scores import Future, Scores
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import find_layout

POLICY, INVERSE = "policy", "inverse_dynamics"
TIMES = ("states", "history", "horizon", "inverse_horizon", "text_tokens")  # sizes that a trained model can change
FIXED = ("head", "head_width")
DRAWS = 8  # answers whose mean is scored


@dataclass
class StateObjectiveConfig:
    """What a run of Stage I needs: one of `codec` and `clip` to see with, one of `trunk` and `llama` to think with;
    or `pretrained` in place of `clip`, `trunk` and `llama`."""

    name: str = "state"
    bodies: list[BodyConfig] = field(default_factory=list)
    pretrained: str | None = None  # a state folder to go on from; a layout that is new to it is added
    codec: str | None = None  # folder of an AutoencoderKLWan, whose latents are seen
    latent_patch: int = within(2, 1)  # side of a token in latent pixels
    latents: str = "data/cache"  # folder below which encoded frames are kept
    in_memory: bool = False  # frames that are decoded once, and latents, are all read into memory before the first step
    latent_workers: int = within(2, 1)  # processes that encode them on a CPU; with GPUs it is one for each
    clip: str | None = None  # CLIP folder of transformers
    clip_side: int = within(8, 1)  # tokens of a frame: the square of this
    trunk: str | None = None  # folder of a causal language model or a vision-language model of transformers
    llama: dict[str, Any] = field(default_factory=dict)  # keywords of LlamaConfig, with byte-level ByT5 tokens
    trained: str = "all"  # of the trunk: all | lora | none
    lora_rank: int = within(16, 1)
    activation_checkpointing: bool = False  # of the trunk
    states: int = 2  # consecutive frames that a policy sees
    history: int = 8  # past actions that it is told of, `states` or more
    horizon: int = 16  # next actions that it predicts
    inverse_horizon: int | None = (
        None  # actions that inverse dynamics tells at once, with a frame for each; None: as many
    )
    head: str = "flow"  # flow | regression
    head_width: int = 128
    text_tokens: int = 64  # of the longest prompt and the longest text of an action
    batch: int = 32  # windows per rank
    inverse: float = within(0.25, 0, 1)  # chance of a batch that asks for the actions between given frames
    prompt_dropout: float = within(0.5, 0, 1)  # share of prompts that say nothing: the text is told from what is seen
    action_weight: float = within(1.0, 0)  # of the losses
    text_weight: float = within(0.2, 0)
    validation_windows: int = within(128, 0)


class StateObjective(Objective[StateBatch]):
    """Cross-entropy on the text and the loss of the action head. What is seen with is frozen."""

    Config = StateObjectiveConfig

    def __init__(self, config: StateObjectiveConfig, seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        check_batch("objective.batch", config.batch)
        self._shares = body_shares(config.bodies)
        widths = {body.layout: find_layout(body.layout).network.width for body in config.bodies}
        torch.manual_seed(seed)
        self.codec = None if config.codec is None else frozen_codec(config.codec)
        self.model = self._begin(widths) if config.pretrained is None else self._adopt(config.pretrained, widths)
        choose_trained(self.model.trunk, config.trained, config.lora_rank)
        if config.activation_checkpointing:
            self.model.trunk.gradient_checkpointing_enable()

    def _begin(self, widths: dict[str, int]) -> StateModel:
        config = self.config
        if (config.codec is None) == (config.clip is None):
            raise InputError("objective.codec and objective.clip: give one of the two")
        if (config.trunk is None) == (not config.llama):
            raise InputError("objective.trunk and objective.llama: give one of the two")
        if config.trunk is None:
            trunk, tokenizer = new_llama(config.llama)
        else:
            trunk, tokenizer = load_trunk(config.trunk), load_tokenizer(config.trunk)
        if config.clip is not None:
            vision: Vision = load_clip(config.clip, config.clip_side)
        else:
            assert self.codec is not None, "one of the two is given"
            vision = LatentVision(self.codec.channels, config.latent_patch, self.codec)
        sizes = StateConfig(widths, **{name: getattr(config, name) for name in (*TIMES, *FIXED)})
        return StateModel(sizes, trunk, tokenizer, vision, {})  # `prepare` measures the statistics

    def _adopt(self, pretrained: str, widths: dict[str, int]) -> StateModel:
        config = self.config
        for name, value in (("clip", config.clip), ("trunk", config.trunk), ("llama", config.llama)):
            if value:
                raise InputError(f"objective.{name}={value}: objective.pretrained={config.pretrained} has its own")
        model = StateModel.from_pretrained(pretrained, self.codec)
        for name in FIXED:
            if getattr(config, name) != getattr(model.config, name):
                own = getattr(model.config, name)
                raise InputError(f"objective.{name}={getattr(config, name)}: that of {config.pretrained} is {own}")
        latent = isinstance(model.vision, LatentVision)
        if latent != (self.codec is not None):
            needed = "needed: it sees with its latents" if latent else "not used: it sees with CLIP"
            raise InputError(f"objective.codec={config.codec} of {config.pretrained} is {needed}")
        model.config = replace(model.config, **{name: getattr(config, name) for name in TIMES})
        for name in widths.keys() - model.config.layouts.keys():
            model.add_layout(name, widths[name])
        return model

    def prepare(self) -> None:
        """Opens the data of every body, encodes its frames, and measures the statistics of its trained episodes."""
        config, model = self.config, self.model
        self.bodies = [BodyEpisodes(body, self._multiple(), self.bad_data, config.in_memory) for body in config.bodies]
        rates = model.config.rates | _rates(self.bodies)
        for body in self.bodies:
            if config.codec is not None:
                body.encode(Path(config.codec), config.latents, worker_count(config.latent_workers))
            name = body.config.layout  # a pretrained model keeps the statistics that it has learned with
            model.statistics[name] = body.normalise(model.statistics.get(name), config.batch, self.seed)
        parts = (part for body in self.bodies for part in (body.trained, body.held_out))
        text_limit(model).warn_of_captions(episode.caption for part in parts for episode in part.episodes)
        model.config = replace(model.config, rates=rates)

    def measured(self) -> dict[str, Any]:
        """The statistics of all layouts."""
        return {name: kept.to_json() for name, kept in self.model.statistics.items()}

    def keep_measured(self, measured: Mapping[str, Any]) -> None:
        """The statistics with which the run began."""
        self.model.statistics |= {name: Statistics.from_json(kept) for name, kept in measured.items()}

    def _multiple(self) -> int:
        """Both sides of a frame must be multiples of it."""
        vision = self.model.vision
        if self.codec is None or not isinstance(vision, LatentVision):
            return 1
        return self.codec.spatial_stride * vision.patch

    def data_summary(self) -> str:
        """What of the bodies' data could not be used, in one line."""
        return "; ".join(filter(None, (body.bad.summary() for body in self.bodies)))

    def batch(self, step: int, part: int, parts: int, progress: float) -> StateBatch:
        """Windows of one body and one question, the same on every rank, as their sequences are of one length; for that
        reason, too, their prompts all say something or all say nothing."""
        rng = np.random.default_rng((self.seed, step))
        body = self.bodies[rng.choice(len(self.bodies), p=self._shares)]
        question = INVERSE if rng.random() < self.config.inverse else POLICY
        mute = rng.random() < self.config.prompt_dropout
        _, numbers = body.schedule.rows(step, part, parts)
        return body.trained.batch(numbers, self.choose_window(question), mute)

    def choose_window(self, question: str) -> WindowChoice:
        """A policy is told of the past, and to rest when all is done; inverse dynamics sees the frames between the
        actions."""
        config, horizon = self.config, self._horizon(question)
        if question == INVERSE:
            return WindowChoice(question, range(horizon + 1), range(0), horizon, rest=False)
        return WindowChoice(question, range(1 - config.states, 1), range(1 - config.history, 1), horizon, rest=True)

    def _horizon(self, question: str) -> int:
        return self.model.config.inverse_steps if question == INVERSE else self.config.horizon

    def tokens(self, batch: StateBatch) -> int:
        """How many tokens frames and actions are; sentences come on top."""
        frames = batch.frames_valid.shape[1] * self._tokens_per_frame(batch)
        return len(batch.next) * (frames + batch.past.shape[1] + batch.next.shape[1])

    def _tokens_per_frame(self, batch: StateBatch) -> int:
        vision = self.model.vision
        if isinstance(vision, LatentVision):
            return batch.frames[0, 0, 0].numel() // vision.patch**2
        return vision.side**2

    def forward(self, batch: StateBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss [B], and its two parts apart."""
        action, text = self.model(self._states(batch), batch.prompt, batch.next, batch.next_valid, batch.text)
        loss = self.config.action_weight * action + self.config.text_weight * text
        return loss, {f"loss/{batch.layout}/{batch.question}": action.detach(), "loss/text": text.detach()}

    def _states(self, batch: StateBatch) -> States:
        vision = self.model.vision
        if isinstance(vision, LatentVision):
            latents = batch.frames.float()
            features = torch.unflatten(vision.tokens(latents.flatten(0, 1)), 0, latents.shape[:2])
        else:
            features = self.model.see(to_unit(batch.frames))
        past = batch.past, batch.past_times, batch.past_valid
        return States(features, batch.frame_times, batch.frames_valid, *past, batch.layout)

    @torch.no_grad()
    def validate(self, rank: int, world: int, after_batch: Callable[[], None]) -> dict[str, float]:
        """On held-out episodes of each body, in the units of its trajectory: how far the predicted places of the hand
        lie from the true ones, of a policy and of inverse dynamics, beside what constant velocity and staying put
        reach; and the share of texts, over all bodies, that are right where the prompt says nothing.

        A head that draws is scored by one drawn answer, and by the mean of several (`_mean8`): one draw adds its own
        spread to that of the truth. Even a perfect one is further away than the mean is, and than staying
        put where less than half of the variance can be foreseen."""
        scores = Scores()
        for body in self.bodies:
            windows = body.held_out.windows
            per_rank = max(1, min(self.config.validation_windows, len(windows)) // world)
            # each rank as many, some of them twice where there are too few: under ZeRO 3 all call the model together
            shared = spread(len(windows), per_rank * world)
            numbers = [shared[place % len(shared)] for place in range(rank, per_rank * world, world)] if shared else []
            for start in range(0, len(numbers), self.config.batch):
                self._score(scores, body, numbers[start : start + self.config.batch], self.seed + start)
                after_batch()
        return scores.means()

    def _score(self, scores: Scores, body: BodyEpisodes, numbers: Sequence[int], seed: int) -> None:
        episodes, generator = body.held_out, torch.Generator().manual_seed(seed)
        statistics, layout = self.model.statistics[body.config.layout], body.config.layout
        places = [episodes.windows.present(number) for number in numbers]
        truth = [Future(episodes.episodes[place].absolute, present) for place, present in places]
        for question in (POLICY, INVERSE):
            name, count = f"{layout}/{question}", self._horizon(question)
            batch = episodes.batch(numbers, self.choose_window(question), mute=True).to(self._device())
            known = self._states(batch)
            if question == POLICY:
                scores.add_texts(self.model.predict(known, batch.prompt, generator)[1], batch.text)
            draws = DRAWS if self.config.head == "flow" else 1
            drawn = self.model.draw(known, batch.prompt, draws, generator, count).float().cpu().numpy()
            scores.add_actions(name, truth, drawn[0], statistics)
            if draws > 1:
                scores.add_actions(f"{name}_mean{draws}", truth, drawn.mean(0), statistics)
            scores.add_baselines(name, truth, count)

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def export(self, folder: Path) -> None:
        """Writes `folder`/state."""
        self.model.save_pretrained(folder / STATE)


def _rates(bodies: Sequence[BodyEpisodes]) -> dict[str, float]:
    """Steps per second of each layout.

    Raises:
        InputError: two bodies of one layout differ.
    """
    rates: dict[str, float] = {}
    for body in bodies:
        name, rate = body.config.layout, body.rate
        if rates.setdefault(name, rate) != rate:
            raise InputError(
                f"objective.bodies: {name} comes at {rates[name]:g} and {rate:g} fps; give both one data.fps"
            )
    return rates
