#!/usr/bin/env python
"""`vgen data convert` from a checkout: python tools/convert.py --help"""

import sys

from vgen.commands import data
from vgen.errors import exit_on_input_error


def main() -> None:
    data.main(["convert", *sys.argv[1:]])


if __name__ == "__main__":
    exit_on_input_error(main)
