"""Pickles, read as tensors and plain values alone."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address

# What DeepSpeed's own files hold beside tensors; anything else is not unpickled.
KNOWN = [LossScaler, ZeroStageEnum, fragment_address]

# torch.load asks these of the environment, and they go before what its caller says.
FORCED, FORBIDDEN = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def tensors_only() -> Iterator[None]:
    """While it lasts, every `torch.load` of this process, in all threads, and of processes that begin meanwhile, takes
    tensors, plain values and `KNOWN` alone. DeepSpeed itself asks for `weights_only=False` at some forty places.

    Raises:
        ValueError: there was something else. torch's advice to unpickle it all the same is left out.
    """
    before = {name: os.environ.pop(name, None) for name in (FORCED, FORBIDDEN)}
    os.environ[FORCED] = "1"
    try:
        with torch.serialization.safe_globals(KNOWN), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\.")  # of pickles that are not torch's
            yield
    except (pickle.UnpicklingError, RuntimeError) as error:
        if "weights_only" not in str(error) and not isinstance(error, pickle.UnpicklingError):
            raise
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(f"holds more than tensors{f' ({named[1]})' if named else ''}") from error
    finally:
        os.environ.pop(FORCED)
        os.environ.update({name: value for name, value in before.items() if value is not None})


def read_tensors(path: Path) -> Any:
    """What a file of `torch.save` holds, its tensors mapped rather than read.

    Raises:
        ValueError: it holds anything but tensors, plain values and `KNOWN`, or is no such file.
    """
    try:
        with tensors_only():
            return torch.load(path, map_location="cpu", mmap=True)
    except (OSError, ValueError):
        raise
    except Exception as error:  # of any type: it may hold anything
        raise ValueError("is no file of torch.save, or a damaged one") from error
