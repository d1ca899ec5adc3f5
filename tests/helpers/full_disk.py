"""A disk that takes no more."""

import resource
import signal
from contextlib import contextmanager


@contextmanager
def full_disk(room):
    """A block in which no file grows beyond so many bytes: what writes more meets "File too large"."""
    most, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        signal.signal(signal.SIGXFSZ, handler)
