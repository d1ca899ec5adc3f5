"""What waits in the CPU's memory changes no frame: a completion with each kind of offload, its time and its memory."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from gpu_suite.task import Task, Tell, attempt
from gpu_suite.timing import forget_peak, now, peak_gb
from vgen.backbone.transformer import VideoTransformer
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.spec import Canvas, Patch
from vgen.errors import InputError
from vgen.inference.settings import OFFLOADS, CanvasSettings
from vgen.models import resolve

WIDER = {  # than nano: 0.8 GB in bfloat16, so that it shows what waits elsewhere
    False: {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 6},
    True: {"num_layers": 1},
}
SIZES = {False: (17, 128, 128), True: (5, 64, 64)}  # T, H, W
STEPS = {False: 4, True: 1}
ALLOWED = 2  # of 255: kernels may add up in another order


def run(task: Task, tell: Tell) -> None:
    """Tells of each kind "seconds", "memory_gb" and, beside "none", how far apart frames are."""
    canvas = given_canvas(task.toy)
    with tempfile.TemporaryDirectory(prefix="gpu_check") as folder:
        model = wider(task, Path(folder))
        wanted = None
        for kind in OFFLOADS:
            forget_peak(task.device)
            settings = CanvasSettings(model=model, offload=kind)
            try:
                settings.check_machine()
            except InputError as refusal:
                tell(kind, str(refusal), refused=str(refusal))
                continue
            with attempt(tell, kind):
                began = time.perf_counter()
                video, seconds = completed(settings, canvas, task)
                wanted = video if wanted is None else wanted
                apart = int(np.abs(video.astype(int) - wanted).max())
                memory, loading = peak_gb(task.device), now(task.device) - began - seconds
                line = f"offload={kind}: {seconds:.3g} s after {loading:.3g} s of loading, {memory:.2f} GB"
                values = {"seconds": seconds, "loading_s": loading, "memory_gb": memory, "apart": apart}
                tell(kind, f"{line}, frames {apart} of 255 apart", **values)
                assert apart <= ALLOWED, f"frames are {apart} of 255 from those without; {ALLOWED} is allowed"


def given_canvas(toy: bool) -> Canvas:
    """A canvas whose first frame is given."""
    frames, height, width = SIZES[toy]
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Canvas(frames, height, width, "a robot opens a drawer", fps=10.0, patches=(Patch(picture, 0),))


def wider(task: Task, folder: Path) -> str:
    """A copy of the model with another transformer, of random weights."""
    source, copy = resolve(task.model), folder / "model"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("transformer"))
    keywords = dict(VideoTransformer.load_config(source, subfolder="transformer")) | WIDER[task.toy]
    torch.manual_seed(0)
    with torch.device(task.device):
        transformer = VideoTransformer(**{key: value for key, value in keywords.items() if key[0] != "_"})
    transformer.to(torch.bfloat16).save_pretrained(copy / "transformer")
    return str(copy)


def completed(settings: CanvasSettings, canvas: Canvas, task: Task) -> tuple[np.ndarray, float]:
    """The video uint8 [T, H, W, 3] of a freshly loaded model, and the seconds of its second completion."""
    pipe = settings.load(CanvasPipeline)
    pipe.set_progress_bar_config(disable=True)
    pipe(canvas, num_inference_steps=1)
    began = now(task.device)
    video = pipe(canvas, num_inference_steps=STEPS[task.toy]).video
    return video, now(task.device) - began
