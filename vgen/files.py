"""Files that are whole or not there, and what a disk refuses, said in one line."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path

from vgen.checks import show
from vgen.errors import InputError, RunStopped, TryAgain

PART = ".part"  # the last suffix of what is written aside
NOT_ALLOWED = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EINVAL,
        errno.EILSEQ,
    }
)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
PROBE = 1 << 20  # bytes: what a disk must be able to take that is said to be in order


@contextmanager
def writing(
    what: str | PathLike[str], kept: str = "what is done is kept", folder: str | PathLike[str] | None = None
) -> Iterator[None]:
    """A block that writes a file, or below a folder.

    Args:
        what: names it in the error.
        kept: for the error of a disk that is full: what the next start of the command finds; "" where that is nothing.
        folder: where a library writes: whatever it makes of a disk's refusal, see `disk_error`, is said the same way.

    Raises:
        InputError: a file stands where a folder must be, or the reverse; or there is no such folder, or nothing may be
            written there.
        TryAgain: the disk is full, a quota is used up, or the disk fails.
    """
    try:
        yield
    except (InputError, RunStopped):
        raise
    except OSError as error:
        raise refusal(what, (folder and disk_error(error, folder)) or error, kept) from error
    except Exception as error:
        found = disk_error(error, folder) if folder else None
        if found is None:
            raise
        raise refusal(what, found, kept) from error


def refusal(what: str | PathLike[str], error: OSError, kept: str = "what is done is kept") -> InputError | TryAgain:
    """The error that a user meets where a disk has refused; see `writing`."""
    line = f"{what} cannot be written: {reason(error, what)}"
    if error.errno in NOT_ALLOWED:
        return InputError(f"{line}; name another folder, or allow writing to this one")
    return TryAgain(f"{line}; {kept}{': ' if kept else ''}make room, then start the same command again")


def reason(error: OSError, named: str | PathLike[str] = "") -> str:
    """Why a disk refused, and the file where the line has not `named` it already. The name of a file aside is left
    out: it is none that a user has given, nor one to be found."""
    why = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.EEXIST:
        why = "a file stands where a folder must be"
    file = "" if error.filename is None else str(error.filename)
    return why if file in ("", str(named)) or file.endswith(PART) else f"{why} ({file})"


def disk_error(error: BaseException, folder: str | PathLike[str]) -> OSError | None:
    """The refusal of a disk that is behind an exception; None where there is none.

    Libraries wrap it, and some lose it: then it is what the disk refuses still, since what was written so far lies
    there. To be asked before that is removed.

    Args:
        folder: where was being written.
    """
    cause: BaseException | None = error
    while cause is not None:
        many = isinstance(cause, shutil.Error)  # of a tree that is copied: it has no number of its own
        if isinstance(cause, OSError) and not many and (cause is error or cause.errno != errno.ENOENT):
            return cause
        cause = cause.__cause__ or cause.__context__
    return probe(folder)


def probe(folder: str | PathLike[str], size: int = PROBE) -> OSError | None:
    """What the disk of a folder refuses: to make a file there, or to give it `size` bytes. Nothing is left of it. Where
    the folder is not there yet, the next one above it is asked."""
    folder = Path(folder).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    file = aside(folder / "probe")
    try:
        preallocate(file, size)
        file.unlink()
    except OSError as error:
        error.filename = str(folder)
        return error
    return None


def preallocate(file: str | PathLike[str], size: int) -> None:
    """Makes a file of `size` zero bytes that the disk has room for, or none at all: a map of it then meets no SIGBUS.

    Raises:
        OSError: it has not.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o666)
    try:
        if size:
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        os.unlink(file)
        raise type(error)(error.errno, error.strerror, str(file)) from None
    finally:
        os.close(descriptor)


def named(path: str | PathLike[str]) -> Path:
    """The same place by a name that others can be made of: `.` has none."""
    path = Path(path)
    return path if path.name else path.absolute()


