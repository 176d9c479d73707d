"""This case checks that block status comes in order, from the start asked for, and never empty.

How: ranges over data, zeroes and the end; following the extents reaches the end of the disk; the
union of what REQ_ONE tells, one extent at a time, says the same as whole replies.
Guards: malformed-extents, zero-progress-status, status-unaligned-eof, status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import CommandFlag

BASE = "base:allocation"
ZERO = 2


def walk(client, size, flags, step):
    """Follow the extents to the end; return the flags of each 512 bytes."""
    told, at = bytearray(), 0
    while at < size:
        asked = min(step, size - at)
        extents = client.block_status(at, asked, flags)[BASE]
        assert extents, "no extent at all"
        assert all(extent.length > 0 for extent in extents), f"an empty extent: {extents}"
        if flags & CommandFlag.REQ_ONE:
            assert len(extents) == 1, f"{len(extents)} extents with REQ_ONE"
            assert extents[0].length <= asked, f"REQ_ONE goes beyond: {extents}"
        before = sum(extent.length for extent in extents[:-1])
        assert before < asked, f"an extent begins beyond the range: {extents}"
        for length, state in extents:
            told += bytes([state & 3]) * (length // 512)
            at += length
    assert at == size, f"status goes to {at}, the disk to {size}"
    return bytes(told)


def must_be_the_same(told, whole, how):
    """What is told of each 512 bytes does not depend on how it is asked for."""
    assert len(told) == len(whole), f"block status of {len(told)} sectors {how}, not {len(whole)}"
    differ = [number for number, state in enumerate(told) if state != whole[number]]
    assert not differ, (
        f"block status of sector {differ[0]} and {len(differ) - 1} more: {told[differ[0]]} {how},"
        f" expected {whole[differ[0]]} as of the whole disk"
    )


@case(groups="protocol status quick", requires="nbd structured block_status")
def test(disk, nbd, target):
    with nbd(disk) as client:
        if "write_zeroes" in target.capabilities:
            for at in range(1 << 20, 4 << 20, 1 << 19):
                client.write_zeroes(at, 1 << 18)
                disk.shadow.zero(at, 1 << 18)
        whole = walk(client, disk.size, 0, disk.size)
        one = CommandFlag.REQ_ONE
        must_be_the_same(walk(client, disk.size, one, disk.size), whole, "by REQ_ONE")
        must_be_the_same(walk(client, disk.size, 0, (1 << 18) + 65536), whole, "in steps")
        must_be_the_same(walk(client, disk.size, one, 3 << 17), whole, "by REQ_ONE in steps")
        seen = disk.shadow.expected(0, disk.size)
        for number, state in enumerate(whole):
            if state & ZERO:
                assert not any(seen[number * 512 : number * 512 + 512]), (
                    f"block status {state} calls sector {number} zeroes, expected data"
                )
    disk.verify()
