"""Paradigms of conditioning: by which way what is given reaches the model (VideoCanvas, section 4, Tables 2 and 3).

All run on one backbone, through one loop of sampling and one of training; they differ in the `Conditioning` that they
make of what is given. A model is trained for one of them, which its configuration says.

| name | what the model is given |
| --- | --- |
| in_context | each condition beside the target, at its true time t = τ/N (ours, the default) |
| nearest_slot | the same at the nearest slot of the target's grid |
| integer_positions | the same behind the target, at F, F + 1 ... in order of time |
| no_positions | the same, all at t = 0 |
| pixel_padding | one clip of T frames, grey where nothing is given, beside the target |
| latent_conditioning | one latent video, zeros where nothing is given, beside the target |
| latent_replacement | given latents in the place of the target's own |
| channel_concatenation | that latent video and its mask as further input channels of the target |
"""

from vgen.canvas.paradigms.paradigm import Paradigm
from vgen.canvas.paradigms.registry import PARADIGMS, choose_paradigm

__all__ = ["PARADIGMS", "Paradigm", "choose_paradigm"]
