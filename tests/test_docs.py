"""What the documents say exists: links, files, commands and their options, and the names that their Python imports."""

import argparse
import ast
import inspect
import json
import re
from functools import cache
from importlib import import_module

import pytest
import yaml
from check_docs import MARKER, ROOT, blocks, pages

from vgen.commands.bench import FILES
from vgen.ego.injection import INJECTIONS
from vgen.trajectory.layouts import LAYOUTS

ALL = [
    *pages(),
    ROOT / "CHANGELOG.md",
    ROOT / "vgen/weights/nano/README.md",
    *sorted(ROOT.glob("configs/**/README.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"\b(?:configs|vgen|tools|benchmarks|launch|docs|tests)/[\w./*-]*\w(?:/|\.\w+)")
LANGUAGES = {"", "bash", "python", "json", "yaml", "toml", "bibtex"}
MADE = ("vgen/weights/yours",)  # paths that a reader makes


def prose(page):
    """The text of a page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page):
    """(line, command) of a page: of its bash blocks, and those in its text."""
    found = [(block.line, command) for block in blocks(page) if block.language == "bash" for command in block.commands]
    inline = re.findall(r"`((?:vgen|python) [^`]+)`", prose(page))
    return found + [(0, command) for command in inline]


@cache
def options(subcommand, second=""):
    """The long options of a subcommand of vgen, or of what it is given first."""
    parser = import_module(f"vgen.commands.{subcommand}").parser()
    deeper = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if subcommand == "bench":
        assert second in deeper[0], f"vgen bench has no {second}"
        return texts_of(ROOT / "benchmarks" / f"{FILES[second][0]}.py")
    parser = deeper[0][second] if deeper and second else parser
    return {option for action in parser._actions for option in action.option_strings}


def texts_of(script):
    """What looks like an option in a script, and in what benchmarks share."""
    files = [script, *sorted((ROOT / "benchmarks" / "bench_common").glob("*.py"))]
    return {option for file in files for option in re.findall(r"--[\w-]+", file.read_text(encoding="utf-8"))}


def calls(code):
    """The calls of what a block of Python imports from vgen by name, each with what is called; none with * or **."""
    tree = ast.parse(code)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("vgen")]
    names = {name.name: getattr(import_module(node.module), name.name) for node in imports for name in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in names:
            continue
        if all(word.arg for word in node.keywords) and not any(isinstance(each, ast.Starred) for each in node.args):
            yield node, names[node.func.id]


def ids(page):
    return str(page.relative_to(ROOT))


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", ALL, ids=ids)
def test_links_lead_somewhere(page):
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{ids(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{ids(page)}: {link}"


@pytest.mark.parametrize("page", ALL, ids=ids)
def test_paths_exist(page):
    for path in PATH.findall(page.read_text(encoding="utf-8")):
        assert path.startswith(MADE) or any(ROOT.glob(path.rstrip("/"))), f"{ids(page)}: {path}"


@pytest.mark.parametrize("page", pages(), ids=ids)
def test_options_exist(page):
    for line, command in commands(page):
        for part in re.split(r"&&|\||;", command):
            words = part.split()
            given = {word.split("=")[0] for word in words if re.match(r"--\w", word)}
            if words[:1] == ["vgen"] and len(words) > 1:
                known = given if words[1].startswith("-") else options(*words[1:3])
            elif words[:1] == ["python"] and len(words) > 1 and words[1].endswith(".py"):
                known = texts_of(ROOT / words[1])
            else:
                continue
            assert given <= known, f"{ids(page)}:{line}: {command}: no option {sorted(given - known)}"


@pytest.mark.parametrize("page", pages(), ids=ids)
def test_blocks_are_marked_and_well_formed(page):
    comments = re.findall(r"^<!--.*$", prose(page), re.MULTILINE)
    assert all(MARKER.fullmatch(each) for each in comments if "layouts" not in each), comments
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.place}: {block.language}"
        if block.language == "json":
            json.loads(block.code)
        elif block.language == "yaml":
            yaml.safe_load(block.code)
        elif block.language == "python":
            for node in ast.walk(ast.parse(block.code, block.place)):
                if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "vgen":
                    module = import_module(node.module)
                    missing = [name.name for name in node.names if not hasattr(module, name.name)]
                    assert not missing, f"{block.place}: {node.module} has no {missing}"
            for call, function in calls(block.code):
                given = {word.arg: None for word in call.keywords if word.arg}
                inspect.signature(function).bind(*[None] * len(call.args), **given)  # TypeError: it takes others


def test_what_contributors_are_shown_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    shown = [block for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "python"]
    assert len(shown) == 5
    try:
        for block in shown:
            exec(compile("\n" * block.line + block.code, block.page, "exec"), {})
        assert INJECTIONS["mean"](8, 4, 2)
    finally:
        LAYOUTS.pop("fingertip4", None)
        INJECTIONS.pop("mean", None)


def test_blocks_are_read_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr("check_docs.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "text\n\n<!-- not run: needs a GPU -->\n```bash\na --b \\\n    c  # why\n```\n\n"
        "```bash\ncat > x <<'END'\n# no\nEND\nd\n```\n"
    )
    first, second = blocks(page)
    assert (first.line, first.left_out, first.commands) == (4, "needs a GPU", ["a --b c"])
    assert (second.line, second.left_out, second.commands) == (9, "", ["cat > x", "d"])
