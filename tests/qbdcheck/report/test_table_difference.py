"""A difference in a table names its columns."""

from __future__ import annotations

import pytest

from qbdcheck.report.table_difference import table_difference

HEADS = " injected  read   write  flush"


def row(sign: str, *words: str) -> str:
    return sign + "  ".join(words)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [HEADS, row("-", *["ENOSPC"] * 4), row("+", "ENOSPC", *["EIO"] * 3)],
            "injected ENOSPC: expected ENOSPC, got EIO in all 3 columns; no other line differs",
        ),
        (
            [HEADS, row("-", *["EIO"] * 4), row("+", "EIO", "EIO", "EPERM", "EPERM")],
            "injected EIO: expected EIO, got EPERM in columns write, flush; no other line differs",
        ),
        (
            [
                HEADS,
                row("-", *["EIO"] * 4),
                row("-", *["EROFS"] * 4),
                row("+", *["EIO"] * 3, "ok"),
                row("+", *["EROFS"] * 3, "ok"),
            ],
            "injected EIO: expected EIO, got ok in column flush; 1 more line differs",
        ),
        ([HEADS, row("-", *["EIO"] * 4), row("+", "EIO", "EIO", "a", "b")], ""),
        ([HEADS, row("-", *["EIO"] * 4), row("+", *["EPERM"] * 4)], ""),
        ([HEADS, row("-", *["EIO"] * 4), row("+", *["EIO"] * 3)], ""),
        ([HEADS, row("-", *["EIO"] * 4)], ""),
        ([" a line", row("-", "a", "b"), row("+", "a", "c")], ""),
        ([row("-", *["EIO"] * 4), row("+", "EIO", *["EPERM"] * 3)], ""),
        ([], ""),
    ],
)
def test_rows_are_compared_by_columns(lines: list[str], said: str) -> None:
    assert table_difference(lines) == said


def test_many_columns_are_counted() -> None:
    names = [f"c{number}" for number in range(10)]
    right = row("-", "x", *["1"] * 10)
    wrong = row("+", "x", *["2"] * 6, *["1"] * 4)
    found = table_difference([row(" ", "what", *names), right, wrong])
    assert "in 6 of 10 columns (c0, c1, c2, c3, ...)" in found
