"""OpenCV, and one line where it is not installed."""

from vgen.errors import InputError

try:
    import cv2 as cv2
except ImportError as error:
    raise InputError(
        f"recording pictures needs OpenCV ({error}); install it with: pip install opencv-python-headless"
    ) from error
