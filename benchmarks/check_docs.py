#!/usr/bin/env python
"""Runs every command and every piece of Python of the README and of docs/, page by page, each in a fresh folder.

    python benchmarks/check_docs.py
    python benchmarks/check_docs.py README.md docs/ego.md

A page is run in a folder that holds a copy of what the commands need, so nothing is written beside the documents. A
block that cannot be run everywhere says so in the line before it, which a reader does not see:

    <!-- not run: needs a GPU -->                 the block is left out, and the reason is printed
    <!-- run with: max_minutes=0.1 -->            so much is added to `vgen train` and launch/train_local.sh
    <!-- twice: --overwrite -->                   anywhere in a page: all of it is run a second time, with that added
                                                  to the commands that write results

Exit code 1 says that a block failed; its file and line are named.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from vgen.errors import InputError, Parser, RunStopped, exit_on_input_error

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("vgen", "configs", "tools", "launch", "benchmarks", "docs")
MARKER = re.compile(r"<!-- (not run|run with|twice): (.+?) -->")
TRAINING = re.compile(r"(vgen train|bash launch/train_local\.sh) ")
WRITING = re.compile(r"vgen (infer|rollout|edit|export|blend) ")
RUNNER = """
import sys
for block in sys.argv[2:]:
    line, file = block.split(":", 1)
    exec(compile("\\n" * int(line) + open(file).read(), sys.argv[1], "exec"), globals())
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the file, relative to the repository.
        line: where its fence opens, from 1.
        language: what the fence says: "bash", "python", "json" or "".
        code: what is in it.
        left_out: why it is not run; "" where it is.
        added: what is added to its trainings.
    """

    page: str
    line: int
    language: str
    code: str
    left_out: str = ""
    added: str = ""

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The lines of a bash block, those that end with a backslash joined, without comments and texts of files."""
        code = re.sub(r"<<'(\w+)'(.*?)\n.*?\n\1$", r"\2", self.code, flags=re.DOTALL | re.MULTILINE)
        lines = re.sub(r"\\\n\s*", "", code).splitlines()
        return [command for line in lines if (command := re.sub(r"(^|\s+)# .*$", "", line).strip())]


def pages() -> list[Path]:
    """Every page, the README first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, opened, marker = [], None, ("", "")
    name = str(page.relative_to(ROOT))
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if opened is None and line.startswith("```"):
            opened, code = (number, line[3:].strip()), []
        elif opened is not None and line.startswith("```"):
            kind, text = marker
            left_out, added = (text if kind == "not run" else ""), (text if kind == "run with" else "")
            found.append(Block(name, *opened, "\n".join(code), left_out, added))
            opened, marker = None, ("", "")
        elif opened is not None:
            code.append(line)
        elif match := MARKER.match(line):
            marker = match.groups()
        elif line:
            marker = ("", "")
    return found


def second_pass(page: Path) -> str:
    """What is added to the commands of a page when it is run a second time; "" where it is run once."""
    return next((text for kind, text in MARKER.findall(page.read_text(encoding="utf-8")) if kind == "twice"), "")


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="all, when none is named")
    named = [Path(name).resolve() for name in parser.parse_args().pages] or pages()
    for page in named:
        if not page.is_file() or ROOT not in page.parents:
            raise InputError(f"{page} is no page of {ROOT}")
    began, run = time.monotonic(), 0
    for page in named:
        run += run_page(page)
    print(f"{run} blocks ran as they should, in {time.monotonic() - began:.0f} s")


def run_page(page: Path) -> int:
    """Runs a page in a folder of its own; says how many blocks ran.

    Raises:
        RunStopped: a block failed.
    """
    ready = [block for block in blocks(page) if block.language in ("bash", "python")]
    for block in ready:
        if block.left_out:
            print(f"{block.place} is not run: {block.left_out}", flush=True)
    ready = [block for block in ready if not block.left_out]
    if not ready:
        return 0
    with tempfile.TemporaryDirectory() as aside:
        work = Path(aside) / "copy"
        environment = make_copy(work)
        passes = [""] + [again for again in [second_pass(page)] if again]
        for again in passes:
            for block in ready:
                if block.language == "bash":
                    run_block(block, ["bash", "-euo", "pipefail", "-c", changed(block, again)], work, environment)
            run_python([block for block in ready if block.language == "python"], work, environment)
    return len(ready) * len(passes)


def make_copy(work: Path) -> dict[str, str]:
    """Copies what commands need, and gives an environment in which `vgen` and `python` are those of this process."""
    work.mkdir()
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, work / name)
    programs = work.parent / "programs"
    programs.mkdir()
    for name, options in (("python", ""), ("vgen", " -m vgen")):
        program = programs / name
        program.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}"{options} "$@"\n')
        program.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(work), "HF_HUB_OFFLINE": "1"}


def changed(block: Block, again: str) -> str:
    """The code of a bash block, with what its page adds for a check."""
    lines = re.sub(r"\\\n\s*", "", block.code).splitlines()
    for at, line in enumerate(lines):
        more = [block.added] * bool(TRAINING.match(line)) + [again] * bool(WRITING.match(line))
        command, *remark = re.split(r"(?=\s+# )", line, maxsplit=1)
        lines[at] = " ".join([command, *filter(None, more)]) + "".join(remark)
    return "\n".join(lines)


def run_python(ready: list[Block], work: Path, environment: dict[str, str]) -> None:
    """Runs the Python of a page in one interpreter, so that a block may go on from the one before."""
    if not ready:
        return
    files = []
    for block in ready:
        file = work / f"block-{block.line}.py"
        file.write_text(block.code)
        files.append(f"{block.line}:{file}")
    run_block(ready[0], [sys.executable, "-c", RUNNER, ready[0].page, *files], work, environment)


def run_block(block: Block, command: list[str], work: Path, environment: dict[str, str]) -> None:
    """Runs a block, and prints how long it took.

    Raises:
        RunStopped: it failed.
    """
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", flush=True)
        raise RunStopped(f"{block.place}: the block ended with {done.returncode}; what it said is above")
    print(f"{block.place} {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    exit_on_input_error(main)
