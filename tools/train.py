#!/usr/bin/env python
"""`vgen train` from a checkout: python tools/train.py --help"""

from vgen.commands.train import main
from vgen.errors import exit_on_input_error

if __name__ == "__main__":
    exit_on_input_error(main)