def aside(path: str | PathLike[str]) -> Path:
    """A name beside `path` that nobody else uses: hidden, and ending in `.part`."""
    path = named(path)
    return path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}{PART}")


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """A name beside `path` to write a file under, with the rights that the user's umask gives; it takes the place of
    `path` when the block ends and the disk has it. Otherwise nothing is left of it.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    part = aside(path)
    try:
        yield part
        share(part)
        sync(part)
        os.replace(part, path)
        sync(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_whole(path: str | PathLike[str], content: bytes | str) -> None:
    """Writes a file, text as UTF-8: whole, or not at all. The folder must be there.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replaced_folder(path: str | PathLike[str]) -> Iterator[Path]:
    """A name for a folder that comes in the place of the one at `path`, if there is one, when the block ends and the
    disk has all that is in it; otherwise nothing is left of it. The name is `path` with `.part` behind it, and it is
    not made yet. A kill leaves the old folder, or, for the moment between two renames, both under other names: `.part`
    and `.old`.

    Raises:
        OSError: it cannot be written; then the old one is as it was.
    """
    path = Path(path)
    part, old = path.with_name(path.name + PART), path.with_name(path.name + ".old")
    shutil.rmtree(part, ignore_errors=True)
    try:
        yield part
        share(part)
        sync_all(part)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        part.rename(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def append(path: str | PathLike[str], text: str) -> None:
    """Adds text to a file, all of it or nothing; several processes may do so at once. The folder must be there.

    Raises:
        OSError: it cannot be written.
    """
    with open(path, "ab", buffering=0) as file:
        before, data, done = file.seek(0, os.SEEK_END), text.encode(), 0
        try:
            while done < len(data):
                done += file.write(data[done:])
        except OSError:
            with suppress(OSError):
                if file.seek(0, os.SEEK_END) == before + done:  # nobody has written behind it
                    file.truncate(before)
            raise


def share(path: str | PathLike[str]) -> None:
    """Gives a file, or all files below a folder, the rights that the user's umask gives to new ones. Libraries make
    some for their user alone, as safetensors does.

    Raises:
        OSError: the rights cannot be changed.
    """
    rights = 0o666 & ~_umask()
    below = [os.path.join(parent, name) for parent, _, names in os.walk(path) for name in names]
    for file in below if os.path.isdir(path) else [path]:
        mode = os.lstat(file).st_mode
        if stat.S_ISREG(mode) and rights & ~mode:
            os.chmod(file, stat.S_IMODE(mode) | rights)


def _umask() -> int:
    with suppress(OSError):
        found = re.search(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1], 8)
    mask = os.umask(0o077)  # no Linux: it is told only by changing it, for a moment in all threads
    os.umask(mask)
    return mask


def sync(path: str | PathLike[str]) -> None:
    """Waits until a file, or the names in a folder, are on the disk. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: str | PathLike[str]) -> None:
    """Waits until all that is below a folder is on the disk. Raises: OSError."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(os.path.join(parent, name))
        sync(parent)


def package_versions(packages: Iterable[str], absent: str | None = None) -> dict[str, str | None]:
    """The version of each package, and `absent` for those that are not installed."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return absent

    return {package: installed(package) for package in packages}


def file_sha256(file: str | PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {show(file)}: {error.strerror}") from error


@contextmanager
def locked(file: str | PathLike[str], by: str) -> Iterator[None]:
    """Holds a lock file while the block lasts, so that one process at a time works in its folder. A file system without
    locks is no stop: there the user has to look to it.

    Args:
        file: of the folder, which is there; the file is made.
        by: what holds it, as the message names another one.

    Raises:
        InputError: another one holds it.
        OSError: the file cannot be made.
    """
    file = Path(file)
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            told = f"{file.parent} is in use by another {by}; wait for it, or name another folder"
            raise InputError(told) from error
        except OSError:  # a file system without locks
            pass
        yield
