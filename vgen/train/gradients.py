"""A look at the first steps: does every trained weight that takes part get a gradient?"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from vgen.errors import InputError
from vgen.train.distributed import Ranks

logger = logging.getLogger(__name__)

STEPS = 10  # after which a gradient that has only been zero is told of


class GradientWatch:
    """Watches the trained weights through a run's first steps, on any ZeRO stage.

    A weight whose layer was called on the way to the loss must be reached by the backward pass: where it is not, as
    with an attention kernel that knows none, it would never be trained, and the run is refused at that step. A
    gradient of exact zeros is right at first, behind an output that starts at zero (the A of a LoRA, all of a new
    front-end), so it is told of only after `STEPS` steps; under ZeRO 3, a backward pass that gives nothing looks so.
    Layers that no batch has called yet, as those of another body, are left out.
    """

    def __init__(self, module: nn.Module, ranks: Ranks) -> None:
        self._ranks, self._steps = ranks, 0
        self._called: set[str] = set()
        self._reached: dict[str, Tensor] = {}  # whether some gradient was not zero; on its device, so that none waits
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._trained = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
        # Hooks in what is compiled would be compiled too, and again without them. Its layers count as called.
        compiled = {inner for part in module.modules() if part._compiled_call_impl for inner in part.modules()}
        for part in module.modules():
            names = [self._trained[id(p)] for p in part.parameters(recurse=False) if p.requires_grad]
            if part in compiled:
                self._called.update(names)
            elif names:
                self._handles.append(part.register_forward_pre_hook(lambda *_, own=names: self._call(own)))
        for parameter in module.parameters():
            if parameter.requires_grad:
                name = self._trained[id(parameter)]
                hook = partial(self._reach, name)
                self._handles.append(parameter.register_hook(hook))  # type: ignore[no-untyped-call]  # torch's

    def check(self) -> None:
        """After the backward passes of a step, before it is taken; does nothing after the first steps.

        Raises:
            InputError: weights that took part were not reached, on any rank.
        """
        if not self._handles:
            return
        self._steps += 1
        called = self._on_some(self._called)
        if missed := called - self._on_some(self._reached):
            raise self._refusal(missed)
        alive = self._on_some(name for name, some in self._reached.items() if some)
        if self._steps < STEPS and len(alive) < len(self._trained):
            return
        if (still := called - alive) and self._ranks.first:
            logger.warning(
                "%s of %d trained weights had a gradient of zeros alone in the first %d steps: nothing trains them",
                _named(still), len(self._trained), self._steps,
            )  # fmt: skip
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _call(self, names: list[str]) -> None:
        if torch.is_grad_enabled():
            self._called.update(names)

    def _reach(self, name: str, gradient: Tensor | None) -> None:
        if gradient is None:  # of a backward pass that gives none; ZeRO 2 cannot go on without
            raise self._refusal({name})
        some = gradient.detach().any()
        self._reached[name] = self._reached[name] | some if name in self._reached else some

    def _refusal(self, missed: set[str]) -> InputError:
        return InputError(
            f"{_named(missed)} of {len(self._trained)} trained weights take part in a step and get no gradient; use "
            "another attention kernel (objective.attention=native), or train without those weights"
        )

    def _on_some(self, names: Iterable[str]) -> set[str]:
        """Names that are among those of some rank."""
        return set().union(*self._ranks.gather(sorted(names)))


def _named(names: set[str]) -> str:
    few = sorted(names)[:3]
    return f"{len(names)} ({', '.join(few)}{' ...' if len(names) > len(few) else ''})"
