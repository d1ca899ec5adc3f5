"""How a bench is run: all that decides on its results, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, get_args

from bench_sets.bench import Bench, Case
from canvas_suite.judges import PEERS

from vgen import checks
from vgen.canvas.paradigms import PARADIGMS
from vgen.canvas.placed import PlacedCanvas, place
from vgen.canvas.spec import MAX_SEED
from vgen.files import package_versions
from vgen.inference.record import PACKAGES, lora_sha256
from vgen.inference.settings import RunSettings
from vgen.media.patch import Keep
from vgen.models import ModelInfo, fingerprint, resolve

MOST_CASES = 10**6


@dataclass(frozen=True)
class BenchSettings(RunSettings):
    """How the cases of a bench are completed and judged.

    Attributes:
        paradigm: Of `vgen.canvas.paradigms`, by which what is given reaches the model; None: that of its training.
        keep: "exact" puts given pixels back, as `vgen.canvas.keep` does; "model" does not.
        seed: Added to the seed of every canvas of the bench.
        bf16: Computes matrix products in bfloat16, where the device can, over the weights as they are.
        peers: Other networks beside the baselines, of `PEERS`.
        fvd: Whether videos are compared as sets, by FVD and KVD.
        encoders: A folder of encoders for measures that need one; None: those are left out.
        cases: Of each kind of each group, the first so many; None: all.

    Raises:
        InputError: a value breaks its rule.
    """

    keep: Keep = "model"
    paradigm: str | None = None
    seed: int = 0
    bf16: bool = False
    peers: tuple[str, ...] = ()
    fvd: bool = False
    encoders: str | None = None
    cases: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("keep", self.keep, get_args(Keep))
        if self.paradigm is not None:
            checks.choice("paradigm", self.paradigm, PARADIGMS)
        checks.whole("seed", self.seed, 0, MAX_SEED)
        for peer in self.peers:
            checks.choice("peer", peer, PEERS)
        if self.cases is not None:
            checks.whole("cases", self.cases, 1, MOST_CASES)

    def resolved(self, info: ModelInfo) -> Self:
        """The same, with the model's own choices where none was made."""
        guidance = info.guidance if self.guidance is None else self.guidance
        return replace(self, steps=self.steps or info.steps, guidance=guidance)

    def chosen(self, bench: Bench) -> tuple[Case, ...]:
        """The cases of a bench that are run."""
        seen: dict[tuple[str, str], int] = {}
        chosen = []
        for case in bench.cases:
            seen[case.group, case.kind] = seen.get((case.group, case.kind), 0) + 1
            if self.cases is None or seen[case.group, case.kind] <= self.cases:
                chosen.append(case)
        return tuple(chosen)

    def placed(self, case: Case, info: ModelInfo) -> PlacedCanvas:
        """The canvas of a case, placed for a model.

        Raises:
            InputError: as `vgen.canvas.placed.place`.
        """
        canvas = case.canvas()
        canvas = replace(canvas, keep=self.keep, seed=(canvas.seed + self.seed) % (MAX_SEED + 1))
        return place(canvas, info.temporal_stride, info.size_multiple)


def described(
    bench: Bench, settings: BenchSettings, measured: Sequence[str], encoders: Mapping[str, str]
) -> dict[str, Any]:
    """What decides on the results, as plain JSON without a word of places and times.

    Args:
        bench: That is run.
        settings: With the model's own choices in them.
        measured: Names of measures and peers that are to be had here.
        encoders: Of the measures that need one, what it is.

    Raises:
        InputError: the model or its LoRA cannot be read.
    """
    height, width = bench.size
    return {
        "bench": {"sha256": bench.sha256, "frames": bench.frames, "fps": bench.fps, "size": f"{height}x{width}"},
        "settings": {**asdict(settings), "peers": list(settings.peers)},
        "model": fingerprint(resolve(settings.model)),
        "lora": lora_sha256(settings.lora),
        "measured": list(measured),
        "encoders": dict(encoders),
        "versions": package_versions(PACKAGES, "not installed"),
    }
