"""PyAV, which reads and writes videos. What works on frames that are decoded already does without it."""

from importlib.util import find_spec

from vgen.errors import InputError


def is_installed() -> bool:
    """Whether PyAV can be imported."""
    return find_spec("av") is not None


def need(what: str) -> None:
    """Says in one line what cannot be done without PyAV.

    Raises:
        InputError: it is not installed.
    """
    if not is_installed():
        raise InputError(f"{what} needs PyAV, which is not installed: pip install av")
