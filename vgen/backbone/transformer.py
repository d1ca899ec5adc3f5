"""The shared video transformer: diffusers' Wan, taking segments at continuous positions instead of one video."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, cast, get_args

import torch
from diffusers import WanTransformer3DModel
from diffusers.utils import apply_lora_scale
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from vgen.backbone.attention import IndependentProcessor, JointProcessor, KeysValues, runs_of
from vgen.backbone.block import SegmentBlock
from vgen.backbone.cache import ConditionCache
from vgen.backbone.conditioning import CONCATENATION, ParadigmName, channels_read, check_padding
from vgen.backbone.padding import Padding
from vgen.backbone.parallel import TokenSplit, UlyssesProcessor, join_sequence_group
from vgen.backbone.pruning import MASKING, joined, pruned, readable_tokens
from vgen.backbone.rounding import let_round, modulate
from vgen.backbone.segments import Places, Segment
from vgen.backbone.tokens import as_latent, condition_lengths, count_of, places_of, rotation_of
from vgen.errors import InputError, unknown_key
from vgen.models import join_own, part_own

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanAttention

F = TypeVar("F", bound=Callable[..., Any])
TIMESTEPS = 1000  # Wan counts diffusion time in 0..1000
ConditionAttention = Literal["joint", "independent"]
# Of a configuration, beside Wan's
OWN_KEYS = frozenset({"condition_attention", "condition_padding", "paradigm", "prune_conditions"})


def typed(decorator: Callable[[Any], Any]) -> Callable[[F], F]:
    """A decorator that keeps a function's signature without saying so in its own types."""
    return decorator


class BlockAdapter(Protocol):
    """What a front-end does to the tokens after each block, such as letting them read a trajectory.

    A token's change must depend on that token, its place and the adapter alone, never on other tokens: a rank may hold
    a part of them, and conditions may have been remembered in an earlier call.
    """

    def __call__(self, block: int, tokens: Tensor, places: Places) -> Tensor:
        """Tokens [B, L, D] after the block of this index, to tokens of the same shape and type."""


