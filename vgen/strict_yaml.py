"""YAML as strict as a spec needs it: a key given twice is an error, not a silent choice of the last one."""

from __future__ import annotations

from collections.abc import Hashable
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from vgen.checks import show
from vgen.errors import InputError

MAX_BYTES = 2**20


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for index, (key, _) in enumerate(node.value):
            if key.value in keys[:index]:
                problem = f"key {show(key.value)} is given twice; keep one"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def load_yaml(file: str | PathLike[str]) -> Any:
    """What a small YAML file holds.

    Raises:
        InputError: the file is missing, no text, larger than 1 MiB, empty or not YAML, or gives a key twice.
    """
    file = Path(file)
    try:
        if file.stat().st_size <= MAX_BYTES:
            data = yaml.load(file.read_text(encoding="utf-8"), _StrictLoader)
        else:
            raise InputError(f"{show(file)} has {file.stat().st_size} bytes; a spec is a text of at most {MAX_BYTES}")
    except OSError as error:
        raise InputError(f"cannot read the spec {show(file)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{show(file)} is not a text; a spec is YAML in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{show(file)} is not valid YAML{line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{show(file)} is not valid YAML: {' '.join(str(error).split())[:120]}") from error
    if data is None:
        raise InputError(f"{show(file)} is empty; a spec names at least frames and size")
    return data
