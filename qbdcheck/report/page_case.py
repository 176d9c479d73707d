"""The bugs that a case guards against: its ``Guards:`` line, with what docs/bugs.md says of each.

A case may be gone by the time a page is made.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from qbdcheck.files import ROOT

_GUARDS = re.compile(r"^Guards:((?:.|\n(?!\n))*)", re.MULTILINE)
_BUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.*?) \|", re.MULTILINE)


def guarded(case: Path) -> list[tuple[str, str]]:
    """Return the bugs that a case guards against, with what each does; none if the file is gone."""
    try:
        return [(bug, bugs().get(bug, "")) for bug in guarded_bugs(case)]
    except (OSError, ValueError, SyntaxError):
        return []


def guarded_bugs(case: Path) -> list[str]:
    """Return the bugs of a case's ``Guards:`` line, in its order.

    :raise OSError, ValueError, SyntaxError: the file is gone, or is no Python.
    """
    text = ast.get_docstring(ast.parse(case.read_bytes())) or ""
    guards = _GUARDS.search(text.replace("-\n", "-"))
    return _BUG.findall(guards[1]) if guards else []


@cache
def bugs() -> dict[str, str]:
    """Return what each bug of docs/bugs.md does, by its name; empty if the file is not there."""
    try:
        return dict(_ROW.findall((ROOT / "docs/bugs.md").read_text(encoding="utf-8")))
    except OSError:
        return {}
