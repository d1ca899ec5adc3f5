"""Looks of a scene: from where it is seen, how it is lit, and of what colours it is, drawn within bounds.

A look changes pictures alone: the same seed moves the same way under each. Its values stand in the data set, in
`observation.look`, whose columns are NAMES:

| column | what | unit |
| --- | --- | --- |
| azimuth, elevation | direction of the first camera | degrees, as MuJoCo counts them |
| distance | from that camera to the point it looks at | metres |
| lookat_x, lookat_y, lookat_z | that point, in the world's frame | metres |
| fovy | vertical field of view | degrees |
| light_x, light_y, light_z | unit vector along which the main light shines, in the world's frame | |
| light_intensity | diffuse strength of the main light | 0 to 1 |
| light_r, light_g, light_b | its colour | 0 to 1 |
| ambient | strength of the light from everywhere | 0 to 1 |
| colours | seed of the colours and textures; 0: the simulator's own | |

A free camera other than the first is moved by the same differences; a camera that rides on the robot stays on it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

NAMES = ["azimuth", "elevation", "distance", "lookat_x", "lookat_y", "lookat_z", "fovy"]
NAMES += ["light_x", "light_y", "light_z", "light_intensity", "light_r", "light_g", "light_b", "ambient", "colours"]

AZIMUTH, ELEVATION = 25.0, 12.0  # degrees, at most, off the plain view
DISTANCE = (0.8, 1.3)  # shares of the plain distance
LOOKAT = np.array([0.06, 0.06, 0.04])  # metres, at most, off the plain point
FOVY = (40.0, 55.0)  # degrees
STEEPNESS = (25.0, 80.0)  # degrees of the main light above the horizon
INTENSITY, AMBIENT = (0.35, 0.75), (0.08, 0.35)
PALEST = 0.65  # the least of a light's three colours
LARGEST_SEED = 1 << 24  # of colours: float32 holds it to the last digit
TRIES = 24  # views that are drawn until the hand is in the frame; the later, the nearer to the plain one


@dataclass(frozen=True)
class View:
    """Where a free camera is: degrees, metres; `lookat` is [3] in the world's frame."""

    azimuth: float
    elevation: float
    distance: float
    lookat: np.ndarray
    fovy: float


@dataclass(frozen=True)
class Light:
    """The main light: unit vector [3] along which it shines, strength and colour [3]; and that from everywhere."""

    direction: np.ndarray
    intensity: float
    colour: np.ndarray
    ambient: float


@dataclass(frozen=True)
class Look:
    """How a scene is seen; `colours` is the seed of its colours and textures, 0 for the simulator's own."""

    view: View
    light: Light
    colours: int = 0

    def row(self) -> np.ndarray:
        """Its values in the order of NAMES: float32 [16]."""
        view, light = self.view, self.light
        values = [view.azimuth, view.elevation, view.distance, *view.lookat, view.fovy]
        values += [*light.direction, light.intensity, *light.colour, light.ambient, self.colours]
        return np.array(values, dtype=np.float32)


def draw_look(rng: np.random.Generator, plain: Look, shows: Callable[[View], bool]) -> Look:
    """Draw a look within the bounds of this module.

    Args:
        rng: draws it.
        plain: the look that it departs from.
        shows: whether a view has in its frame what must be seen; a view that has not is drawn again, nearer and nearer
            to the plain one.
    """
    light, colours = _draw_light(rng), int(rng.integers(1, LARGEST_SEED))
    for attempt in range(TRIES):
        view = _draw_view(rng, plain.view, 1 - attempt / TRIES)
        if shows(view):
            return Look(view, light, colours)
    return Look(plain.view, light, colours)


def moved(view: View, first: View, other: View) -> View:
    """`view` after the way from the plain first view to another first view."""
    return replace(
        view,
        azimuth=view.azimuth + (other.azimuth - first.azimuth),
        elevation=view.elevation + (other.elevation - first.elevation),
        distance=view.distance * (other.distance / first.distance),
        lookat=view.lookat + (other.lookat - first.lookat),
        fovy=other.fovy,
    )


def _draw_view(rng: np.random.Generator, plain: View, share: float) -> View:
    """A view off the plain one, by `share` of what the bounds allow."""
    azimuth, elevation = share * rng.uniform(-1, 1, 2) * (AZIMUTH, ELEVATION)
    nearness, fovy = rng.uniform(*DISTANCE), rng.uniform(*FOVY)
    return View(
        azimuth=plain.azimuth + azimuth,
        elevation=plain.elevation + elevation,
        distance=plain.distance * (1 + share * (nearness - 1)),
        lookat=plain.lookat + share * rng.uniform(-LOOKAT, LOOKAT),
        fovy=plain.fovy + share * (fovy - plain.fovy),
    )


def _draw_light(rng: np.random.Generator) -> Light:
    around, above = np.radians(rng.uniform(0, 360)), np.radians(rng.uniform(*STEEPNESS))
    direction = np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), -np.sin(above)])
    colour = rng.uniform(PALEST, 1, 3)
    return Light(direction, rng.uniform(*INTENSITY), colour / colour.max(), rng.uniform(*AMBIENT))
