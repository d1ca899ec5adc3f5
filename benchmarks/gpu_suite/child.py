"""The process of one part of a check: python -m gpu_suite.child '{"module": ..., "part": ..., ...}'

It imports what the check needs, waits for a line on its standard input, which holds what checks before it have found,
and tells each finding in a line of JSON. Whatever else libraries print goes to standard error."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

from gpu_suite.task import Task, one_line


def main() -> None:
    """Runs the part that the command line describes."""
    given = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def write(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    def tell(name: str, line: str, **values: Any) -> None:
        write(name=name, line=line, values=values)

    try:
        module = importlib.import_module(given["module"])
        write(ready=True)
        go = sys.stdin.readline()
        if not go:  # nobody waits any more
            return
        began = time.monotonic()
        module.run(Task(given["part"], given["toy"], given["model"], json.loads(go)), tell)
        write(ended=time.monotonic() - began)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        write(failed=one_line(error))
    sys.stderr.flush()
    os._exit(0)  # a library that hangs or aborts while the process goes down changes nothing of what was found


if __name__ == "__main__":
    main()
