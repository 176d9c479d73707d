"""Let Python write bytecode despite PYTHONDONTWRITEBYTECODE, which container images often set.

A case starts Python servers. Without bytecode each server compiles all its modules again, which
takes longer than the rest of the case. The bytecode goes to the project's ``__pycache__``
directories, which git ignores. ``python -B`` is respected. Standard library only and no new syntax:
`check` calls this before it checks the version of Python.
"""

import os
import sys

VARIABLE = "PYTHONDONTWRITEBYTECODE"


def keep_bytecode() -> None:
    """Let this process and its children write bytecode."""
    if os.environ.pop(VARIABLE, "") != "":
        sys.dont_write_bytecode = False
