"""Print the completion script of a shell.

vgen completion bash > ~/.local/share/bash-completion/completions/vgen
vgen completion zsh > "${fpath[1]}/_vgen"
vgen completion fish > ~/.config/fish/completions/vgen.fish
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import shtab

from vgen.commands import SUMMARIES
from vgen.commands.options import make_parser
from vgen.errors import Parser

SHELLS = ("bash", "zsh", "fish")


def parser() -> Parser:
    """The options."""
    parser = make_parser("completion", __doc__)
    parser.add_argument("shell", choices=SHELLS)
    return parser


def whole() -> Parser:
    """The parser of `vgen` with all its subcommands."""
    whole = Parser("vgen", allow_abbrev=False)
    commands = whole.add_subparsers(metavar="COMMAND")
    for name, summary in SUMMARIES.items():
        own = import_module(f"vgen.commands.{name}").parser()
        for action in own._actions:
            if action.nargs != 0 and action.choices is None and action.type not in (int, float):
                action.complete = shtab.FILE  # it may well be a path
        commands.add_parser(name, help=summary, parents=[own], add_help=False, allow_abbrev=False)
    return whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the script, as the options say."""
    options = parser().parse_args(arguments)
    print(shtab.complete(whole(), options.shell))
