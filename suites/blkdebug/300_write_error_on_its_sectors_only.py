"""This case checks that a write error of the backend affects only the sectors that it covers.

How: ENOSPC for writes that touch sectors 2048 to 2055. Writes on both sides and a read there must
succeed, and so must the same write once the fault is healed.
Guards: async-error-ignored, errno-collapsed, error-kills-connection, transient-becomes-fatal.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.expectations import expect_equal, expect_failure

START, LENGTH = 1 << 20, 4096


@case(groups="errors rw quick", basis="POLICY: failed-write-old-or-new")
def test(disk, qemu_io, rules):
    sectors = {"sector": "2048-2055", "iotype": "write"}
    fault = rules.add({"event": "write_aio", "errno": "ENOSPC", **sectors})
    with qemu_io(disk) as io:
        for offset in (START, START - 2048, START + LENGTH - 512):
            with expect_failure(IoFailed, f"write of {LENGTH} bytes at {offset}") as caught:
                io.write(offset, LENGTH)
            expect_equal(
                caught.value.reason,
                "No space left on device",
                f"write of {LENGTH} bytes at {offset}",
            )
        expect_equal(rules.seen(fault).fired, 3, "how often the rule fired after three writes")
        io.write(START - LENGTH, LENGTH)
        io.write(START + LENGTH, LENGTH)
        io.read(START - LENGTH, 3 * LENGTH)
        expect_equal(
            rules.seen(fault).fired,
            3,
            "how often the rule fired after requests next to its sectors",
        )
        rules.heal()
        io.write(START, LENGTH)
    disk.verify()
