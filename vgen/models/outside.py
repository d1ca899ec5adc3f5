"""What of a request lies outside of what a model was trained on, each in a few words with what lies inside.

Every function gives "" where nothing is to be told, and where the model's folder does not say what it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vgen.checks import show
from vgen.models.training_range import Size, TrainingRange
from vgen.models.words import unseen_words, words_of

ASPECT_TOLERANCE = 0.02  # natural logarithm, of the ratio of sides
RATE_REACH = 4.0  # times as fast or as slow as anything seen: things differ in speed by as much
PSNR_REACH = 1.0  # dB below the lowest of a hundred frames that were trained on
PLACE_REACH = 0.1  # of the width of what was seen, beyond its ends
SPEED_REACH = 1.5  # times as fast as nearly everything seen
PLAINLY = 0.8  # a scene's score, 1 for its own pictures and 0 for others
HAND_REACH = 0.8  # as far as the hand is misjudged in a hundredth of all pictures, times this: in a few of a hundred
MOST_NAMED = 4  # words, or pictures


def outside_line(model: str, found: Sequence[str]) -> str:
    """All that was found, in one line; "" where that is nothing."""
    told = ", ".join(part for part in found if part)
    return f"outside of what {model} was trained on: {told}; the result will be poor" if told else ""


def size_outside(trained: TrainingRange, height: int, width: int) -> str:
    """A size neither seen nor between sizes that were: in area and in the ratio of its sides."""
    sizes = trained.sizes
    if not sizes or (height, width) in sizes or _between((height, width), sizes):
        return ""
    nearest = min(sizes, key=lambda size: abs(math.log(size[0] / height)) + abs(math.log(size[1] / width)))
    return f"{height}x{width} pixels ({_trained(sizes, nearest)})"


def length_outside(trained: TrainingRange, frames: int) -> str:
    """A number of frames below the least or above the most that was seen."""
    return _number_outside(trained.frames, frames, "frames", 1.0)


def advance_outside(trained: TrainingRange, advance: int) -> str:
    """More frames at once, from the present one on, than any clip had."""
    most = max(trained.frames or [math.inf]) - 1
    return f"advance={advance} (trained: {most} at most)" if advance > most else ""


def rate_outside(trained: TrainingRange, fps: float) -> str:
    """Frames per second far from all that was seen: everything would have to move several times as fast, or slowly."""
    return _number_outside(trained.rates, fps, "frames per second", RATE_REACH)


def kinds_outside(trained: TrainingRange, kinds: Mapping[str, str]) -> str:
    """What is given in a way that was never given.

    Args:
        kinds: what is given, in words, by its kind as `TrainingRange.conditions` names it.
    """
    if trained.conditions is None:
        return ""
    told = [words for kind, words in kinds.items() if kind not in trained.conditions]
    return f"{' and '.join(told)} (trained: {', '.join(trained.conditions)})" if told else ""


def words_outside(trained: TrainingRange, text: str, example: str = "") -> str:
    """Words that no caption had in any form; with an example of a text under which pictures stay, if there is one."""
    told = _named(() if trained.words is None else unseen_words(text, trained.words))
    return f'{told} (with "{show(example)}" pictures stay)' if told and example else told


def strange_words(trained: TrainingRange, text: str) -> str:
    """Words of a text that a model wrote which no caption had in just this form: it is none of their sentences. Words
    that all captions had may yet be put together as none was."""
    if trained.words is None:
        return ""
    return _named([word for word in dict.fromkeys(words_of(text)) if word not in trained.words])


@dataclass(frozen=True)
class Held:
    """What a codec holds of a picture, or of a part of one.

    Attributes:
        psnr: of the picture, inside what is given of it, after encoder and decoder, in dB.
        area: that is given, as a share of the whole.
    """

    psnr: float
    area: float = 1.0


def pictures_outside(trained: TrainingRange, held: Sequence[tuple[str, Held]]) -> str:
    """Pictures that the codec holds worse than any that it was trained on: they cannot come out better than this.

    A part of a picture may be the part with all the detail: at worst the whole picture's error lies in it, which then
    holds 10·log10(1/area) dB less than the whole. Half of that is granted.

    Args:
        trained: what the model was trained on.
        held: of each picture its name, and what the codec holds of it.
    """
    if trained.codec_psnr is None:
        return ""
    low, _, high = trained.codec_psnr
    poor = sorted((each.psnr, name) for name, each in held if each.psnr < low - _granted(each.area))
    if not poor:
        return ""
    told = f"its codec holds {poor[0][0]:.1f} dB of it; training pictures {low:.0f} to {high:.0f}"
    more = f" and {len(poor) - 1} more" if len(poor) > 1 else ""
    return f"the picture {show(poor[0][1])} ({told}){more}"


def _granted(area: float) -> float:
    """By how many dB the codec may hold a part of a picture worse than it holds training pictures."""
    return PSNR_REACH + 5 * math.log10(1 / area)


def place_outside(trained: TrainingRange, layout: str, places: Mapping[str, float]) -> str:
    """A hand that begins where no hand of the layout was.

    Args:
        layout: of the trajectory.
        places: the values that say where the hand is at the start, by column.
    """
    spans = trained.layouts[layout].places if layout in trained.layouts else {}
    told = []
    for name, value in places.items():
        low, high = spans.get(name, (-math.inf, math.inf))
        reach = PLACE_REACH * (high - low)
        if not low - reach <= value <= high + reach:
            told.append(f"{name}={value:.3g} (trained: {low:.3g} to {high:.3g})")
    return f"a start at {_first(told)}" if told else ""


def scene_outside(trained: TrainingRange, layout: str, looks: np.ndarray) -> str:
    """A picture that is further from the layout's scenes than the map is wrong in nearly all, or plainly of another
    layout's.

    Args:
        trained: what the model was trained on.
        layout: of the trajectory.
        looks: of the picture's latent, see `latent_looks`.
    """
    answers = {name: probe.answer(looks) for name, probe in trained.scenes.items()}
    scores = {name: float(answer[0]) for name, answer in answers.items() if answer is not None}
    if layout not in scores or scores[layout] >= 1 - trained.scenes[layout].reach:
        return ""
    likest = max(scores, key=lambda name: scores[name])
    if likest != layout and scores[likest] >= PLAINLY:
        return f"a trajectory of {layout} for a picture that looks like those of {likest}"
    return f"a picture that looks like no scene of {layout}"


def hand_outside(trained: TrainingRange, layout: str, means: np.ndarray, place: np.ndarray, unit: str) -> str:
    """A trajectory that begins far from the hand in the picture, as far as the picture's latent tells where that is.

    Args:
        trained: what the model was trained on.
        layout: of the trajectory.
        means: of the picture's latent, see `latent_means`.
        place: where the trajectory has its bodies at the start.
        unit: of places.
    """
    probe = trained.hands.get(layout)
    seen = None if probe is None else probe.answer(means)
    if probe is None or seen is None or seen.shape != place.shape:
        return ""
    apart = float(np.linalg.norm(seen - place))
    if apart <= HAND_REACH * probe.reach:
        return ""
    where = ", ".join(f"{value:.2g}" for value in seen)
    seems = f"{where}, give or take {HAND_REACH * probe.reach:.2g} {unit}"
    return f"a start {apart:.2g} {unit} from where the hand in the picture seems to be ({seems})"


def speed_outside(trained: TrainingRange, layout: str, speeds: Mapping[str, float], unit: str) -> str:
    """A hand that is faster than any was.

    Args:
        layout: of the trajectory.
        speeds: the highest speed of each body.
        unit: of places.
    """
    known = trained.layouts[layout].speeds if layout in trained.layouts else {}
    told = [
        f"the {body} at {speed:.3g} {unit}/s (trained: {known[body]:.3g} at most)"
        for body, speed in speeds.items()
        if body in known and speed > SPEED_REACH * known[body]
    ]
    return _first(told) if told else ""


def _named(words: Sequence[str]) -> str:
    """Words in words; "" of none."""
    named = ", ".join(f'"{show(word)}"' for word in words[:MOST_NAMED])
    return f"the word{'s' * (len(words) > 1)} {named}{_more(len(words))}" if words else ""


def _between(size: Size, sizes: Sequence[Size]) -> bool:
    areas, ratios = [h * w for h, w in sizes], [math.log(h / w) for h, w in sizes]
    height, width = size
    ratio = math.log(height / width)
    wide = min(ratios) - ASPECT_TOLERANCE <= ratio <= max(ratios) + ASPECT_TOLERANCE
    return wide and min(areas) <= height * width <= max(areas)


def _trained(sizes: Sequence[Size], nearest: Size) -> str:
    named = f"{nearest[0]}x{nearest[1]}"
    return f"trained: {named}" if len(sizes) == 1 else f"trained: {len(sizes)} sizes, nearest {named}"


def _number_outside(seen: Sequence[float] | None, value: float, unit: str, reach: float) -> str:
    if not seen or min(seen) / reach <= value <= max(seen) * reach:
        return ""
    span = f"{min(seen):g}" if min(seen) == max(seen) else f"{min(seen):g} to {max(seen):g}"
    return f"{value:g} {unit} (trained: {span})"


def _first(told: Sequence[str]) -> str:
    return ", ".join(told[:MOST_NAMED]) + _more(len(told))


def _more(count: int) -> str:
    return f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
