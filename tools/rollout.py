#!/usr/bin/env python
"""`vgen rollout` from a checkout: python tools/rollout.py --help"""

from vgen.commands.rollout import main
from vgen.errors import exit_on_input_error

if __name__ == "__main__":
    exit_on_input_error(main)
