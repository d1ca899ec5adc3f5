"""The priority of a process that encodes AV1."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def usual_priority() -> Iterator[None]:
    """Gives this thread its usual priority back after the block: SVT-AV1 makes it a real-time one where it may, as
    root may, and whatever is started later inherits that, and keeps the machine to itself."""
    try:
        yield
    finally:
        if hasattr(os, "sched_setscheduler"):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
