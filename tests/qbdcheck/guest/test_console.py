"""Lines of a guest's console that report trouble, and those that only say that it waits."""

from __future__ import annotations

import pytest

from qbdcheck.guest.console import are_late, bad_lines

WAITS = "[  363.785633] INFO: task kworker/1:0:22 blocked for more than 108 seconds."
STALL = "[   80.1] rcu: rcu_sched self-detected stall on CPU"
PANIC = "[   80.2] Kernel panic - not syncing"
READ = "[   80.3] Buffer I/O error on dev vdb, logical block 0"


@pytest.mark.parametrize(
    ("lines", "late"),
    [([WAITS], True), ([WAITS, STALL], True), ([WAITS, PANIC], False), ([READ], False)],
)
def test_lines_about_time_are_told_from_those_about_damage(lines: list[str], late: bool) -> None:
    assert bad_lines(["[ 1.0] harmless", *lines]) == lines
    assert are_late(lines) is late
