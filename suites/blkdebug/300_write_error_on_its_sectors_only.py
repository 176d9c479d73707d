"""This case checks that a write error of the backend affects only the sectors that it covers.

How: ENOSPC for writes that touch one block at sector 2048. Writes on both sides and a read there
must succeed, and so must the same write once the fault is healed. Then writes fail once: the newest
acknowledged data must be there, whether the backend repeats the failed write or not.
Guards: async-error-ignored, errno-collapsed, error-kills-connection, failed-write-done-later,
retry-with-empty-payload.
Related: transient-becomes-fatal.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.faulted_requests import expect_faulted

START = 1 << 20


@case(
    groups="errors rw quick",
    basis=("POLICY: failed-write-old-or-new", "POLICY: failure-is-not-sticky"),
)
def test(disk, qemu_io, target, rules):
    length = max(4096, target.minimum_block)
    sectors = {"sector": f"2048-{2047 + length // 512}", "iotype": "write"}
    fault = rules.add({"event": "write_aio", "errno": "ENOSPC", **sectors})
    with qemu_io(disk) as io:
        for offset in (START, START - 2048, START + length - 512):
            request = f"write of {length} bytes at {offset}"
            with expect_faulted(rules, fault, IoFailed, request, disk) as caught:
                io.write(offset, length)
            expect_equal(caught.value.reason, "No space left on device", request)
        fired = rules.seen(fault).fired
        assert fired >= 3, f"three writes failed, but the disk below failed only {fired}"
        io.write(START - length, length)
        io.write(START + length, length)
        io.read(START - length, 3 * length)
        beside = rules.seen(fault).fired - fired
        rules.heal()
        io.write(START, length)
        fails_once(io, rules, sectors, length)
    disk.verify()
    assert not beside, (
        f"no request touched the sectors with the fault, but the disk below failed {beside} writes"
        " there: a write that failed was done again later, or one went to a wrong place"
    )


def fails_once(io, rules, sectors, length):
    """Write where the first write fails, and again if that was reported; then go on."""
    rules.add({"event": "write_aio", "errno": "ENOSPC", "once": True, **sectors})
    try:
        io.write(START, length)
    except IoFailed:
        io.write(START, length)
    for offset in (0, 2 * START, 0):
        io.read(offset, length)
