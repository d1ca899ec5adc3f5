"""The names that programs give to a LoRA's weights, read as parts of the layers of a Wan transformer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from vgen.checks import show

# The layers of a block by diffusers' names, and by those of the first Wan release, which all others read.
LAYERS = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.to_out.0": "cross_attn.o",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
NORMS = {
    "attn1.norm_q": "self_attn.norm_q",
    "attn1.norm_k": "self_attn.norm_k",
    "attn2.norm_q": "cross_attn.norm_q",
    "attn2.norm_k": "cross_attn.norm_k",
    "norm2": "norm3",
}
OUTSIDE = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "patch_embedding": "patch_embedding",
    "proj_out": "head.head",
}

# What stands before a layer: the names of the modules that held the transformer, and kohya's, which has no dots.
_PREFIX = re.compile(
    r"(?:(?:base_model\.model|model|diffusion_model|transformer|pipe|dit|module)\.)*"
    r"(?:(?:lora_unet|lora_transformer|lycoris)_+)?"
)
# What stands behind it, with the name of peft's adapter in it or not.
_MATRIX = re.compile(r"lora(?:_linear_layer)?[._](A|B|down|up)(?:\.(?!weight$|bias$)[\w-]+)?(?:\.(weight|bias))?")
_MATRICES = {"A": "A", "down": "A", "B": "B", "up": "B"}
_PARTS = {
    "alpha": "alpha",
    "diff": "diff",
    "diff_b": "diff_b",
    "w_norm": "diff",
    "b_norm": "diff_b",
    "lora_norm.weight": "diff",
    "lora_norm.bias": "diff_b",
}

ANOTHER = "use a LoRA that was made for this model"
MERGE = "merge it into its model where it was trained and give that as the model, or use a plain LoRA"
# Of a key that cannot be applied, what it is and what can be done.
_REFUSED = (
    (r"dora_scale|lora_magnitude_vector", "DoRA", MERGE),
    (r"lokr_", "LoKr", MERGE),
    (r"hada_", "LoHa", MERGE),
    (r"\bb?oft_", "OFT", MERGE),
    (r"lora_mid", "a LoCon of three matrices", MERGE),
    (r"diff_m$|modulation|scale_shift_table", "a difference of the modulation, which is no layer", MERGE),
    (r"^(lora_te|text_encoder|conditioner|te\d*[._])", "of a text encoder", "use a LoRA of the transformer alone"),
    (r"^transformer_2\.", "of a second transformer", "use a LoRA of a Wan with one transformer"),
    (r"[kv]_img|add_[kvq]_proj|img_emb|image_embedder|norm_added", "a layer of image-to-video models", ANOTHER),
    (r"lora_embedding_", "of an embedding", MERGE),
)


@dataclass
class LayerParts:
    """What a file says of one layer: tensors by part (A, B, bias, alpha, diff, diff_b), and its name and keys there."""

    name: str
    parts: dict[str, Tensor] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)


def _spellings(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Every way to write a layer's name, to diffusers' own."""
    wan = dict(OUTSIDE)
    for name in modules:
        block = re.fullmatch(r"(blocks\.\d+)\.(.+)", name)
        if block and (inside := (LAYERS | NORMS).get(block[2])):
            wan[name] = f"{block[1]}.{inside}"
    spellings = {}
    for name in modules:
        for written in {name, wan.get(name, name)}:
            spellings[written] = spellings[written.replace(".", "_")] = name
    return spellings


def parse(weights: Mapping[str, Tensor], modules: Mapping[str, nn.Module], blocks: int) -> dict[str, LayerParts]:
    """The parts of each layer. ValueError: a key that cannot be applied; the message goes on after the file's name."""
    spellings = _spellings(modules)
    found: dict[str, LayerParts] = {}
    unknown = []
    for key, tensor in weights.items():
        written, part = _split(key, spellings)
        if written is None or part is None:
            unknown.append((key, written))
            continue
        layer = found.setdefault(spellings[written], LayerParts(written))
        if part in layer.parts:
            raise ValueError(f"holds {layer.keys[part]!r} and {key!r}, which are the same part; keep one adapter in it")
        layer.parts[part], layer.keys[part] = tensor, key
    if not found and not any(written for _, written in unknown):
        first = next(iter(weights))
        reason = _why_unknown(first, blocks)
        raise ValueError(f"has no weight for this model's transformer: {show(first)} {reason}")
    if unknown:
        key, written = unknown[0]
        more = f" (and {len(unknown) - 1} more such keys)" if len(unknown) > 1 else ""
        raise ValueError(f"holds {show(key)}{more}, which {_why_unknown(key, blocks, written is not None)}")
    return found


def _split(key: str, spellings: Mapping[str, str]) -> tuple[str | None, str | None]:
    """A key as a layer's name and the part of it: None where it is not known."""
    stem = _PREFIX.sub("", key, count=1).replace("_lora.", ".lora.")
    written = stem
    while written not in spellings:
        if "." not in written:
            return None, None
        written = written.rpartition(".")[0]
    rest = stem[len(written) + 1 :]
    matrix = _MATRIX.fullmatch(rest)
    if not matrix:
        return written, _PARTS.get(rest)
    part = _MATRICES[matrix[1]]
    if matrix[2] == "bias":
        return written, "bias" if part == "B" else None
    return written, part


def _why_unknown(key: str, blocks: int, layer_known: bool = False) -> str:
    for pattern, what, rule in _REFUSED:
        if re.search(pattern, key):
            return f"is {what}; {rule}"
    block = re.search(r"(?:^|[._])blocks[._](\d+)[._]", key)
    if block and int(block[1]) >= blocks:
        return f"is a block of a larger model: the last one here is {blocks - 1}; {ANOTHER}"
    if layer_known and key.endswith((".weight", ".bias")):
        return (
            "is a whole weight and no difference; a LoRA has lora_A and lora_B, or lora_down and lora_up, and a"
            " whole model is given as the model"
        )
    return f"is {'no part of a LoRA' if layer_known else 'no layer of this model'}; {ANOTHER}"
