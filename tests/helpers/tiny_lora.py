"""LoRAs that say something without a training, and what a transformer then answers."""

import torch

from vgen.backbone.segments import condition, target


def as_if_trained(objective):
    objective.eval()
    for parameter in objective.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    return objective


@torch.no_grad()
def velocity(transformer):
    generator = torch.Generator().manual_seed(1)
    latent, given = (torch.randn(1, 4, frames, 4, 4, generator=generator) for frames in (3, 1))
    segments = [condition(given, torch.tensor([[1.5]])), target(latent, torch.tensor([0.7]))]
    return transformer(segments, torch.randn(1, 5, 16, generator=generator))[0]
