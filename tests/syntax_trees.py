"""The syntax trees of source files, each parsed once."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of the file at `path`.

    The trees of all files have a million nodes, and none of them is garbage. To look for garbage
    after each 700 of them takes longer than to parse them.
    """
    gc.disable()
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    finally:
        gc.enable()
