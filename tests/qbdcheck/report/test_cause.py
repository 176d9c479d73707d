"""The one line that says why."""

from __future__ import annotations

import pytest

from qbdcheck.report.cause import cause_of

TRACEBACK = """Traceback (most recent call last):
  File "suites/iotests/017_discard_reads_zero.py", line 12, in test
    assert io.map() == []
AssertionError: map is not empty
"""


@pytest.mark.parametrize(
    ("message", "details", "cause"),
    [
        pytest.param(
            "3 sectors differ\nsector 17: stale (generation 4, expected 7)\nsector 18: lost",
            "    assert sector == expected",
            "sector 17: stale (generation 4, expected 7)",
            id="what the disk holds comes first",
        ),
        pytest.param(
            "",
            "some log\nqemu-io died by SIGSEGV\nmore",
            "qemu-io died by SIGSEGV",
            id="then what died",
        ),
        pytest.param(
            "", "stacks:\nthe case timed out after 60 s\n", "the case timed out after 60 s",
            id="then what took too long",
        ),
        pytest.param(
            "output differs",
            "--- a\n+++ b\n@@ -4,3 +4,2 @@\n one\n-two\n three\n",
            "output line 5 is missing: 'two'",
            id="a line of output that is missing",
        ),
        pytest.param(
            "output differs",
            "--- a\n+++ b\n@@ -1 +1,2 @@\n one\n+two\n",
            "output line 2 is not expected: 'two'",
            id="a line of output too many",
        ),
        pytest.param(
            "read 512 bytes at 4096:",
            "    io.read(4096, 512)\nE   read 512 bytes at 4096:\nE     sector 8: lost",
            "sector 8: lost",
            id="the lines of the error itself are read too",
        ),
        pytest.param(
            "map differs", "    assert offset == expected", "map differs", id="source is no cause"
        ),
        pytest.param("", TRACEBACK, "AssertionError: map is not empty", id="then the exception"),
        pytest.param("E   assert 1 == 2\nmore", TRACEBACK, "assert 1 == 2", id="message wins"),
        pytest.param("", "\n\n  it is odd\n", "it is odd", id="then any line"),
        pytest.param("", "", "", id="nothing"),
    ],
)  # fmt: skip
def test_the_most_useful_line_is_found(message: str, details: str, cause: str) -> None:
    assert cause_of(message, details) == cause


def test_the_cause_is_one_printable_line_of_at_most_200_characters() -> None:
    cause = cause_of("boom\x1b[2J " + "x" * 500, "")
    assert len(cause) == 200
    assert cause.isprintable()
