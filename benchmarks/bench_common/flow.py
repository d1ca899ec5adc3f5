"""Optical flow: where each pixel of a frame goes in another."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from vgen.errors import InputError

PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS = 0.5, 3, 15, 3
NEIGHBOURHOOD, SIGMA = 5, 1.2  # of the polynomials; all as OpenCV's own example has them


def optical_flow(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Dense flow by polynomial expansion (Farnebäck, "Two-frame motion estimation", SCIA 2003), from OpenCV.

    Args:
        one, other: uint8 RGB `[H, W, 3]`.

    Returns:
        float32 `[H, W, 2]`: by how many pixels to the right, and down, each pixel of `one` has moved in `other`.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = opencv()
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (one, other)]
    settings = PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, NEIGHBOURHOOD, SIGMA, 0
    flow: np.ndarray = cv2.calcOpticalFlowFarneback(*greys, None, *settings)
    return flow


def warped(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """A frame drawn from where a flow points: pixel x of the result is pixel x + flow of the frame, bilinear, its
    border repeated.

    Args:
        frame: uint8 `[H, W, 3]`.
        flow: float32 `[H, W, 2]`.

    Returns:
        uint8 `[H, W, 3]`.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = opencv()
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]].astype(np.float32)
    drawn: np.ndarray = cv2.remap(
        frame, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return drawn


def opencv() -> ModuleType:
    """OpenCV, or one line where it is not installed.

    Raises:
        InputError: it says how to install it.
    """
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            f"optical flow needs OpenCV ({error}); install it with: pip install opencv-python-headless"
        ) from error
    module: ModuleType = cv2
    return module
