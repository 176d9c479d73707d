"""Keeps compiled code although PYTHONDONTWRITEBYTECODE says not to, as images of containers do.

A case starts Python servers; each would compile all its modules anew, which takes longer than the
rest of the case. The compiled files go into the project's own ``__pycache__`` directories, which
git ignores. ``python -B`` is obeyed: whoever types that means it. Standard library only, and no new
syntax: `check` calls this before anything else is known.
"""

import os
import sys

VARIABLE = "PYTHONDONTWRITEBYTECODE"


def keep_bytecode() -> None:
    """Let this process, and the programs that it starts, write compiled code."""
    if os.environ.pop(VARIABLE, "") != "":
        sys.dont_write_bytecode = False
