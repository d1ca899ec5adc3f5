#!/usr/bin/env python
"""`vgen edit` from a checkout: python tools/edit_trajectory.py --help"""

from vgen.commands.edit import main
from vgen.errors import exit_on_input_error

if __name__ == "__main__":
    exit_on_input_error(main)
