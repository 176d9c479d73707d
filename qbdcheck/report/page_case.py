"""The bugs that a case names: its lines ``Guards:`` and ``Related:``, and what docs/bugs.md says.

``Guards:`` has the bugs that make the case fail. ``Related:`` has kinds of bugs that the case looks
for in another place than the seeded bug of that name, such as QEMU or an image format.

A case may be gone by the time a page is made.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from qbdcheck.files import ROOT

_LINE = r"^{}:((?:.|\n(?!\n|[A-Z][a-z]+:))*)"
_GUARDS = re.compile(_LINE.format("Guards"), re.MULTILINE)
_RELATED = re.compile(_LINE.format("Related"), re.MULTILINE)
_BUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.*?) \|", re.MULTILINE)


def guarded(case: Path) -> list[tuple[str, str]]:
    """Return the bugs that a case guards against, with what each does; none if the file is gone."""
    return _explained(guarded_bugs, case)


def related(case: Path) -> list[tuple[str, str]]:
    """Return the bugs that are related to a case, with what each does; none if the file is gone."""
    return _explained(related_bugs, case)


def _explained(named: Callable[[Path], list[str]], case: Path) -> list[tuple[str, str]]:
    try:
        return [(bug, bugs().get(bug, "")) for bug in named(case)]
    except (OSError, ValueError, SyntaxError):
        return []


def guarded_bugs(case: Path) -> list[str]:
    """Return the bugs of a case's ``Guards:`` line, in its order.

    :raise OSError, ValueError, SyntaxError: the file is gone, or is no Python.
    """
    return _named(_GUARDS, case)


def related_bugs(case: Path) -> list[str]:
    """Return the bugs of a case's ``Related:`` line, in its order.

    :raise OSError, ValueError, SyntaxError: the file is gone, or is no Python.
    """
    return _named(_RELATED, case)


def _named(line: re.Pattern[str], case: Path) -> list[str]:
    text = ast.get_docstring(ast.parse(case.read_bytes())) or ""
    found = line.search(text.replace("-\n", "-"))
    return _BUG.findall(found[1]) if found else []


@cache
def bugs() -> dict[str, str]:
    """Return what each bug of docs/bugs.md does, by its name; empty if the file is not there."""
    try:
        return dict(_ROW.findall((ROOT / "docs/bugs.md").read_text(encoding="utf-8")))
    except OSError:
        return {}
