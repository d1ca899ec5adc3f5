"""The examples that a module's docstring gives, run as they stand there."""

from textwrap import dedent


def run_example(module):
    """Runs the indented lines of a module's docstring among the module's own names, and gives all names."""
    lines = module.__doc__.splitlines()
    code = dedent("\n".join(line for line in lines if line.startswith("    ") or not line))
    names = dict(vars(module))
    exec(code, names)
    return names
