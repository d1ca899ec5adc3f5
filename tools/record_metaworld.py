#!/usr/bin/env python
"""`vgen record metaworld` from a checkout: python tools/record_metaworld.py --help"""

import sys

from vgen.commands import record
from vgen.errors import exit_on_input_error


def main() -> None:
    record.main(["metaworld", *sys.argv[1:]])


if __name__ == "__main__":
    exit_on_input_error(main)
