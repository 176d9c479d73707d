"""This case checks that a write error of the backend affects only the sectors that it covers.

How: ENOSPC for writes that touch one block at sector 2048. Writes on both sides and a read there
must succeed, and so must the same write once the fault is healed.
Guards: async-error-ignored, errno-collapsed, error-kills-connection, transient-becomes-fatal.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.expectations import expect_equal, expect_failure

START = 1 << 20


@case(groups="errors rw quick", basis="POLICY: failed-write-old-or-new")
def test(disk, qemu_io, target, rules):
    length = max(4096, target.minimum_block)
    sectors = {"sector": f"2048-{2047 + length // 512}", "iotype": "write"}
    fault = rules.add({"event": "write_aio", "errno": "ENOSPC", **sectors})
    with qemu_io(disk) as io:
        for offset in (START, START - 2048, START + length - 512):
            with expect_failure(IoFailed, f"write of {length} bytes at {offset}") as caught:
                io.write(offset, length)
            expect_equal(
                caught.value.reason,
                "No space left on device",
                f"write of {length} bytes at {offset}",
            )
        expect_equal(rules.seen(fault).fired, 3, "how often the rule fired after three writes")
        io.write(START - length, length)
        io.write(START + length, length)
        io.read(START - length, 3 * length)
        expect_equal(
            rules.seen(fault).fired,
            3,
            "how often the rule fired after requests next to its sectors",
        )
        rules.heal()
        io.write(START, length)
    disk.verify()
