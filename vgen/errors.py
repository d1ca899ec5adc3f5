"""The error types that a user meets, and the one place where commands report them."""

import argparse
import difflib
import errno
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

TERMINATED = 128 + signal.SIGTERM  # the exit code of a command that SIGTERM has ended
UNREAD = 128 + signal.SIGPIPE  # of one whose output nobody reads any more
LONGEST = 120  # letters of a name that a message repeats
ALIKE = 0.5  # of difflib: how much of two names is alike where one is offered for the other
OPTIONS_ALIKE = 0.65  # the same of options, most of which are short words: --edit and --height are alike by 0.6


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message fits on one line and holds the value, the rule it breaks and the nearest legal choice.
    """


class RunStopped(RuntimeError):
    """A training run cannot go on: its disk is full, or its steps fail one after another.

    Raised on all ranks alike. The message fits on one line and says what is kept and how to go on.
    """


class TryAgain(RunStopped):
    """What stopped a command lies outside of it and passes, such as a full disk: the same command, later, goes on."""


def unknown_key(key: str, known: Iterable[str], where: str, *, prefix: str = "", alike: float = ALIKE) -> InputError:
    """Build the error for a name that is not one of `known`.

    Args:
        key: the name that the user gave.
        known: the legal names.
        where: what the name was looked up in, such as "the config" or "the cameras of DIR".
        prefix: what all of them begin with, which makes no two names alike.
        alike: how much of a name must be alike for it to be near, in [0, 1].

    Returns:
        An InputError that names the nearest legal name, or all of them where none is near.
    """
    names = [str(name) for name in known]
    key = str(key) if len(str(key)) <= LONGEST else f"{str(key)[:LONGEST]}..."
    bare = [name.removeprefix(prefix) for name in names]
    near = difflib.get_close_matches(key.removeprefix(prefix), bare, n=1, cutoff=alike)
    if near:
        hint = f"nearest: {prefix + near[0]!r}"
    elif names:
        hint = f"known: {', '.join(names)}"
    else:
        hint = "there are none"
    return InputError(f"{key!r} is not in {where}; {hint}")


class _Store(argparse.Action):
    """What argparse does with an option; but of one that takes many values and is given again, it keeps them all."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        before = getattr(namespace, self.dest, self.default)
        again = option_string is not None and self.nargs in ("+", "*") and before is not self.default
        setattr(namespace, self.dest, [*before, *values] if again else values)


class Parser(argparse.ArgumentParser):
    """Reports a wrong option of a command as any other wrong input: in one line, with the nearest that there is. Values
    of an option that takes many add up where it is given again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in (None, "store"):
            self.register("action", name, _Store)

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        _, unknown, options = message.partition("unrecognized arguments: ")
        if unknown and options.startswith("--"):
            known = [name for name in self._option_string_actions if name.startswith("--")]
            where = f"the options of {self.prog}"
            raise unknown_key(options.split()[0].split("=")[0], known, where, prefix="--", alike=OPTIONS_ALIKE)
        raise InputError(message)

    def _check_value(self, action: argparse.Action, value: object) -> None:  # called by argparse
        if action.choices is not None and value not in action.choices:
            name = "/".join(action.option_strings) or action.metavar or action.dest
            raise unknown_key(str(value), map(str, action.choices), f"the choices of {name}")


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends the process as an exception does, so that what lies aside is removed."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return
    told = False

    def end(*_: object) -> None:
        nonlocal told
        told = True
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Exception as error:
        if told:  # in the middle of a library, which made another error of it
            raise SystemExit(TERMINATED) from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_on_input_error(main: Callable[[], object]) -> None:
    """Run a command's `main`; an InputError becomes one line on stderr and exit code 2, a RunStopped exit code 1, a
    TryAgain 75 (EX_TEMPFAIL), Ctrl-C exit code 130, and SIGTERM 143 where the command does not hear it itself. A name
    that no file can have, as it is too long, is a wrong input wherever a command looks for it. Where whoever read the
    output has gone, as `head` does, it ends without a word."""
    try:
        with ended_in_order():
            _with_names_in_one_line(main)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_broken():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        sys.exit(UNREAD)
    except (InputError, RunStopped) as error:
        if os.environ.get("RANK", "0") != "0":  # rank 0 mostly says the same, and its launcher then ends this one first
            time.sleep(10)
        sys.stderr.write(f"error: {_printable(str(error))}\n")
        codes = {InputError: 2, TryAgain: os.EX_TEMPFAIL, RunStopped: 1}
        sys.exit(next(code for kind, code in codes.items() if isinstance(error, kind)))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except SystemExit as error:
        if error.code == TERMINATED:
            sys.stderr.write("terminated\n")
        raise


def _stdout_is_broken() -> bool:
    """Whether the other end of the pipe that this process writes to is closed."""
    asked = select.poll()
    asked.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))


def _with_names_in_one_line(main: Callable[[], object]) -> None:
    try:
        main()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(f"{str(error.filename)[:LONGEST]}... is too long for the name of a file") from error


def _printable(text: str) -> str:
    """The same in one line: what is no sign, as a name or a value may hold it, is written as its number. A terminal
    would obey some of them."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
