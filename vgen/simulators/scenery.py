"""The light and the colours of a MuJoCo scene: keeps its own, and puts others in their place."""

import colorsys

import mujoco
import numpy as np

from vgen.simulators.looks import Light, Look

LIGHT_FIELDS = ("light_pos", "light_dir", "light_diffuse")
COLOUR_FIELDS = ("mat_rgba", "geom_rgba", "tex_data")
UNSET = np.array([0.5, 0.5, 0.5, 1.0], dtype=np.float32)  # the colour of a geom whose material gives it
FILL = 0.12  # strength of the lights beside the main one, in a drawn look
ROBOT_HUE, THING_HUE = 0.08, 0.5  # how far a hue may turn, as a share of the circle
TONE = 0.25  # how far saturation and brightness may go
DARKEST = 0.2
LARGEST_TILE = 256  # texels a side that are drawn; a larger texture repeats them
ROUGHNESS = 1.3  # a cloud's amplitude falls with its frequency to this power


class Scenery:
    """What of a model is seen but not felt.

    Args:
        model: of the environment; `dress` changes it.
        robot: a body of the robot, whose colours vary less than those of other things.
    """

    def __init__(self, model: mujoco.MjModel, robot: str) -> None:
        self._model = model
        self._own = {name: getattr(model, name).copy() for name in LIGHT_FIELDS + COLOUR_FIELDS}
        self._ambient = model.vis.headlight.ambient.copy()
        root = model.body_rootid[model.body(robot).id]
        self._robot = model.body_rootid[model.geom_bodyid] == root
        self._coloured = 0  # the seed of the colours that are there

    def light(self) -> Light:
        """The scene's own main light."""
        diffuse = self._own["light_diffuse"][0]
        strength = float(diffuse.max())
        return Light(self._own["light_dir"][0], strength, diffuse / strength, float(self._ambient[0]))

    def dress(self, look: Look) -> bool:
        """Give the scene the light and the colours of a look; colours 0 bring its own light and colours back.

        Returns:
            Whether textures changed, which the drawing context must be told.
        """
        for name in LIGHT_FIELDS:
            getattr(self._model, name)[:] = self._own[name]
        self._model.vis.headlight.ambient[:] = self._ambient
        if look.colours:
            self._set_light(look.light)
        if look.colours == self._coloured:
            return False
        for name in COLOUR_FIELDS:
            getattr(self._model, name)[:] = self._own[name]
        if look.colours:
            self._set_colours(np.random.default_rng(look.colours))
        self._coloured = look.colours
        return True

    def _set_light(self, light: Light) -> None:
        """The first light shines as told, from as far as it was; the others only fill the shadows."""
        model = self._model
        away = np.linalg.norm(self._own["light_pos"][0])
        model.light_dir[0], model.light_pos[0] = light.direction, -away * light.direction
        model.light_diffuse[0] = light.intensity * light.colour
        model.light_diffuse[1:] = FILL * light.colour
        model.vis.headlight.ambient[:] = light.ambient

    def _set_colours(self, rng: np.random.Generator) -> None:
        """New colours, alike where they were alike, and new textures."""
        model, own = self._model, self._own
        for material in range(model.nmat):
            if model.mat_texid[material].max() < 0:
                robot = bool(self._robot[model.geom_matid == material].any())
                model.mat_rgba[material, :3] = _other_colour(rng, own["mat_rgba"][material, :3], robot)
        for texture in range(model.ntex):
            self._set_texture(rng, texture)
        painted = (model.geom_matid < 0) | (own["geom_rgba"] != UNSET).any(axis=1)
        for robot in (True, False):
            among = painted & (self._robot == robot)
            for colour in np.unique(own["geom_rgba"][among, :3], axis=0):
                alike = among & (own["geom_rgba"][:, :3] == colour).all(axis=1)
                model.geom_rgba[alike, :3] = _other_colour(rng, colour, robot)

    def _set_texture(self, rng: np.random.Generator, texture: int) -> None:
        """A new texture: its own pattern, a plain one, clouds, checks or stripes, between two colours."""
        model = self._model
        shape = (model.tex_height[texture], model.tex_width[texture], model.tex_nchannel[texture])
        where = slice(model.tex_adr[texture], model.tex_adr[texture] + int(np.prod(shape)))
        own = self._own["tex_data"][where].reshape(shape)
        side = int(min(shape[:2]))  # the faces of a cube lie one below the other
        draw = PATTERNS[rng.choice(len(PATTERNS), p=PATTERN_SHARES)]
        pattern = _own_pattern(own) if draw is None else draw(rng, min(side, LARGEST_TILE))
        low = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.25, 0.75)))
        high = _other_colour(rng, low, robot=bool(rng.random() < 0.5))
        shades = np.round(255 * np.linspace(low, high, 256)).astype(np.uint8)
        model.tex_data[where] = _repeated(shades[np.round(255 * pattern).astype(np.uint8)], shape[:2]).ravel()


def _other_colour(rng: np.random.Generator, colour: np.ndarray, robot: bool) -> np.ndarray:
    """A colour near another one [3], 0 to 1; that of a thing may have any hue."""
    hue, saturation, value = colorsys.rgb_to_hsv(*map(float, colour))
    reach = ROBOT_HUE if robot else THING_HUE
    hue = (hue + rng.uniform(-reach, reach)) % 1
    saturation = np.clip(saturation + rng.uniform(-TONE, TONE), 0, 1)
    value = np.clip(value + rng.uniform(-TONE, TONE), DARKEST, 1)
    return np.array(colorsys.hsv_to_rgb(hue, float(saturation), float(value)))


def _own_pattern(texture: np.ndarray) -> np.ndarray:
    """Light and dark of a texture [H, W, 3], stretched to 0 to 1."""
    grey = texture.mean(axis=-1)
    spread: np.ndarray = (grey - grey.min()) / max(1.0, float(np.ptp(grey)))
    return spread


def _repeated(tile: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A tile [H, W, 3], again and again until it fills a shape."""
    times = [-(-length // side) for length, side in zip(shape, tile.shape[:2], strict=True)]
    return np.tile(tile, (*times, 1))[: shape[0], : shape[1]]


def _plain(rng: np.random.Generator, side: int) -> np.ndarray:
    return np.full((side, side), rng.random())


def _clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Noise whose amplitude falls with frequency, and which meets itself at its edges."""
    rows, columns = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    frequency = np.hypot(rows[:, None] * rng.uniform(0.3, 3), columns)  # drawn out along one side, like grain
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / frequency**ROUGHNESS, (side, side))
    clouds: np.ndarray = np.clip(0.5 + noise / (4 * noise.std()), 0, 1)
    return clouds


def _checks(rng: np.random.Generator, side: int) -> np.ndarray:
    count = 2 * int(rng.integers(1, 9))
    index = np.arange(side) * count // side
    checks: np.ndarray = ((index[:, None] + index) % 2).astype(float)
    return checks


def _stripes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Soft stripes along one side."""
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * int(rng.integers(2, 13)) * np.arange(side) / side)
    stripes = np.tile(wave, (side, 1))
    return stripes if rng.random() < 0.5 else stripes.T


PATTERNS = (None, _plain, _clouds, _checks, _stripes)  # None: the texture's own
PATTERN_SHARES = (0.25, 0.15, 0.35, 0.1, 0.15)
