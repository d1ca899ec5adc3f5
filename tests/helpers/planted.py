"""Files that leave a mark where they are unpickled, run or built, under every name that a loader may look for."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vgen.errors import InputError, RunStopped

DIFFUSERS = (
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "diffusion_pytorch_model-00001-of-00001.bin",
    "diffusion_pytorch_model.safetensors.pkl",
    "diffusion_flax_model.msgpack",
    "model.ckpt",
    "optimizer.bin",
    "scheduler.bin",
    "random_states_0.pkl",
)
TRANSFORMERS = (
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
    "pytorch_model-00001-of-00001.bin",
    "tf_model.h5",
    "model.ckpt.index",
    "flax_model.msgpack",
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "scaler.pt",
    "rng_state.pth",
    "rng_state_0.pth",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
    "vocab.bin",
    "vocab.pkl",
    "vocab.txt",
    "merges.txt",
    "tokenizer.pkl",
    "processor.pkl",
    "dict.txt",
)
PEFT = ("adapter_model.bin", "adapter_model.pt", "pytorch_lora_weights.bin", "lora.ckpt", "lora.pth", "embeddings.bin")
DEEPSPEED = (
    "latest",
    "latest_universal",
    "mp_rank_00_model_states.pt",
    "mp_rank_01_model_states.pt",
    "zero_pp_rank_0_mp_rank_00_model_states.pt",
    "zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "zero_pp_rank_1_mp_rank_00_optim_states.pt",
    "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "fp16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "layer_00-model_00-model_states.pt",
    "expert_0_mp_rank_00_model_states.pt",
    "zero/head.weight/fp32.pt",
    "zero/head.weight/exp_avg.pt",
    "zero/optimizer_state.pt",
)
VGEN = ("average.pt", "model.pt", "state.pkl", "trainer.pkl", "cache.pkl", "latents.npy", "frames.npz", "index.pkl")
CODE = ("own.py", "pipeline.py", "modeling_own.py", "tokenization_own.py", "__init__.py", "custom_generate/generate.py")
NAMES = DIFFUSERS + TRANSFORMERS + PEFT + DEEPSPEED + VGEN + CODE


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return os.makedirs, (self.mark, 0o777, True)


class Trap:
    """Payloads that leave their marks in one folder."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks
        self._count = 0

    def sprung(self) -> list[str]:
        """The names of the files that left a mark."""
        return sorted(path.name for path in self.marks.glob("*"))

    def plant(self, path: Path) -> Path:
        """Writes a payload of the kind that the name asks for; of pickles every second in the other form of torch."""
        self._count += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content(path, self._count % 2 == 0))
        return path

    def content(self, path: Path, zipped: bool = False) -> bytes:
        """The payload for a path."""
        mark, file = self.marks / path.name, io.BytesIO()
        if path.suffix == ".py":
            code = f"import os\nos.makedirs({str(mark)!r}, exist_ok=True)\nclass Own: pass\ngenerate = Own\n"
            return code.encode()
        if path.suffix in (".yaml", ".json"):
            return f"!!python/object/apply:os.makedirs [{str(mark)!r}]\n".encode()
        if path.suffix == ".npy":
            np.save(file, np.array([Evil(mark)]), allow_pickle=True)
        elif path.suffix == ".npz":
            np.savez(file, values=np.array([Evil(mark)]), times=np.array([Evil(mark)]))
        elif path.suffix == ".parquet":
            about = {"ARROW:extension:name": "arrow.py_extension_type"}
            about |= {"ARROW:extension:metadata": pickle.dumps(Evil(mark))}
            kind = pa.field("timestamp", pa.float32(), metadata=about)
            pickled = pa.field("observation.state", pa.binary())
            rows = [pa.array([0.0], pa.float32()), pa.array([pickle.dumps(Evil(mark))])]
            pq.write_table(pa.table(rows, pa.schema([kind, pickled])), file)
        else:
            state = {"module": {"weight": Evil(mark)}, "proj_out.bias": Evil(mark)}
            torch.save(state, file, _use_new_zipfile_serialization=zipped)
        return file.getvalue()

    def plant_all(self, folder: Path, names: tuple[str, ...] = NAMES) -> None:
        """Plants all names in a folder and in those below it; what is there stays."""
        for place in [folder, *(path for path in sorted(folder.rglob("*")) if path.is_dir())]:
            for name in names:
                if not (place / name).exists():
                    self.plant(place / name)


def said(action) -> str:
    """What a user gets: "" where it works, or the one line that refuses."""
    try:
        action()
    except (InputError, RunStopped) as error:
        line = str(error)
        assert line and "\n" not in line and "weights_only" not in line, line
        return line
    return ""
