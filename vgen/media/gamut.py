"""Other colours than a screen's turned into BT.709: wide primaries, and HDR with its tones mapped to SDR.

Formulas: ITU-R BT.1886 (the screen of SDR video, as zimg and libplacebo take it too), IEC 61966-2-1 (sRGB), SMPTE ST
2084 (PQ), ITU-R BT.2100 (HLG). Light is relative to the white of paper: 1 is white in SDR, and 203 cd/m² in HDR
(BT.2408).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PQ, HLG = 16, 18  # AVColorTransferCharacteristic
SRGB = 13
GAMMAS = {4: 2.2, 5: 2.8}  # of transfers that are pure powers
SDR = 2.4  # of all others
# AVColorPrimaries: x, y of red, green, blue and white
CHROMATICITIES = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI-P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),  # Display P3
}
SCREEN = 1
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
BT709_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
PAPER = 203.0  # cd/m², and
PEAK = 1000.0 / PAPER  # of what HDR is mostly graded for; brighter tones are white
KNEE = 0.6  # up to which tones stay as they are
STEPS = 65536  # of a table


def is_other(primaries: int, transfer: int) -> bool:
    """Whether pixels are in other colours than a screen's: wide primaries, or HDR."""
    return transfer in (PQ, HLG) or (primaries in CHROMATICITIES and primaries != SCREEN)


def to_screen(rgb: np.ndarray, primaries: int, transfer: int) -> np.ndarray:
    """uint16 [H, W, 3] of full range in other colours, as uint8 [H, W, 3] in those of BT.709.

    Args:
        primaries, transfer: as FFmpeg numbers them; primaries that are not named are BT.2020's of HDR, else BT.709's.
    """
    hdr = transfer in (PQ, HLG)
    if primaries not in CHROMATICITIES:
        primaries = 9 if hdr else SCREEN
    light = _light(transfer)[rgb]
    if transfer == HLG:
        light = _displayed(light)
    light = light @ _matrix(primaries).T
    if hdr:
        light *= _mapped(np.maximum(light @ BT709_LUMA, 1e-6))[..., None]
    place = np.sqrt(light.clip(0, 1))  # finer steps for dark tones
    coded: np.ndarray = _coded(transfer)[(place * (STEPS - 1) + 0.5).astype(np.uint16)]
    return coded


@lru_cache
def _light(transfer: int) -> np.ndarray:
    """The light of each of 65536 codes: float32."""
    code = np.arange(STEPS) / (STEPS - 1)
    if transfer == PQ:
        power = code ** (1 / 78.84375)
        light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        light = light * 10000 / PAPER
    elif transfer == HLG:  # of the scene; see `_displayed`
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    elif transfer == SRGB:
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    else:
        light = code ** GAMMAS.get(transfer, SDR)
    return light.astype(np.float32)


@lru_cache
def _coded(transfer: int) -> np.ndarray:
    """The code, uint8, of the square of each of 65536 places between 0 and 1: as it was coded before, and HDR as a
    screen of SDR shows it."""
    light = (np.arange(STEPS) / (STEPS - 1)) ** 2
    if transfer == SRGB:
        code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    else:
        code = light ** (1 / GAMMAS.get(transfer, SDR))
    return (code * 255).round().astype(np.uint8)


def _displayed(scene: np.ndarray) -> np.ndarray:
    """HLG's light on a display of 1000 cd/m² (its system gamma is 1.2 there)."""
    luminance = np.maximum(scene @ BT2020_LUMA, 1e-6)[..., None]
    return scene * luminance**0.2 * np.float32(1000 / PAPER)


def _mapped(luminance: np.ndarray) -> np.ndarray:
    """The factor for light of a luminance, so that the peak becomes white: a curve (as FFmpeg's `mobius`) that leaves
    what is below the knee alone and has no kink there."""
    knee, peak = KNEE, PEAK
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    curve = (b**2 + 2 * b * knee + knee**2) / (b - a) * (luminance + a) / (luminance + b)
    return np.where(luminance <= knee, 1, curve / luminance).astype(np.float32)


@lru_cache
def _matrix(primaries: int) -> np.ndarray:
    """From light in some primaries to light in BT.709's: float32 [3, 3]."""
    white, screen = (_xyz(CHROMATICITIES[name][3]) for name in (primaries, SCREEN))
    adapted = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ screen) / (BRADFORD @ white)) @ BRADFORD
    matrix: np.ndarray = np.linalg.inv(_to_xyz(SCREEN)) @ adapted @ _to_xyz(primaries)
    return matrix.astype(np.float32)


def _to_xyz(primaries: int) -> np.ndarray:
    *colours, white = map(_xyz, CHROMATICITIES[primaries])
    columns = np.stack(colours, axis=1)
    return columns * np.linalg.solve(columns, white)


def _xyz(chromaticity: tuple[float, float]) -> np.ndarray:
    x, y = chromaticity
    return np.array([x / y, 1, (1 - x - y) / y])
