"""Whether the stages of ZeRO are one training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALLOWED = 0.02  # of a loss: stages add up their gradients in other orders, and in bfloat16


def compare(found: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A line and values: how far the losses of stages lie apart, as a share of the first stage's, at most.

    Args:
        found: of each stage that came to its end, its `losses`.
    """
    losses = {stage: values["losses"] for stage, values in found.items() if "losses" in values}
    if len(losses) < 2:
        return "", {}
    first, *others = losses.values()
    apart = max(abs(a - b) / abs(a) for other in others for a, b in zip(first, other, strict=True))
    line = f"losses of {', '.join(losses)} lie {100 * apart:.2g} % apart at most"
    values: dict[str, Any] = {"apart": apart}
    if apart > ALLOWED:
        values["error"] = f"{line}; {100 * ALLOWED:.0f} % are allowed"
    return ("FAILED: " if "error" in values else "") + line, values
