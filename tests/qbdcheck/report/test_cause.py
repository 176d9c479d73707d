"""The one line with the cause of a failure."""

from __future__ import annotations

import pytest

from oracles.damage import Content, Damage, What, error
from oracles.finding import Finding
from oracles.life import Moment
from qbdcheck.report.cause import cause_of, main_finding

TRACEBACK = """Traceback (most recent call last):
  File "suites/iotests/017_discard_reads_zero.py", line 12, in test
    assert io.map() == []
AssertionError: map is not empty
"""


@pytest.mark.parametrize(
    ("message", "details", "cause"),
    [
        pytest.param(
            "",
            "some log\nqemu-io died by SIGSEGV\nmore",
            "qemu-io died by SIGSEGV",
            id="what died comes first",
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
            "output differs",
            "--- a\n+++ b\n@@ -1,3 +1,3 @@\n what  A  B\n-EIO   EIO  EIO\n+EIO   EIO  EPERM\n"
            " x y z\nat",
            "output line 2: what EIO: expected EIO, got EPERM in column B; no other line differs",
            id="a row of a table",
        ),
        pytest.param(
            "read 512 bytes at 4096:",
            "    io.read(4096, 512)\nE   read 512 bytes at 4096:\nE     sector 8: lost",
            "read 512 bytes at 4096: sector 8: lost",
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


TORN = Finding(Damage.TORN, 8704, 512, seen=Content(What.ZEROES), part=(0, 256))
EIO = Finding(Damage.ERROR, seen=error(5), expected=error(0), request="read 0+512")
STUCK = Finding(Damage.HANG, remark="timed out after 60 s")


def test_findings_of_an_oracle_come_before_all_text() -> None:
    cause = cause_of("qemu-io died by SIGSEGV", "timed out", [EIO, TORN])
    assert cause.startswith("offset 8704 (0x2200), sector 17, 512 bytes: torn at byte 256")
    assert cause_of("2 mismatches:", "", [EIO]).startswith("read 0+512: Input/output error (5)")


def test_a_finding_of_a_hang_does_not_replace_the_text() -> None:
    assert cause_of("timed out after 60 s\nstuck in read", "", [STUCK]) == "timed out after 60 s"
    assert cause_of("qemu died by SIGSEGV", "", [STUCK]) == "qemu died by SIGSEGV"


def test_names_of_damage_in_a_message_are_not_findings() -> None:
    assert cause_of("odd\nsector 3: stale, expected zeroes", "") == "odd"


def test_a_lost_write_comes_before_lost_prefill_as_far_as_its_life_is_known() -> None:
    life = (Moment("write", 3, 4096, 512),)
    prefill = Finding(Damage.ZEROED, 0, 512, expected=Content(What.STAMP, 0, 0, 0, 1, 2), life=life)
    write = Finding(
        Damage.ZEROED, 4096, 512, expected=Content(What.STAMP, 3, 3, 0, 1, 2), life=life
    )
    assert main_finding([prefill, write]) is write
    unknown = Finding(Damage.ZEROED, 4096, 512, expected=write.expected)
    assert main_finding([prefill, unknown]) is prefill
