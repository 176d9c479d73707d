"""This case checks that one error of both sides is no mismatch, and one of a single side is.

How: blkdebug over both sides, and over one of them. QEMU's blkverify reports a read that fails with
the same errno on both sides as a mismatch of contents (a false report); the dual write does not.
Related: async-error-ignored, errno-collapsed.
"""

from oracles.workload import Kind, Request
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import node

READ = [(Request(1, Kind.READ, 0, 4096),)]
FAIL = "rules: [{event: read_aio, iotype: read, errno: ENOSPC}]"
RULE = [{"event": "none", "iotype": "read", "errno": 28}]


@case(groups="verify errors", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    both = dual_write.by_qemu("blkverify", disk, READ, wrap=failing)
    one = dual_write.by_qemu("blkverify", disk, READ, wrap=failing_second())
    assert both.what in {"contents", "error"}, f"blkverify, both sides fail: {both}"
    one.must_be("return value", "blkverify, one side fails")
    pair = dual_write(disk, rules=FAIL)
    pair.must_find_one(pair.run(READ), damage="error", side="target")
    pair = dual_write(disk)
    pair.must_find_none(pair.run([(Request(1, Kind.READ, disk.size - 4096, 8192),)]))


def failing(below):
    """Put blkdebug over a node: all reads fail."""
    return node("blkdebug", None, image=below, inject_error=RULE)


def failing_second():
    """Put blkdebug over the second of two nodes only."""
    seen = []

    def wrap(below):
        seen.append(below)
        return failing(below) if len(seen) == 2 else below

    return wrap
