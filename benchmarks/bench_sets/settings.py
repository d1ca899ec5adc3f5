"""What a bench is built by: its size, its thresholds, and how many cases of each group it has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vgen import checks
from vgen.backbone.shapes import check_frames, check_size
from vgen.errors import InputError

SHORTEST = 9  # frames of a clip: a middle frame that starts a latent, apart from the first and the last
STRIDE, MULTIPLE = 4, 16  # what the codecs of the day ask for, at least
NAMES = ("first", "middle", "last")
LATENT = 4  # frames that the middle one is a multiple of


@dataclass(frozen=True)
class BuildSettings:
    """The options of a bench. The defaults are those of the paper (VideoCanvas, arXiv 2510.08555).

    Attributes:
        frames: Of a clip, 1 + 4k, 9 or more.
        fps: Frames per second of a clip.
        height: Pixels, as of all clips.
        width: Pixels.
        clips: How many at most.
        per_video: Clips of one video at most; they share no frame.
        min_sharpness: Variance of the Laplacian that a clip must have; see `looks.look`.
        min_flow: Mean optical flow that a clip must have, pixels a frame.
        min_seconds: Length that a video must have; 0: that of a clip.
        pairs: Of unrelated images; None: half as many as clips.
        triplets: The same.
        clip_pairs: Pairs of unrelated clips; None: three for every ten clips.
        seed: Of all that is drawn.
        given: Pixel frames of the first, the middle and the last image that may be given; None: the paper's, each of
            which starts a latent.

    Raises:
        InputError: a value breaks its rule.
    """

    frames: int = 77
    fps: float = 15.0
    height: int = 384
    width: int = 672
    clips: int = 100
    per_video: int = 1
    min_sharpness: float = 200.0
    min_flow: float = 5.0
    min_seconds: float = 0.0
    pairs: int | None = None
    triplets: int | None = None
    clip_pairs: int | None = None
    seed: int = 0
    given: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.frames < SHORTEST:
            raise InputError(f"frames={self.frames} leaves no middle frame; nearest: {SHORTEST}")
        check_frames(self.frames, STRIDE)
        check_size(self.height, self.width, MULTIPLE)
        checks.real("fps", self.fps, 0.1, 1000)
        for name in ("clips", "per_video"):
            checks.whole(name, getattr(self, name), 1, 10**6)
        for name in ("min_sharpness", "min_flow", "min_seconds"):
            checks.real(name, getattr(self, name), 0, 1e9)
        for name in ("pairs", "triplets", "clip_pairs"):
            if getattr(self, name) is not None:
                checks.whole(name, getattr(self, name), 0, 10**6)
        checks.whole("seed", self.seed, 0, 2**32 - 1)
        if self.given is not None:
            first, middle, last = self.given
            if not 0 <= first < middle < last < self.frames:
                rule = f"must be three frames in order, of 0 to {self.frames - 1}"
                raise InputError(
                    f"given={first},{middle},{last} {rule}; such as 2,{self.frames // 2 + 1},{self.frames - 3}"
                )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    @property
    def anchors(self) -> dict[str, int]:
        """The frames that may be given, by name: the middle one is the paper's 40 of 77, at the same share of any other
        length, and starts a latent."""
        if self.given is not None:
            return dict(zip(NAMES, self.given, strict=True))
        middle = LATENT * round((self.frames - 1) * 40 / 76 / LATENT)
        return dict(zip(NAMES, (0, middle, self.frames - 1), strict=True))

    @property
    def ends(self) -> int:
        """Frames that a transition gives of each of its clips: 1 + 4k, a quarter; 21 of 77, 5 of 17."""
        return 1 + LATENT * max(1, round((self.frames - 1) / 4 / LATENT))

    def of_clips(self, found: int) -> dict[str, int]:
        """How many pairs, triplets and clip pairs there shall be beside so many clips."""
        shares = {"pairs": (self.pairs, 5), "triplets": (self.triplets, 5), "clip_pairs": (self.clip_pairs, 3)}
        return {
            name: (found * tenths + 5) // 10 if asked is None else asked for name, (asked, tenths) in shares.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """As a manifest has them: the size as text, as of a canvas; what is given where it is not the paper's."""
        plain = asdict(self)
        if self.given is None:
            plain.pop("given")  # a bench of the paper's frames is the same as before there were others
        return {**plain, "size": f"{plain.pop('height')}x{plain.pop('width')}"}
