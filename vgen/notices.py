"""Warnings that are given once in a process: what a user gave is often opened several times on its way."""

from __future__ import annotations

from logging import Logger

_given: set[tuple[str, str]] = set()


def warn_once(logger: Logger, message: str) -> None:
    """Logs a warning unless the same logger has logged the same one before."""
    if (logger.name, message) not in _given:
        _given.add((logger.name, message))
        logger.warning("%s", message)


def forget() -> None:
    """Lets all warnings be given again."""
    _given.clear()
