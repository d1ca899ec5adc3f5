"""What is done to a file whose format is known: wrong keys, values, types, columns and shapes in a whole file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ABSURD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400,
    0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"),
    "", " ", "nan", "0", "1e999", "../..", "/", "a\u2028b\u0085c\vd", "\ufeff", "\0", "\x1b[31mred", "\ud800",
    "x" * 5000, "%s{}${a}",
    [], {}, [[]], [None], ["a", 1, {}], {"a": {"b": []}}, [0] * 3, [[0, 1], [2]], {"": ""},
)  # fmt: skip
RECORD = re.compile(r"[\[{]")
ENCODINGS = ("utf-16", "utf-16-le", "latin-1", "utf-8-sig", "utf-32", "cp037")
CHARACTERS = (
    "\u2028",
    "\u0085",
    "\v",
    "\f",
    "\0",
    "\r",
    "\t",
    '"',
    "\\",
    "\ufeff",
    "\u202e",
    "\x1b[2J",
    "😀",
    ",",
    ";",
    ":",
    "{",
    "]",
    "&a *a",
)


def change_tree(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """One to three values or keys of a JSON, JSONL or YAML file become something else."""
    text = path.read_text()
    if path.suffix == ".yaml":
        path.write_bytes(yaml.safe_dump(_changed(yaml.safe_load(text), chance), allow_unicode=False).encode())
        return
    parts = text.split("\n") if path.suffix == ".jsonl" else [text]
    full = [place for place, part in enumerate(parts) if RECORD.search(part)]
    if full:
        place = chance.choice(full)
        begin = RECORD.search(parts[place]).start()  # behind a checksum, where it has one
        parts[place] = parts[place][:begin] + json.dumps(_changed(json.loads(parts[place][begin:]), chance))
    path.write_text("\n".join(parts))


def _changed(tree: Any, chance: Random) -> Any:
    for _ in range(chance.randint(1, 3)):
        holder = [tree]
        places = list(_places(holder))
        where, key = chance.choice(places)
        _change(where, key, chance)
        tree = holder[0]
    return tree


def _places(tree: Any) -> Any:
    """Every (container, key) of a tree."""
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


def _change(where: Any, key: Any, chance: Random) -> None:
    kind = chance.randrange(8)
    if kind == 0:
        del where[key]
        if isinstance(where, list) and not where:
            where.append(None)
    elif kind == 1 and isinstance(where, dict):
        where[chance.choice([f"{key}s", str(key).upper(), "", "\u2028", "x" * 2000])] = where.pop(key)
    elif kind == 2:
        where[key] = [where[key]]
    elif kind == 3 and isinstance(where, list):
        where.insert(key, where[key])
    elif kind == 4 and isinstance(where[key], str):
        text, place = where[key], chance.randrange(len(where[key]) + 1)
        where[key] = text[:place] + chance.choice(CHARACTERS) + text[place:]
    elif kind == 5 and isinstance(where[key], int | float):
        where[key] = chance.choice([-where[key], where[key] * 1000, where[key] + 0.5, str(where[key])])
    else:
        where[key] = chance.choice(ABSURD)


def change_text(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """Characters come in, lines come twice or go, or the text is in another encoding."""
    text = path.read_text()
    kind = chance.randrange(7)
    if kind == 0:
        path.write_bytes(text.encode(chance.choice(ENCODINGS), "replace"))
    elif kind == 1:
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(text) + 1)
            text = text[:place] + chance.choice(CHARACTERS) + text[place:]
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    elif kind == 2:
        lines = text.splitlines(keepends=True) or [""]
        place = chance.randrange(len(lines))
        path.write_bytes(
            "".join(lines[:place] + lines[place:][:1] * chance.choice([0, 2, 5000]) + lines[place + 1 :]).encode()
        )
    elif kind == 3:
        path.write_bytes(text.replace("\n", chance.choice(["\r\n", "\r", "\n\n", " "])).encode())
    elif kind == 4:
        place = chance.randrange(len(text) + 1)
        path.write_bytes(
            (text[:place] + chance.choice(["[", "{", '"', "a: ", "- ", ","]) * 100_000 + text[place:]).encode()
        )
    elif kind == 5:
        path.write_bytes((text + "x" * 2_000_000).encode())
    else:
        place = chance.randrange(len(text) + 1)
        number = chance.choice(["9" * 5000, "1e999", "-0", "0x10", "1_000", "NaN", "-Infinity", "٣"])
        path.write_bytes((text[:place] + number + text[place:]).encode())


def change_arrays(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """An array of an .npz or .npy file gets another shape, type or name, a head that lies, or goes."""
    if path.suffix == ".npy":
        path.write_bytes(_lie(path.read_bytes(), chance))
        return
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files}
    name = chance.choice(sorted(arrays))
    array, kind = arrays[name], chance.randrange(7)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[chance.choice([name + "s", "", "../" + name])] = arrays.pop(name)
    elif kind == 2:
        arrays[name] = _as_type(array, chance)
    elif kind == 3:
        arrays[name] = chance.choice([array[..., None], array[None], array.ravel(), array.ravel()[:0], np.zeros(())])
    elif kind == 4 and array.size and array.dtype.kind in "fiu":
        arrays[name] = array.astype(float)
        arrays[name].flat[chance.randrange(array.size)] = chance.choice([np.nan, np.inf, 1e308, -1e30, 2.0**63])
    elif kind == 5:
        arrays[name] = np.concatenate([array.ravel()] * 3)
    np.savez(path, **arrays)
    if kind == 6:
        _lie_inside(path, name, chance)


def _as_type(array: np.ndarray, chance: Random) -> np.ndarray:
    kind = chance.choice(["U8", "S3", "complex128", "bool", "int8", "float16", "M8[s]", "longdouble", "V8"])
    try:
        return array.astype(kind)
    except (ValueError, TypeError):
        return np.zeros(array.shape, kind)


def _lie(data: bytes, chance: Random) -> bytes:
    """An array whose head says another shape or type."""
    head = chance.choice(
        [
            b"(1099511627776, 4)",
            b"(-1, 4)",
            b"(2, 2, 2)",
            b"()",
            b"(0, 0)",
            b"(99999999999999999999,)",
            b"('a',)",
            b"(9,",
        ]
    )
    begin, end = data.find(b"'shape': ") + 9, data.find(b")", data.find(b"'shape': ")) + 1
    return data[:begin] + head + data[end:]


def _lie_inside(path: Path, name: str, chance: Random) -> None:
    import zipfile

    with zipfile.ZipFile(path) as kept:
        members = {each: kept.read(each) for each in kept.namelist()}
    if f"{name}.npy" in members:
        members[f"{name}.npy"] = _lie(members[f"{name}.npy"], chance)
    with zipfile.ZipFile(path, "w") as changed:
        for each, data in members.items():
            changed.writestr(each, data)


def change_table(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """A column of a parquet file gets another name, type or values, or goes; rows come twice, in disorder, or go."""
    table = pq.read_table(path)
    name, kind = chance.choice(table.column_names), chance.randrange(8)
    place, rows = table.column_names.index(name), len(table)
    if kind == 0:
        table = table.drop_columns([name])
    elif kind == 1:
        table = table.rename_columns([f"{each}s" if each == name else each for each in table.column_names])
    elif kind == 2:
        table = table.set_column(place, name, _column(rows, chance))
    elif kind == 3:
        table = table.slice(0, chance.choice([0, 1, max(rows - 1, 0)]))
    elif kind == 4:
        table = table.take(chance.sample(range(rows), rows))
    elif kind == 5:
        table = pa.concat_tables([table, table])
    elif kind == 6:
        table = table.append_column(name, table.column(name))
    else:
        values = table.column(name).to_pylist()
        if values:
            values[chance.randrange(rows)] = chance.choice([None, values[0]])
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, path)


def _column(rows: int, chance: Random) -> pa.Array:
    return chance.choice(
        [
            pa.array(["text"] * rows),
            pa.array([None] * rows, pa.float32()),
            pa.array([-1] * rows, pa.int64()),
            pa.array([2**62] * rows, pa.int64()),
            pa.array([float("nan")] * rows, pa.float64()),
            pa.array([[1.0, 2.0]] * (rows - 1) + [[1.0]] * (rows > 0), pa.list_(pa.float32())),
            pa.array([{"a": 1}] * rows),
            pa.array([b"\0\xff"] * rows, pa.binary()),
            pa.array([[]] * rows, pa.list_(pa.float32())),
            pa.array([[None, 1.0]] * rows, pa.list_(pa.float32())),
            pa.array([True] * rows),
            pa.array([0] * rows, pa.timestamp("ns")),
        ]
    )


def change_safetensors(path: Path, chance: Random, others: Sequence[Path]) -> None:
    """The head of a safetensors file lies, or tensors have other names, shapes or values."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind, name = chance.randrange(5), chance.choice(sorted(set(head) - {"__metadata__"}))
    if kind == 0:
        length = chance.choice([0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1])
        path.write_bytes(length.to_bytes(8, "little") + data[8:])
        return
    if kind == 1:
        head[chance.choice([f"{name}.x", "", name.replace(".", "_"), "lora_A.weight", "a.lora_down.weight"])] = (
            head.pop(name)
        )
    elif kind == 2:
        head[name]["shape"] = chance.choice(
            [[], [1], head[name]["shape"][::-1], [2**40, 2**40], [*head[name]["shape"], 1]]
        )
    elif kind == 3:
        head[name]["dtype"] = chance.choice(["F64", "I8", "BOOL", "F8_E4M3", "X9", None])
    else:
        head = _changed(head, chance)
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


STRUCTURED: dict[str, list[Callable[[Path, Random, Sequence[Path]], None]]] = {
    ".json": [change_tree, change_tree, change_text],
    ".jsonl": [change_tree, change_text],
    ".yaml": [change_tree, change_tree, change_text],
    ".csv": [change_text],
    ".txt": [change_text],
    ".npz": [change_arrays],
    ".npy": [change_arrays],
    ".parquet": [change_table],
    ".safetensors": [change_safetensors],
}
