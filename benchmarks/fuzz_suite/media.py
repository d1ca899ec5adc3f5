"""Valid images and videos of every kind that a command may be given, made anew."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from bench_common.priority import usual_priority
from PIL import Image, ImageCms

SIDE = 64
FRAMES = 12
RATE = 10

# name: encoder, pixel format, codec options
VIDEOS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264.mp4": ("libx264", "yuv420p", {"g": "4", "bf": "2"}),
    "h264_all_key.mp4": ("libx264", "yuv420p", {"g": "1", "bf": "0"}),
    "h264.mkv": ("libx264", "yuv420p", {"g": "6"}),
    "h264.ts": ("libx264", "yuv420p", {"g": "4"}),
    "h264.avi": ("libx264", "yuv420p", {"g": "4", "bf": "0"}),
    "hevc.mp4": ("libx265", "yuv420p", {"x265-params": "keyint=4:pools=1:frame-threads=1:log-level=none"}),
    "hevc.mkv": ("libx265", "yuv420p10le", {"x265-params": "keyint=4:pools=1:frame-threads=1:log-level=none"}),
    "vp8.webm": ("libvpx", "yuv420p", {"g": "4"}),
    "vp9.webm": ("libvpx-vp9", "yuva420p", {"g": "4", "cpu-used": "8"}),
    "av1.mp4": ("libsvtav1", "yuv420p", {"preset": "12", "svtav1-params": "keyint=4:lp=1"}),
    "mpeg1.mpg": ("mpeg1video", "yuv420p", {"g": "4"}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", {"g": "4"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"g": "4"}),
    "mpeg4.mov": ("mpeg4", "yuv420p", {"g": "4"}),
    "prores.mov": ("prores_ks", "yuva444p10le", {}),
    "ffv1.mkv": ("ffv1", "yuv420p", {}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}),
    "mjpeg.mov": ("mjpeg", "yuvj420p", {}),
    "qtrle.mov": ("qtrle", "argb", {}),
    "flv.flv": ("flv", "yuv420p", {"g": "4"}),
}


def write_images(folder: Path) -> None:
    """An image of every kind."""
    folder.mkdir(parents=True)
    colour = Image.fromarray(picture(0))
    alpha = colour.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(colour.size))
    pages = [Image.fromarray(picture(number)) for number in range(4)]
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = Image.fromarray((np.arange(SIDE * SIDE, dtype=np.uint16) * 16).reshape(SIDE, SIDE))
    several = {"save_all": True, "append_images": pages[1:]}
    for name, image, options in (
        ("rgb.png", colour, {}),
        ("deep.png", deep, {}),
        ("palette.png", colour.quantize(16), {"transparency": 3}),
        ("alpha.png", alpha, {}),
        ("grey.png", colour.convert("L"), {"icc_profile": profile}),
        ("bits.png", colour.convert("1"), {}),
        ("moving.png", pages[0], {**several, "duration": 100}),
        ("photo.jpg", colour, {"exif": exif, "icc_profile": profile}),
        ("progressive.jpg", colour, {"progressive": True}),
        ("cmyk.jpg", colour.convert("CMYK"), {}),
        ("still.webp", alpha, {}),
        ("moving.webp", pages[0], {**several, "duration": 100}),
        ("one.tif", colour, {"compression": "tiff_deflate"}),
        ("pages.tif", pages[0], several),
        ("float.tif", deep.convert("F"), {}),
        ("still.gif", colour.quantize(16), {}),
        ("moving.gif", pages[0], {**several, "duration": [100, 200, 50, 100]}),
        ("plain.bmp", colour, {}),
    ):
        image.save(folder / name, **options)


def write_videos(folder: Path) -> None:
    """A video of every codec in its usual containers."""
    folder.mkdir(parents=True)
    for name, (codec, pixels, options) in VIDEOS.items():
        write_video(folder / name, codec, pixels, options)


@usual_priority()
def write_video(file: Path, codec: str, pixels: str, options: dict[str, str]) -> None:
    """A video of FRAMES pictures."""
    with av.open(str(file), "w") as container:
        rate = 25 if codec in ("mpeg1video", "mpeg2video") else RATE  # they know a few rates alone
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.options = pixels, options
        stream.thread_count = 1
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode())


def picture(number: int, side: int = SIDE) -> np.ndarray:
    """A smooth picture, different for each number: uint8 [side, side, 3]."""
    blots = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC))
