"""How a line of a table differs from the expected one: which columns, and what they have instead.

The heads of the columns are the first line of the diff; a row begins with what it is about.
"""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_COLUMNS = 3
_ALONE = "; no other line differs"
_NAMED = 4
"""Columns that are named."""


def table_difference(diff: Sequence[str]) -> str:
    """Return ``injected ENOSPC: expected ENOSPC, got EIO in all 10 columns``; "" for other text.

    :param diff: the lines of a unified diff from the first ``@@`` on, with their first characters.
    """
    lines = [line for line in diff if line[:1] in " -+" and not line.startswith(("---", "+++"))]
    gone = [line[1:].split() for line in lines if line.startswith("-")]
    added = [line[1:].split() for line in lines if line.startswith("+")]
    if not lines or not lines[0].startswith(" ") or len(gone) != len(added) or not gone:
        return ""
    heads = lines[0].split()
    rows = list(zip(gone, added, strict=True))
    if len(heads) < _LEAST_COLUMNS or not all(_are_rows(heads, *pair) for pair in rows):
        return ""
    expected, got = rows[0]
    columns = [at for at in range(1, len(heads)) if expected[at] != got[at]]
    pairs = {(expected[at], got[at]) for at in columns}
    if len(pairs) != 1:
        return ""
    ((wanted, seen),) = pairs
    others = len(rows) - 1
    more = f"; {others} more line{'s differ' if others > 1 else ' differs'}" if others else _ALONE
    where = _where([heads[at] for at in columns], len(heads) - 1)
    return f"{heads[0]} {expected[0]}: expected {wanted}, got {seen} in {where}{more}"


def _are_rows(heads: Sequence[str], expected: Sequence[str], got: Sequence[str]) -> bool:
    return len(heads) == len(expected) == len(got) and expected[0] == got[0] and expected != got


def _where(columns: Sequence[str], count: int) -> str:
    if len(columns) == count:
        return f"all {count} columns"
    if len(columns) > _NAMED:
        return f"{len(columns)} of {count} columns ({', '.join(columns[:_NAMED])}, ...)"
    plural = "s" if len(columns) > 1 else ""
    return f"column{plural} {', '.join(columns)}"
