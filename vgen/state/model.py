"""Stage I, consecutive state modelling (CoSMo): from the last states, a prompt and past actions to what comes next.

A state is (visual features, action): what a frame shows, and the action that led to it (Ego-PM, arXiv 2508.19852,
Stage I; its details are our reading). One token sequence asks every question, and the trunk reads it causally:

    prompt · what is known, in time order · one token for each action that is asked for · the text of the action

`policy` knows frames and actions up to the present. `inverse_dynamics` is the same sequence with later frames among
what is known: the actions between them are asked for. Each token carries its time in steps from the present frame 0;
an action's time is its arrival, so action k, which leads from frame k to frame k + 1, has time k + 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from diffusers.models.embeddings import get_timestep_embedding
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPast

from vgen.backbone.codec import Codec
from vgen.backbone.on_paper import on_paper
from vgen.errors import InputError, unknown_key
from vgen.models import STATE, loading, rate_of
from vgen.state.action_heads import clean, make_head
from vgen.state.frame_encoder import Vision, load_vision
from vgen.state.language_model import decoder, load_tokenizer, load_trunk, text_width
from vgen.state.sequence import TokenSequence, joined, positions_of
from vgen.trajectory.statistics import Statistics

TIME_WIDTH = 64
MARKS = ("frame", "action", "asked", "text")  # what a token is; the last one stands before the text of the action
IGNORED = -100  # label of a token that is no part of a text
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class StateConfig:
    """The sizes of a state model.

    Attributes:
        layouts: of each trajectory layout that it knows, by name, the number of columns (`Layout.network`).
        states: n, consecutive frames that a policy sees; the paper's is two.
        history: past actions that it is told of; those of the n states are the last of them.
        horizon: K, next actions that it predicts.
        head: "flow" or "regression".
        head_width: width of the head and of the action embedding, a multiple of 4.
        text_tokens: the longest text of an action, as well as the longest prompt, in tokens.
        rates: steps per second of each layout, as in training.
        inverse_horizon: actions that inverse dynamics tells at once, with a frame for each of them; None: K.
    """

    layouts: dict[str, int]
    states: int = 2
    history: int = 8
    horizon: int = 16
    head: str = "flow"
    head_width: int = 128
    text_tokens: int = 64
    rates: dict[str, float] = field(default_factory=dict)
    inverse_horizon: int | None = None

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("states", "horizon", "text_tokens")}
        for name, size in (sizes | {"inverse_horizon": self.inverse_steps}).items():
            if size < 1:
                raise InputError(f"{name}={size} is not positive; the smallest is 1")
        if self.history < self.states:
            raise InputError(f"history={self.history} is less than states={self.states}, each with its action")
        if self.head_width < 4 or self.head_width % 4:
            raise InputError(f"head_width={self.head_width} is not 4k; nearest: {max(4, self.head_width // 4 * 4)}")

    @property
    def inverse_steps(self) -> int:
        """How many actions inverse dynamics tells at once."""
        return self.horizon if self.inverse_horizon is None else self.inverse_horizon


@dataclass(frozen=True)
class States:
    """What is known of B episodes: frames and actions at the same times for all.

    Attributes:
        features: [B, S, P, C], P tokens for each of S frames, as `StateModel.see` makes them.
        frame_times: [S], in steps from the present frame 0; later frames are positive.
        frames_valid: bool [B, S], False where there is no such frame, as before the start of an episode.
        actions: [B, A, D], normalised; whatever where not valid.
        action_times: [A], arrivals in the same steps: the action that led to the present frame has time 0.
        actions_valid: bool [B, A].
        layout: what the columns of the actions mean.
    """

    features: Tensor
    frame_times: Tensor
    frames_valid: Tensor
    actions: Tensor
    action_times: Tensor
    actions_valid: Tensor
    layout: str

    def __post_init__(self) -> None:
        batch, frames, *_ = self.features.shape
        shapes = {
            "frame_times": ((frames,), self.frame_times.shape),
            "frames_valid": ((batch, frames), self.frames_valid.shape),
            "actions": ((batch, len(self.action_times)), self.actions.shape[:2]),
            "actions_valid": ((batch, len(self.action_times)), self.actions_valid.shape),
        }
        for name, (wanted, found) in shapes.items():
            if tuple(found) != wanted:
                raise InputError(f"states: {name} has shape {tuple(found)}; it must be {wanted}")


class StateModel(nn.Module):
    """Predicts the next K actions and the text of the action.

    Args:
        config: sizes.
        trunk: a causal language model of transformers, or a vision-language model, of which the text part is used.
        tokenizer: the trunk's, with a token that ends a text.
        vision: what frames become.
        statistics: of each layout, by which actions were normalised; they travel in the model's folder, which is not
            written and not read without them.

    Raises:
        InputError: the head is not known.
    """

    def __init__(
        self,
        config: StateConfig,
        trunk: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        vision: Vision,
        statistics: Mapping[str, Statistics],
    ) -> None:
        super().__init__()
        self.config, self.tokenizer, self.statistics = config, tokenizer, dict(statistics)
        self.trunk, self.vision = trunk, vision
        width = text_width(trunk)
        self.look = nn.Sequential(nn.Linear(vision.channels, width), nn.GELU(), nn.Linear(width, width))
        self.act = nn.ModuleDict({name: self._action_layers(columns) for name, columns in config.layouts.items()})
        self.when = nn.Linear(TIME_WIDTH, width)
        self.marks = nn.Embedding(len(MARKS), width)
        nn.init.normal_(self.marks.weight, std=0.1)
        self.head = make_head(config.head, config.layouts, width, config.head_width)

    def rate(self, layout: str) -> float:
        """Steps per second that a layout was trained at.

        Raises:
            InputError: the model does not know the layout, or does not say.
        """
        return rate_of(STATE, self.config.layouts, self.config.rates, layout)

    def add_layout(self, name: str, columns: int) -> None:
        """Learns of one more layout, with new weights of its own where actions come in and go out. Its statistics go
        into `statistics`."""
        assert name not in self.config.layouts, f"layout {name} is known"
        self.config = replace(self.config, layouts=self.config.layouts | {name: columns})
        self.act[name] = self._action_layers(columns)
        self.head.add_layout(name, columns)

    def see(self, pixels: Tensor) -> Tensor:
        """Frames [B, S, 3, H, W] in [-1, 1], each seen alone, to features [B, S, P, C]."""
        return torch.unflatten(self.vision.encode(pixels.flatten(0, 1)), 0, pixels.shape[:2])

    def forward(
        self, states: States, prompts: Sequence[str], actions: Tensor, valid: Tensor, texts: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """The losses of the actions and of the text, [B] each.

        Args:
            states: what is known.
            prompts: B sentences; "" says nothing.
            actions: the next ones [B, K, D], normalised.
            valid: bool [B, K], False past the end of an episode.
            texts: B sentences that say what is done.

        Raises:
            InputError: the layout is not known, or has another number of columns.
        """
        sequence, asked = self._question(states, prompts, actions.shape[1])
        labels, given = self._labels(texts)
        embedded = self.trunk.get_input_embeddings()(labels.clamp(min=0)[:, :-1])
        hidden = self._read(joined([sequence, TokenSequence(embedded, given[:, :-1])])).last_hidden_state
        known = sequence.tokens.shape[1]
        action_loss = self.head.loss(hidden[:, asked].float(), actions, valid, states.layout)
        logits = self._logits(hidden[:, known - 1 :]).float()
        text_loss = nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        return action_loss, text_loss.sum(1) / given.sum(1)

    @torch.no_grad()
    def predict(
        self,
        states: States,
        prompts: Sequence[str],
        generator: torch.Generator | None = None,
        count: int | None = None,
    ) -> tuple[Tensor, list[str]]:
        """One future of each sample, and its text, the likeliest token at a time.

        Args:
            states, prompts: as in `forward`. Frames later than 0 among the states make it inverse dynamics: the actions
                between them.
            generator: of the future that is drawn; a regression head draws none.
            count: how many actions are asked for, from the present on; None: K.

        Returns:
            Actions [B, count, D], normalised, and B texts.
        """
        sequence, asked = self._question(states, prompts, count or self.config.horizon)
        output = self._read(sequence, use_cache=True)
        actions = self.head.sample(output.last_hidden_state[:, asked].float(), states.layout, generator)
        return actions, self._write(output, sequence.valid)

    @torch.no_grad()
    def draw(
        self,
        states: States,
        prompts: Sequence[str],
        draws: int,
        generator: torch.Generator | None = None,
        count: int | None = None,
    ) -> Tensor:
        """Several answers, [draws, B, count, D], each drawn by itself, and no text; see `predict`."""
        sequence, asked = self._question(states, prompts, count or self.config.horizon)
        hidden = self._read(sequence).last_hidden_state[:, asked].float()
        drawn = self.head.sample(hidden.repeat(draws, 1, 1), states.layout, generator)
        return torch.unflatten(drawn, 0, (draws, -1))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json (with the statistics), the model's own weights, and trunk, tokenizer and vision as folders
        of transformers."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        assert self.statistics.keys() == self.config.layouts.keys(), "a layout has no statistics to normalise by"
        about = {"_class_name": type(self).__name__, **asdict(self.config), "vision": self.vision.settings()}
        about["statistics"] = {name: statistics.to_json() for name, statistics in self.statistics.items()}
        (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n")
        save_file({name: weight.contiguous() for name, weight in self._own_weights().items()}, folder / WEIGHTS)
        self.trunk.save_pretrained(folder / "trunk")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.vision.save(folder / "vision")

    @classmethod
    def from_pretrained(cls, folder: str | Path, codec: Codec | None = None) -> StateModel:
        """What `save_pretrained` wrote, in evaluation mode.

        Args:
            folder: such as `state/` of a model folder.
            codec: of the video model, for a model that sees with the codec's latents.

        Raises:
            InputError: the folder holds no state model, or a damaged one.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "config.json").read_text())
            weights = load_file(folder / WEIGHTS)
            config = StateConfig(**{key: about[key] for key in StateConfig.__dataclass_fields__})
            statistics = {name: Statistics.from_json(about["statistics"][name]) for name in config.layouts}
            settings = about["vision"]
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise InputError(f"{folder} holds no state model: {' '.join(str(error).split())[:200]}") from error
        with loading(folder):
            vision = load_vision(settings, folder / "vision", codec)
            model = cls(config, load_trunk(folder / "trunk"), load_tokenizer(folder / "tokenizer"), vision, statistics)
            if model._own_weights().keys() != weights.keys():
                about = folder / "config.json"
                raise InputError(f"{folder / WEIGHTS} does not hold the weights that {about} speaks of")
            if not on_paper():
                model.load_state_dict(weights, strict=False)
        return model.eval()

    def _action_layers(self, columns: int) -> nn.Sequential:
        """The paper's three-layer MLP, through which actions enter."""
        inner = self.config.head_width
        layers = nn.Linear(columns, inner), nn.SiLU(), nn.Linear(inner, inner), nn.SiLU()
        return nn.Sequential(*layers, nn.Linear(inner, text_width(self.trunk)))

    def _own_weights(self) -> dict[str, Tensor]:
        """All but those that have a folder of their own."""
        weights = self.state_dict()
        return {name: weight for name, weight in weights.items() if not name.startswith(("trunk.", "vision."))}

    def _question(self, states: States, prompts: Sequence[str], count: int) -> tuple[TokenSequence, slice]:
        """All that comes before the text, and where the tokens of the actions asked for are in it."""
        columns = self.config.layouts.get(states.layout)
        if columns is None:
            raise unknown_key(states.layout, self.config.layouts, "the layouts of the state model")
        if states.actions.shape[-1] != columns:
            raise InputError(f"actions have {states.actions.shape[-1]} columns; layout {states.layout} has {columns}")
        batch, device = len(states.features), states.features.device
        times = torch.arange(1, count + 1, device=device)
        asked = (self._time(times) + self._mark("asked")).expand(batch, -1, -1)
        begin = self._mark("text").expand(batch, 1, -1)
        always = torch.ones(batch, count + 1, dtype=torch.bool, device=device)
        parts = [self._prompt(prompts), *self._known(states), TokenSequence(torch.cat([asked, begin], 1), always)]
        sequence = joined(parts)
        last = sequence.tokens.shape[1] - 1
        return sequence, slice(last - count, last)

    def _known(self, states: States) -> list[TokenSequence]:
        """Frames and actions in time order; of one time, the action that led to a frame stands behind the frame."""
        frames = self.look(states.features.to(next(self.look.parameters()).dtype))
        frames = frames + (self._time(states.frame_times) + self._mark("frame")).unsqueeze(1)
        actions = frames.new_zeros(*states.actions.shape[:2], frames.shape[-1])
        if actions.shape[1]:  # without any, as of inverse dynamics, the layers of actions take no part
            actions = self.act[states.layout](clean(states.actions, states.actions_valid))
            actions = actions + self._time(states.action_times) + self._mark("action")
        places = [(float(time), 0, i) for i, time in enumerate(states.frame_times)]
        places += [(float(time), 1, i) for i, time in enumerate(states.action_times)]
        tokens = frames.shape[2]
        return [
            TokenSequence(actions[:, i : i + 1], states.actions_valid[:, i : i + 1])
            if is_action
            else TokenSequence(frames[:, i], states.frames_valid[:, i : i + 1].expand(-1, tokens))
            for _, is_action, i in sorted(places)
        ]

    def _prompt(self, prompts: Sequence[str]) -> TokenSequence:
        """Prompts padded on the left, so that what follows them is as near to all."""
        begin = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        rows = [begin + self._tokens(prompt) for prompt in prompts]
        length = max(map(len, rows))
        device = self.marks.weight.device
        ids = torch.tensor([[0] * (length - len(row)) + row for row in rows], dtype=torch.long, device=device)
        valid = torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in rows], device=device)
        return TokenSequence(self.trunk.get_input_embeddings()(ids), valid.bool())

    def _labels(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens [B, L] of texts with the token that ends each, `IGNORED` behind it; and where they are."""
        rows = [torch.tensor([*self._tokens(text), self.tokenizer.eos_token_id]) for text in texts]
        labels = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED).to(self.marks.weight.device)
        return labels, labels != IGNORED

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return tokens[: self.config.text_tokens]

    def _time(self, times: Tensor) -> Tensor:
        """Embeddings [N, W] of times [N] in steps."""
        waves = get_timestep_embedding(times.to(self.when.weight.device).float(), TIME_WIDTH, max_period=1000)
        embedded: Tensor = self.when(waves.to(self.when.weight.dtype))
        return embedded

    def _mark(self, name: str) -> Tensor:
        return self.marks.weight[MARKS.index(name)]

    def _read(self, sequence: TokenSequence, use_cache: bool = False) -> BaseModelOutputWithPast:
        """What the trunk thinks of each token: its output with `last_hidden_state` [B, L, W]."""
        return decoder(self.trunk)(
            inputs_embeds=sequence.tokens.to(self.trunk.get_input_embeddings().weight.dtype),
            attention_mask=sequence.valid.long(),
            position_ids=positions_of(sequence.valid),
            use_cache=use_cache,
        )

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.trunk.get_output_embeddings()(hidden)
        return logits

    def _write(self, output: BaseModelOutputWithPast, valid: Tensor) -> list[str]:
        """The texts that follow a sequence the trunk has read, greedily."""
        hidden, cache, rows = output.last_hidden_state[:, -1:], output.past_key_values, []
        ended = torch.zeros(len(valid), dtype=torch.bool, device=valid.device)
        # Under ZeRO 3 ranks gather each weight together, so that none may stop before the others.
        together = hasattr(self.trunk.get_input_embeddings().weight, "ds_id")
        for _ in range(self.config.text_tokens + 1):
            token = self._logits(hidden).argmax(-1)
            rows.append(token)
            ended |= token[:, 0] == self.tokenizer.eos_token_id
            if ended.all() and not together:
                break
            valid = torch.cat([valid, valid.new_ones(len(valid), 1)], 1)
            output = decoder(self.trunk)(
                inputs_embeds=self.trunk.get_input_embeddings()(token),
                attention_mask=valid.long(),
                position_ids=positions_of(valid)[:, -1:],
                past_key_values=cache,
                use_cache=True,
            )
            hidden, cache = output.last_hidden_state, output.past_key_values
        return [self._decode(row) for row in torch.cat(rows, 1).tolist()]

    def _decode(self, ids: list[int]) -> str:
        end = self.tokenizer.eos_token_id
        kept = ids[: ids.index(end)] if end in ids else ids
        text: str = self.tokenizer.decode(kept, skip_special_tokens=True)
        return text.strip()
