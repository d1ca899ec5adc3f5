"""Weights that other packages carry."""

from importlib.util import find_spec
from pathlib import Path

from vgen.errors import InputError


def packaged_file(package: str, inside: str, install: str) -> Path:
    """A file inside an installed package; the package is not imported.

    Args:
        package: what it is imported as.
        inside: the file's place in it.
        install: the command that installs it.

    Raises:
        InputError: the package, or the file in it, is not there.
    """
    spec = find_spec(package)
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        if (file := Path(folder, inside)).is_file():
            return file
    raise InputError(f"the package {package} with its {inside} is not installed; install it with: {install}")
