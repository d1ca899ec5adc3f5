"""Small random encoders in folders, as `--encoders` names them."""

import json

import torch
from safetensors.torch import save_file
from transformers import (
    ByT5Tokenizer,
    CLIPConfig,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

WIDTH, SIDE, PATCH = 16, 32, 8
VISION = {
    "hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip
TEXT = {
    "vocab_size": 384, "hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
SUFFIX = {"vit": f"vit-{WIDTH}-{PATCH}", "clip": f"clip-{WIDTH}-{PATCH}"}


def save(model, folder, mean=(0.5, 0.5, 0.5)):
    model.save_pretrained(folder)
    told = {"image_mean": list(mean), "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))


def save_vit(folder, mean=(0.5, 0.5, 0.5)):
    save(ViTModel(ViTConfig(**VISION), add_pooling_layer=False), folder, mean)


def save_clip(folder, **vision):
    save(CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION | vision, projection_dim=12)), folder)


def save_all(folder):
    """One encoder of each kind."""
    torch.manual_seed(0)
    save_vit(folder / "subject")
    save_clip(folder / "background")
    save_clip(folder / "aesthetic", hidden_act="quick_gelu")
    save_file({"weight": torch.zeros(1, 12), "bias": torch.tensor([5.0])}, folder / "aesthetic" / "head.safetensors")
    save(ViTForImageClassification(ViTConfig(**VISION, num_labels=1)), folder / "imaging")
    save_clip(folder / "overall")
    ByT5Tokenizer().save_pretrained(folder / "overall")
    return folder
