"""Small LeRobot folders, changed as others may have written them."""

import io
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vgen.data.lerobot.writer import LeRobotWriter

CASES = Path(__file__).parents[2] / "../shared/cases"
FPS, LENGTH, EPISODES = 10, 6, 3
CAMERA, PICTURES = "observation.images.front", "observation.images.still"
VIDEO = f"videos/{CAMERA}"
DATA_FILE, EPISODES_FILE = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
VIDEO_FILE = f"{VIDEO}/chunk-000/file-000.mp4"
NUMBERS = np.arange(EPISODES * LENGTH, dtype=np.float32)  # of all rows, told by the state and the brightness of each


def write_plain(path):
    """Three episodes of six rows in one file each for rows and frames; row n is grey of 13 n."""
    writer = LeRobotWriter(path, FPS, {"observation.state": ["x", "y", "z", "gripper"], "action": ["dx"]}, [CAMERA])
    for episode in range(EPISODES):
        numbers = NUMBERS[episode * LENGTH :][:LENGTH]
        state = np.stack([numbers, numbers / 10, -numbers, np.full(LENGTH, 0.5)], axis=1).astype(np.float32)
        writer.add_episode({"observation.state": state, "action": state[:, :1]}, {CAMERA: grey(numbers)}, "open it")
    writer.finish()
    return path


def grey(numbers):
    return np.broadcast_to((13 * np.asarray(numbers))[:, None, None, None], (len(numbers), 16, 32, 3)).astype(np.uint8)


def numbers_of(pixels):
    """The rows that frames belong to."""
    return np.rint(pixels.mean((1, 2, 3)) / 13).astype(int).tolist()


def changed(plain, path, info=None, episodes=None, rows=None, files=None):
    """A copy of a folder in which functions have changed its info.json, its tables and its files."""
    shutil.copytree(plain, path)
    if info:
        file = path / "meta/info.json"
        said = json.loads(file.read_text())
        info(said)
        file.write_text(json.dumps(said))
    for name, change in ((EPISODES_FILE, episodes), (DATA_FILE, rows)):
        if change:
            pq.write_table(change(pq.read_table(path / name)), path / name)
    if files:
        files(path)
    return path


def column(name, change, kind=None):
    """Changes the list of a column's values, or makes a column of the rows' numbers."""

    def edit(table):
        values = table[name].to_pylist() if name in table.column_names else range(table.num_rows)
        array = pa.array(change(list(values)), kind)
        if name in table.column_names:
            return table.set_column(table.column_names.index(name), name, array)
        return table.append_column(name, array)

    return edit


def without(*names):
    return lambda table: table.drop_columns(list(names))


def put(place, value):
    """Changes one value."""
    return lambda values: [*values[:place], value, *values[place + 1 :]]


def say(**changes):
    return lambda info: info.update(changes)


def declare(name, **feature):
    return lambda info: info["features"].setdefault(name, {}).update(feature)


def png(number, mode="RGB", size=(32, 16), alpha=255):
    data = io.BytesIO()
    colour = (13 * number,) * 3 + ((alpha,) if mode == "RGBA" else ())
    Image.new(mode, size, colour).save(data, "PNG")
    return data.getvalue()


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pictures(one=lambda n: {"bytes": png(n), "path": f"{n}.png"}, kind=PICTURE):
    return column(PICTURES, lambda numbers: [one(n) for n in numbers], kind)


STILL = declare(PICTURES, dtype="image", shape=[16, 32, 3])


def write_frames(path, numbers, times):
    """A video of such frames, each shown at its time in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 32, 16, "yuv420p", Fraction(1, 1000)
        stream.options = {"crf": "1", "bf": "0"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time in zip(grey(numbers), times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frames_at(path):
    """What a video shows when, by another reader: {seconds: number}."""
    with av.open(str(path)) as container:
        shown = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return {round(time, 4): numbers_of(pixels[None])[0] for time, pixels in shown}
