"""Models on paper: as their configurations say, on torch's meta device, where no weight is read or made."""

from __future__ import annotations

import torch


def on_paper() -> bool:
    """Whether models are only planned: within `with torch.device("meta")`."""
    return torch.get_default_device().type == "meta"
