#!/usr/bin/env python
"""`vgen blend` from a checkout: python tools/blend.py --help"""

from vgen.commands.blend import main
from vgen.errors import exit_on_input_error

if __name__ == "__main__":
    exit_on_input_error(main)
