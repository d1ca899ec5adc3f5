"""Training Stage I: from the last states to the next actions and the text of the action (Ego-PM, Stage I)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from vgen.backbone.codec import WanCodec
from vgen.data.lerobot import LeRobotDataset
from vgen.data.schedule import BucketSchedule
from vgen.data.shares import worker_count
from vgen.data.video import to_unit
from vgen.data.windows import Windows
from vgen.ego.normalise import Statistics
from vgen.ego.state_model import StateConfig, StateModel, States
from vgen.ego.trajectory import layout
from vgen.ego.trunk import choose_trained, load_tokenizer, load_trunk, new_llama
from vgen.ego.vision import LatentVision, load_clip
from vgen.errors import InputError
from vgen.train.objectives.base import Batch, Objective
from vgen.train.objectives.data import DataConfig, open_data
from vgen.train.objectives.state_data import StateEpisodes
from vgen.train.objectives.state_scores import Scores, spread

POLICY, INVERSE = "policy", "inverse_dynamics"
TIMES = ("states", "history", "horizon", "text_tokens")  # sizes that a trained model can change
FIXED = ("head", "head_width")


@dataclass
class StateObjectiveConfig:
    """What a run of Stage I needs: one of `codec` and `clip` to see with, one of `trunk` and `llama` to think with;
    or `pretrained` in place of `clip`, `trunk` and `llama`."""

    name: str = "state"
    data: DataConfig = field(default_factory=DataConfig)
    layout: str = ""  # of the trajectory, by name
    column: str = "observation.state"  # of the data set: the absolute trajectory, a row for each frame
    pretrained: str | None = None  # a state folder to go on from; a layout that is new to it is added
    codec: str | None = None  # folder of an AutoencoderKLWan, whose latents are seen
    latent_patch: int = 2  # side of a token in latent pixels
    latents: str = "data/cache"  # folder below which encoded frames are kept
    latent_workers: int = 2  # processes that encode them on a CPU; with GPUs it is one for each
    clip: str | None = None  # CLIP folder of transformers
    clip_side: int = 8  # tokens of a frame: the square of this
    trunk: str | None = None  # folder of a causal language model or a vision-language model of transformers
    llama: dict[str, Any] = field(default_factory=dict)  # keywords of LlamaConfig, with byte-level ByT5 tokens
    trained: str = "all"  # of the trunk: all | lora | none
    lora_rank: int = 16
    activation_checkpointing: bool = False  # of the trunk
    states: int = 2  # consecutive frames that a policy sees
    history: int = 8  # past actions that it is told of, `states` or more
    horizon: int = 16  # next actions that it predicts
    head: str = "flow"  # flow | regression
    head_width: int = 128
    text_tokens: int = 64  # of the longest prompt and the longest text of an action
    batch: int = 32  # windows per rank
    inverse: float = 0.25  # chance of a batch that asks for the actions between given frames
    prompt_dropout: float = 0.5  # share of prompts that say nothing, so that the text must be told from what is seen
    action_weight: float = 1.0  # of the losses
    text_weight: float = 0.2
    validation_windows: int = 128


class StateObjective(Objective):
    """Cross-entropy on the text and the loss of the action head. What is seen with is frozen."""

    Config = StateObjectiveConfig

    def __init__(self, config: StateObjectiveConfig, seed: int) -> None:
        super().__init__()
        if config.data.dataset is None:
            raise InputError("objective.data.dataset: a LeRobot folder is needed, which is where trajectories are")
        self.config, self.seed = config, seed
        columns = layout(config.layout).width
        torch.manual_seed(seed)
        self.codec = None if config.codec is None else _load_codec(config.codec)
        self.model = self._begin(columns) if config.pretrained is None else self._adopt(columns)
        choose_trained(self.model.trunk, config.trained, config.lora_rank)
        if config.activation_checkpointing:
            self.model.trunk.gradient_checkpointing_enable()

    def _begin(self, columns: int) -> StateModel:
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
            vision = load_clip(config.clip, config.clip_side)
        else:
            vision = LatentVision(self.codec.channels, config.latent_patch, self.codec)
        sizes = StateConfig({config.layout: columns}, **{name: getattr(config, name) for name in (*TIMES, *FIXED)})
        return StateModel(sizes, trunk, tokenizer, vision, {})  # `prepare` measures the statistics

    def _adopt(self, columns: int) -> StateModel:
        config = self.config
        for name, value in (("clip", config.clip), ("trunk", config.trunk), ("llama", config.llama)):
            if value:
                raise InputError(f"objective.{name}={value}: objective.pretrained={config.pretrained} has its own")
        model = StateModel.from_pretrained(config.pretrained, self.codec)
        for name in FIXED:
            if getattr(config, name) != getattr(model.config, name):
                own = getattr(model.config, name)
                raise InputError(f"objective.{name}={getattr(config, name)}: that of {config.pretrained} is {own}")
        latent = isinstance(model.vision, LatentVision)
        if latent != (self.codec is not None):
            needed = "needed: it sees with its latents" if latent else "not used: it sees with CLIP"
            raise InputError(f"objective.codec={config.codec} of {config.pretrained} is {needed}")
        model.config = replace(model.config, **{name: getattr(config, name) for name in TIMES})
        if config.layout not in model.config.layouts:
            model.add_layout(config.layout, columns)
        return model

    def prepare(self) -> None:
        """Opens the data, measures the statistics of the trained episodes, and encodes the frames."""
        config = self.config
        self.data = open_data(config.data, [1], self._multiple(), report=self.bad_data)
        dataset = LeRobotDataset(config.data.dataset, config.data.split)
        self.trained, self.held_out = (
            StateEpisodes(self.data, clips, dataset, config.column, config.layout)
            for clips in (self.data.train, self.data.held_out)
        )
        if self.codec is not None:
            for part in (self.trained, self.held_out):
                part.encode(Path(config.codec), config.latents, worker_count(config.latent_workers))
        if not self.trained.episodes:
            raise InputError(f"no episode of {dataset.path} is left to train on: {self.data.bad.summary()}")
        if config.layout not in self.model.statistics:  # a pretrained model keeps those that it has learned with
            steps = [episode.steps for episode in self.trained.episodes]
            self.model.statistics[config.layout] = Statistics.fit(steps)
        statistics = self.model.statistics[config.layout]
        rates = self.model.config.rates | {config.layout: config.data.fps or dataset.fps}
        self.model.config = replace(self.model.config, rates=rates)
        self.windows, self.held_windows = (part.windows(statistics) for part in (self.trained, self.held_out))
        self._schedule = BucketSchedule([len(self.windows)], config.batch, self.seed)

    def _multiple(self) -> int:
        """Of which both sides of a frame must be multiples."""
        return 1 if self.codec is None else self.codec.spatial_stride * self.model.vision.patch

    def data_summary(self) -> str:
        """As in the base class."""
        return self.data.bad.summary()

    def batch(self, step: int, part: int, parts: int, progress: float) -> Batch:
        """Windows of one question, the same on every rank, as their sequences are of one length; see `_batch`."""
        question = INVERSE if np.random.default_rng((self.seed, step)).random() < self.config.inverse else POLICY
        _, numbers = self._schedule.rows(step, part, parts)
        rng = np.random.default_rng((self.seed, step, part + 1))
        mute = rng.random(len(numbers)) < self.config.prompt_dropout
        return self._batch(self.trained, self.windows, numbers, question, mute)

    def _batch(
        self, episodes: StateEpisodes, windows: Windows, numbers: Sequence[int], question: str, mute: Sequence[bool]
    ) -> Batch:
        """{"latents" [B, S, C, h, w] or "pixels" uint8 [B, S, 3, H, W], "frames_valid" [B, S], "frame_times" [S],
        "past" [B, A, D], "past_valid" [B, A], "past_times" [A], "next" [B, K, D], "next_valid" [B, K], "prompt" and
        "text": B sentences}. A policy is told of the past; inverse dynamics sees the frames between the actions."""
        frame_times, past_times = self._times(question)
        following = range(1, self.config.horizon + 1)
        seen, there = zip(*(windows.frames(number, frame_times) for number in numbers), strict=True)
        past, past_valid = zip(*(windows.steps(number, past_times) for number in numbers), strict=True)
        coming, coming_valid = zip(*(windows.steps(number, following) for number in numbers), strict=True)
        places = [windows.present(number)[0] for number in numbers]
        captions = [episodes.episodes[place].caption for place in places]
        name, read = ("pixels", episodes.pixels) if self.codec is None else ("latents", episodes.latents)
        looks = [read(place, frames) for place, frames in zip(places, seen, strict=True)]
        arrays = {name: looks, "frames_valid": there, "past": past, "past_valid": past_valid}
        arrays |= {"next": coming, "next_valid": coming_valid}
        return {key: torch.from_numpy(np.stack(rows)) for key, rows in arrays.items()} | {
            "frame_times": torch.tensor(list(frame_times)),
            "past_times": torch.tensor(list(past_times), dtype=torch.long),
            "prompt": ["" if silent else caption for silent, caption in zip(mute, captions, strict=True)],
            "text": captions,
        }

    def _times(self, question: str) -> tuple[range, range]:
        """Times of the frames, and arrivals of the actions, that are known."""
        if question == INVERSE:
            return range(self.config.horizon + 1), range(0)
        return range(1 - self.config.states, 1), range(1 - self.config.history, 1)

    def tokens(self, batch: Batch) -> int:
        """Of frames and actions; sentences come on top."""
        frames = batch["frames_valid"].shape[1] * self._tokens_per_frame(batch)
        return len(batch["next"]) * (frames + batch["past"].shape[1] + batch["next"].shape[1])

    def _tokens_per_frame(self, batch: Batch) -> int:
        if "pixels" in batch:
            return self.model.vision.side**2
        return batch["latents"][0, 0, 0].numel() // self.model.vision.patch**2

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss [B], and its two parts apart."""
        action, text = self.model(
            self._states(batch), batch["prompt"], batch["next"], batch["next_valid"], batch["text"]
        )
        question = POLICY if batch["past"].shape[1] else INVERSE
        loss = self.config.action_weight * action + self.config.text_weight * text
        return loss, {f"loss/action_{question}": action.detach(), "loss/text": text.detach()}

    def _states(self, batch: Batch) -> States:
        if "pixels" in batch:
            features = self.model.see(to_unit(batch["pixels"]))
        else:
            latents = batch["latents"].float()
            features = self.model.vision.tokens(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        return States(
            features,
            batch["frame_times"],
            batch["frames_valid"],
            batch["past"],
            batch["past_times"],
            batch["past_valid"],
            self.config.layout,
        )

    @torch.no_grad()
    def validate(self, rank: int, world: int) -> dict[str, float]:
        """On held-out episodes, in the units of the trajectory: how far the predicted places of the hand lie from the
        true ones, of a policy and of inverse dynamics, each a single drawn future, beside what constant velocity and
        staying put reach; and the share of texts that are right where the prompt says nothing."""
        config, windows = self.config, self.held_windows
        per_rank = max(1, min(config.validation_windows, len(windows)) // world)
        numbers = spread(len(windows), per_rank * world)[rank::world]
        scores = Scores(self.held_out.episodes, self.model.statistics[config.layout], config.horizon)
        for start in range(0, len(numbers), config.batch):
            chosen = numbers[start : start + config.batch]
            for question in (POLICY, INVERSE):
                batch = self._batch(self.held_out, windows, chosen, question, [True] * len(chosen))
                moved = {k: v.to(self._device()) if isinstance(v, Tensor) else v for k, v in batch.items()}
                generator = torch.Generator().manual_seed(self.seed + start)
                known, prompts = self._states(moved), batch["prompt"]
                if question == POLICY:
                    actions, texts = self.model.predict(known, prompts, generator)
                    scores.add_texts(texts, batch["text"])
                else:
                    actions = self.model.predict_actions(known, prompts, generator)
                scores.add_actions(question, [windows.present(n) for n in chosen], actions.float().cpu().numpy())
        return scores.means()

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def export(self, folder: Path) -> None:
        """Writes `folder`/state."""
        self.model.save_pretrained(folder / "state")


def _load_codec(folder: str) -> WanCodec:
    try:
        vae = AutoencoderKLWan.from_pretrained(folder)
    except OSError as error:
        raise InputError(f"objective.codec={folder} is no folder of an AutoencoderKLWan") from error
    return WanCodec(vae.requires_grad_(False).eval())
