#!/usr/bin/env python
"""`vgen export` from a checkout: python tools/export.py --help"""

from vgen.commands.export import main
from vgen.errors import exit_on_input_error

if __name__ == "__main__":
    exit_on_input_error(main)