class VideoTransformer(WanTransformer3DModel):
    """`WanTransformer3DModel` over segments, with the same parameters under the same names.

    Every Wan text-to-video checkpoint and LoRA loads; a saved model loads in diffusers. With one target segment and
    no condition, it computes what the Wan model computes.

    Args:
        paradigm: how conditions reach the model, which is trained for one way; see `vgen.canvas.paradigms`. With
            "channel_concatenation" it has 2·C + 1 input channels for latents of C.
        condition_attention: "joint": every token attends to every token. "independent": a condition attends to itself
            alone, targets attend to conditions and targets, and conditions can be remembered (`remember`). A model is
            trained for one of the two; its configuration keeps which.
        prune_conditions: whether tokens of a condition of which nothing is given are left out (pruning.py): a patch
            then costs what it covers. A model is trained for that too.
        condition_padding: what stands in for pixels of a condition that are not given (padding.py): "zeros", as in
            VideoCanvas, or the "nearest" given pixels. A model is trained for that too. Everything else is as in Wan.

    Raises:
        InputError: another `condition_attention`, `condition_padding` or `paradigm`, input channels or a padding that
            do not go with it, or a `prune_conditions` that is no boolean.
    """

    _no_split_modules: ClassVar[list[str]] = ["SegmentBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["SegmentBlock"]

    @typed(functools.wraps(WanTransformer3DModel.__init__))  # the configuration is read off its signature, and two keys
    def __init__(
        self,
        *args: Any,
        condition_attention: ConditionAttention = "joint",
        paradigm: ParadigmName = "in_context",
        prune_conditions: bool = False,
        condition_padding: Padding = "zeros",
        **kwargs: Any,
    ) -> None:
        if condition_attention not in get_args(ConditionAttention):
            raise unknown_key(condition_attention, get_args(ConditionAttention), "the kinds of condition_attention")
        if not isinstance(prune_conditions, bool):
            raise InputError(f"prune_conditions={prune_conditions!r} must be true or false")
        if paradigm not in get_args(ParadigmName):
            raise unknown_key(paradigm, get_args(ParadigmName), "the paradigms")
        if condition_padding not in get_args(Padding):
            raise unknown_key(condition_padding, get_args(Padding), "the kinds of condition_padding")
        check_padding(paradigm, condition_padding)
        super().__init__(*args, **kwargs)
        self.register_to_config(
            condition_attention=condition_attention,
            paradigm=paradigm,
            prune_conditions=prune_conditions,
            condition_padding=condition_padding,
        )
        if paradigm == CONCATENATION and self.config.in_channels != (read := self.channels_read):
            raise InputError(f"in_channels={self.config.in_channels}: paradigm={paradigm} reads {read} channels")
        c = self.config
        width = c.num_attention_heads * c.attention_head_dim
        self.blocks = nn.ModuleList(
            SegmentBlock(
                width,
                c.ffn_dim,
                c.num_attention_heads,
                c.qk_norm,
                c.cross_attn_norm,
                c.eps,
                c.added_kv_proj_dim,
            )
            for _ in range(c.num_layers)
        )
        for attention in self._self_attentions():
            attention.set_processor(IndependentProcessor() if self.independent else JointProcessor())
        let_round(self.blocks)
        self.sequence_group: ProcessGroup | None = None

    @staticmethod  # what diffusers reads of a configuration; a stock Wan configuration lacks ours
    def _get_init_keys(input_class: type) -> set[str]:
        keys: set[str] = WanTransformer3DModel._get_init_keys(input_class)
        return keys | OWN_KEYS

    def to_json_string(self) -> str:
        """The configuration, with our own keys apart, since diffusers passes over what it does not know."""
        own = part_own(json.loads(super().to_json_string()), OWN_KEYS)
        return json.dumps(own, indent=2, sort_keys=True) + "\n"

    @classmethod
    def extract_init_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """What diffusers reads of a configuration, and what it would pass over."""
        return super().extract_init_dict(join_own(config_dict), **kwargs)

    @property
    def independent(self) -> bool:
        """Whether a condition attends to itself alone."""
        return bool(self.config.condition_attention == "independent")

    @property
    def channels_read(self) -> int:
        """How many channels its paradigm reads of a noisy latent, what goes with that included."""
        return channels_read(self.config.paradigm, self.config.out_channels)

    @property
    def patch(self) -> int:
        """Latent pixels along a side of a token, which spans one latent frame."""
        frames, side, _ = self.config.patch_size
        assert frames == 1, "positions are per latent frame, so a token spans one"
        return int(side)

    def split_sequence(self, size: int) -> None:
        """From now on, every `size` neighbouring ranks share the tokens of a sample, and call `forward` together with
        the same arguments; each returns the whole result. The gradient is the mean over ranks (parallel.py).

        Raises:
            InputError: `size` does not divide both the attention heads and the ranks, or the model has independent
                condition attention or prunes conditions.
        """
        if self.independent:
            needs = "needs condition_attention=joint, and this model is independent; nearest: 1"
            raise InputError(f"sequence_parallel_size={size} {needs}")
        if self.config.prune_conditions:
            needs = "needs prune_conditions=false, and this model prunes its conditions; nearest: 1"
            raise InputError(f"sequence_parallel_size={size} {needs}")
        self.sequence_group = join_sequence_group(size, self.config.num_attention_heads)
        for attention in self._self_attentions():
            backend = attention.processor._attention_backend
            attention.set_processor(UlyssesProcessor(self.sequence_group, backend))

    def _self_attentions(self) -> list[WanAttention]:
        return [cast(SegmentBlock, block).attn1 for block in self.blocks]

    @typed(apply_lora_scale("attention_kwargs"))
    def forward(
        self,
        segments: Sequence[Segment],
        text: Tensor,
        attention_kwargs: dict[str, Any] | None = None,
        adapter: BlockAdapter | None = None,
        cache: ConditionCache | None = None,
    ) -> list[Tensor]:
        """Velocity ε - z of every target segment.

        Args:
            segments: conditions and targets; the result does not depend on their order.
            text: text embeddings [B, Lt, text_dim].
            attention_kwargs: as in diffusers (`scale` weighs a LoRA).
            adapter: what changes the tokens after each block.
            cache: remembered conditions, which count as if they were among the segments.

        Returns:
            for each target, a tensor of the shape of its latent, without channels that are only read. The outputs of
            conditions are dropped by exact count.

        Raises:
            InputError: a cache for a model with joint condition attention.
        """
        self._check_memory(cache is not None)
        segments = self._pruned(self._in_order(segments))
        times, modulations, states = self._modulation(segments, text)
        split = TokenSplit([count_of(segment, self.patch) for segment in segments], self.sequence_group)

        tokens = split.take(torch.cat([self._embed(segment) for segment in segments], dim=1))
        step = self._step(segments, split, modulations, states, adapter, cache)
        for index in range(len(self.blocks)):
            tokens, _ = step(index, tokens, cache.blocks[index] if cache is not None else None)
        tokens = split.join(self._head(tokens, times, split.lengths))

        ends = zip(segments, torch.split(tokens, split.whole, dim=1), strict=True)
        return [as_latent(part, segment, self.patch) for segment, part in ends if segment.role == "target"]

    @typed(apply_forward_hook)  # as `forward` does: an offloaded model comes to the device
    @typed(apply_lora_scale("attention_kwargs"))
    def remember(
        self,
        segments: Sequence[Segment],
        text: Tensor,
        adapter: BlockAdapter | None = None,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> ConditionCache:
        """Keys and values of conditions in every block, for `forward` with the same text and the same adapter.

        Args:
            segments: conditions alone; each frame of them is one condition of the cache, or the whole segment where it
                is a clip.
            text, adapter, attention_kwargs: as in `forward`.

        Raises:
            InputError: the model has joint condition attention.
        """
        self._check_memory(True)
        segments = self._pruned(segments)
        assert all(segment.role == "condition" for segment in segments), "a target cannot be remembered"
        _, modulations, states = self._modulation(segments, text)
        split = TokenSplit([count_of(segment, self.patch) for segment in segments])
        tokens = torch.cat([self._embed(segment) for segment in segments], dim=1)
        step = self._step(segments, split, modulations, states, adapter)
        kept: list[KeysValues] = []
        for index in range(len(self.blocks)):
            tokens, heads = step(index, tokens, None)
            assert heads is not None, "attention is independent"
            kept.append(heads)
        ends = [segment.t[:, -1:] if segment.clip else segment.t for segment in segments]
        lengths = tuple(condition_lengths(segments, self.patch))
        readable = readable_tokens(segments, split.lengths)
        return ConditionCache(tuple(kept), torch.cat(ends, dim=1), lengths, readable)

    def count_tokens(self, segments: Sequence[Segment]) -> int:
        """How many tokens segments are, without those that the model prunes."""
        return sum(count_of(segment, self.patch) for segment in self._pruned(segments))

    def _check_memory(self, wanted: bool) -> None:
        if wanted and not self.independent:
            raise InputError("condition_attention=joint remembers no conditions; use a model that is independent")

    def _step(
        self,
        segments: Sequence[Segment],
        split: TokenSplit,
        modulations: Sequence[Tensor],
        states: Tensor,
        adapter: BlockAdapter | None,
        cache: ConditionCache | None = None,
    ) -> Callable[[int, Tensor, KeysValues | None], tuple[Tensor, KeysValues | None]]:
        """One block and what the adapter adds to it; computed again in the backward pass under checkpointing."""
        patch, width = self.patch, self.config.attention_head_dim
        change = functools.partial(adapter, places=places_of(segments, split, patch)) if adapter is not None else None
        rotations = [rotation_of(segment, patch, width) for segment in segments]
        rotation = tuple(torch.cat(parts, dim=1) for parts in zip(*rotations, strict=True))
        runs = runs_of(condition_lengths(segments, patch)) if self.independent else None
        lengths = split.lengths
        readable = self._readable(segments, lengths, cache)

        def step(index: int, tokens: Tensor, memory: KeysValues | None) -> tuple[Tensor, KeysValues | None]:
            tokens, heads = self.blocks[index](tokens, states, modulations, lengths, rotation, runs, memory, readable)
            return (tokens if change is None else change(index, tokens)), heads

        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return functools.partial(self._gradient_checkpointing_func, step)
        return step

    def _in_order(self, segments: Sequence[Segment]) -> Sequence[Segment]:
        """Conditions first where attention is independent; joint attention takes any order."""
        return sorted(segments, key=lambda segment: segment.role == "target") if self.independent else segments

    def _pruned(self, segments: Sequence[Segment]) -> Sequence[Segment]:
        """Without the tokens of conditions of which nothing is given, where the model is trained for that."""
        return pruned(segments, self.patch) if self.config.prune_conditions else segments

    def _readable(
        self, segments: Sequence[Segment], lengths: Sequence[int], cache: ConditionCache | None
    ) -> Tensor | None:
        """Which tokens are read, the remembered ones first; None where all are.

        Raises:
            InputError: not all are, and the attention kernel reads all.
        """
        readable = readable_tokens(segments, lengths)
        if cache is not None:
            batch, held = cache.blocks[0][0].shape[:2]
            sizes = [(batch, held), (batch, sum(lengths))]
            readable = joined([cache.readable, readable], sizes, segments[0].latent.device)
        backend = self._self_attentions()[0].processor._attention_backend
        if readable is not None and (name := getattr(backend, "value", backend) or MASKING[0]) not in MASKING:
            rule = "takes no mask, which prune_conditions needs for patches of several videos at once"
            raise InputError(f"attention={name} {rule}; use {MASKING[0]}")
        return readable

    def _embed(self, segment: Segment) -> Tensor:
        embedded: Tensor = self.patch_embedding(segment.latent.to(self.dtype))
        tokens = rearrange(embedded, "b d f h w -> b (f h w) d").contiguous()
        return tokens if segment.kept is None else segment.kept.take(tokens)

    def _modulation(self, segments: Sequence[Segment], text: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """For each segment, the embedded diffusion time [B, D] and its projection [B, 6, D]; and the text states."""
        times, modulations = [], []
        embedder = self.condition_embedder
        for segment in segments:
            frequencies = embedder.timesteps_proj(segment.time * TIMESTEPS)
            time = embedder.time_embedder(frequencies.to(embedder.time_embedder.linear_1.weight.dtype)).type_as(text)
            times.append(time)
            modulations.append(
                rearrange(
                    embedder.time_proj(embedder.act_fn(time)),
                    "b (six d) -> b six d",
                    six=6,
                )
            )
        return times, modulations, embedder.text_embedder(text)

    def _head(self, tokens: Tensor, times: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        parts = [(self.scale_shift_table + time.unsqueeze(1)).chunk(2, dim=1) for time in times]
        shifts, scales = zip(*parts, strict=True)
        velocity: Tensor = self.proj_out(
            modulate(self.norm_out(tokens.float()), scales, shifts, lengths).type_as(tokens)
        )
        return velocity
