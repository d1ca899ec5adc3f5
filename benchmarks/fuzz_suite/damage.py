"""What is done to a file: its bytes cut, turned and mixed, and another thing put in its place."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from fuzz_suite.structure import STRUCTURED

Damage = Callable[[Path, Random, Sequence[Path]], None]

# Names of the parts of files behind which sizes and counts lie.
MARKS = re.compile(
    rb"stts|stsz|stsc|stco|ctts|tkhd|mdhd|mvhd|elst|avcC|hvcC|stsd|strh|strf|avih|idx1|moof|trun|RIFF|VP8 |VP8X|ANMF"
    rb"|IHDR|acTL|fcTL|IDAT|iCCP|tEXt|\xff\xc0|\xff\xc2|\xff\xda|\xff\xe1|GIF8|II\*\x00|BM|PAR1|NUMPY|PK\x01\x02|PK\x03\x04"
    rb"|\x1a\x45\xdf\xa3|\x16\x54\xae\x6b|\x1f\x43\xb6\x75"
)
ABSURD_BYTES = (b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00", b"\xff" * 8)


def truncate(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Cuts a file anywhere, or just at a part's beginning."""
    data = path.read_bytes()
    marks = [found.start() for found in MARKS.finditer(data)]
    where = chance.choice(marks) if marks and chance.random() < 0.5 else chance.randrange(len(data) + 1)
    path.write_bytes(data[:where])


def flip_bits(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Turns 1 to 64 bits."""
    data = bytearray(path.read_bytes())
    for _ in range(2 ** chance.randrange(7)):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def absurd_header(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Absurd numbers behind a part's name, or near the beginning."""
    data = bytearray(path.read_bytes())
    marks = [found.end() for found in MARKS.finditer(data)] or [0]
    for _ in range(chance.randint(1, 2)):
        where, number = chance.choice(marks) + chance.randrange(48), chance.choice(ABSURD_BYTES)
        data[where : where + len(number)] = number
    path.write_bytes(data)


def blank_block(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """A stretch becomes zeros or noise."""
    data = bytearray(path.read_bytes())
    begin = chance.randrange(len(data) + 1)
    length = min(len(data) - begin, 2 ** chance.randrange(14))
    data[begin : begin + length] = bytes(length) if chance.random() < 0.5 else chance.randbytes(length)
    path.write_bytes(data)


def repeat_block(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """A stretch comes twice, or not at all."""
    data = path.read_bytes()
    begin = chance.randrange(len(data) + 1)
    end = min(len(data), begin + 2 ** chance.randrange(12))
    path.write_bytes(data[:end] + data[begin:] if chance.random() < 0.5 else data[:begin] + data[end:])


def splice(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """The beginning of this file and the end of another."""
    data, other = path.read_bytes(), chance.choice(others).read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :])


def mistag(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Another file's contents under this name."""
    path.write_bytes(chance.choice(others).read_bytes())


def empty(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Nothing, or hardly anything."""
    path.write_bytes(chance.choice([b"", b"\0", b"\n", b" " * 100, b"\0" * 4096, b"\xef\xbb\xbf"]))


def append(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Something behind the end, or before the beginning."""
    data, more = path.read_bytes(), chance.randbytes(2 ** chance.randrange(14))
    path.write_bytes(data + more if chance.random() < 0.7 else more + data)


def become_folder(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """A folder of this name."""
    path.unlink()
    path.mkdir()
    if chance.random() < 0.5:
        shutil.copy(chance.choice(others), path)


def become_link(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """A link to itself, or to nothing."""
    path.unlink()
    path.symlink_to(chance.choice([path.name, "nowhere"]))


def vanish(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """No file."""
    path.unlink()


def png_sizes(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Absurd numbers in the head of a PNG, its checksum right."""
    data = bytearray(path.read_bytes())
    if data[12:16] == b"IHDR":
        where = chance.choice([16, 20])
        data[where : where + 4] = chance.choice([b"\0\0\0\0", b"\0\0\xff\xff", b"\0\0\x40\0", b"\x7f\xff\xff\xff"])
        if chance.random() < 0.3:
            data[24], data[25] = chance.choice([1, 2, 4, 8, 16, 3]), chance.randrange(8)
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


BYTES: tuple[Damage, ...] = (
    truncate, truncate, flip_bits, flip_bits, absurd_header, absurd_header, blank_block, repeat_block, splice, mistag,
    append,
)  # fmt: skip
PLACES: tuple[Damage, ...] = (empty, become_folder, become_link, vanish)


def damage(path: Path, chance: Random, others: Sequence[Path], whole: bool = True) -> str:
    """Does one thing to a file, and says which.

    Args:
        path: of the file; what is a link becomes a file of its own first.
        chance: makes all choices.
        others: files to mix it with.
        whole: whether it is still what its name says.
    """
    if path.is_symlink():
        contents = path.read_bytes()
        path.unlink()
        path.write_bytes(contents)
    own = [png_sizes] if path.suffix == ".png" else STRUCTURED.get(path.suffix, [])
    draw = chance.random()
    if not whole:
        kinds: Sequence[Damage] = BYTES
    elif draw < 0.1:
        kinds = PLACES
    elif draw < 0.1 + (0.6 if path.suffix in STRUCTURED else 0.1) and own:
        kinds = own
    else:
        kinds = BYTES
    kind = chance.choice(kinds)
    kind(path, chance, others)
    return kind.__name__
