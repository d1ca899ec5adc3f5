#!/usr/bin/env python
"""`vgen infer` from a checkout: python tools/infer.py --help"""

from vgen.commands.infer import main
from vgen.errors import exit_on_input_error

if __name__ == "__main__":
    exit_on_input_error(main)
