"""This case checks that block status comes in order, from the requested start, and is never empty.

How: ranges over data, zeroes and the end of the disk. The extents lead to the end of the disk, and
REQ_ONE, one extent at a time, reports the same as whole replies. The status may change meanwhile:
where they differ, both are taken again.
Guards: malformed-extents, status-unaligned-eof.
Related: zero-progress-status, status-hole-over-dirty.
"""

from oracles.damage import Content, Damage, What
from qbdcheck.kit import case
from qbdcheck.kit.block_status import agree
from qbdcheck.kit.expectations import WrongAnswer
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_requests import describe

BASE = "base:allocation"
ZERO = 2
STATES = ("data", "hole", "reads as zeroes", "hole that reads as zeroes")


def walk(client, size, flags, step):
    """Follow the extents to the end of the disk; return the state of each 512 bytes."""
    states, at = bytearray(), 0
    while at < size:
        asked = min(step, size - at)
        what = describe(Command.BLOCK_STATUS, at, asked, flags)
        extents = client.block_status(at, asked, flags)[BASE]
        assert extents, f"{what}: no extent"
        assert all(extent.length > 0 for extent in extents), f"{what}: an empty extent: {extents}"
        if flags & CommandFlag.REQ_ONE:
            assert len(extents) == 1, f"{what}: {len(extents)} extents, expected one"
            assert extents[0].length <= asked, f"{what}: beyond the range: {extents}"
        before = sum(extent.length for extent in extents[:-1])
        assert before < asked, f"{what}: an extent starts beyond the range: {extents}"
        for length, state in extents:
            states += bytes([state & 3]) * (length // 512)
            at += length
    assert at == size, f"the extents end at {at}, the disk at {size}"
    return bytes(states)


def expect_equal_states(states, whole, how):
    differ = [number for number, state in enumerate(states) if state != whole[number]]
    if differ:
        seen, wanted = STATES[states[differ[0]]], STATES[whole[differ[0]]]
        text = f"block status of sector {differ[0]} and {len(differ) - 1} more is {seen!r} {how}"
        text += f", and {wanted!r} in the status of the whole disk"
        raise WrongAnswer(text, Damage.STATUS, said(wanted), said(seen))


def said(state):
    return Content(What.TEXT, text=state)


@case(
    groups="protocol status quick",
    requires="nbd structured block_status",
    basis="MUST: NBD, NBD_CMD_BLOCK_STATUS",
)
def test(disk, nbd_io, target):
    with nbd_io(disk) as io:
        client = io.client
        if "write_zeroes" in target.capabilities:
            for at in range(1 << 20, 4 << 20, 1 << 19):
                io.write_zeroes(at, 1 << 18)
        size, one = disk.size, CommandFlag.REQ_ONE
        data = has_data(disk)
        for flags, step, how in (
            (one, size, "by REQ_ONE"),
            (0, (1 << 18) + 65536, "in steps"),
            (one, 3 << 17, "by REQ_ONE in steps"),
        ):
            agree(
                lambda: judged(walk(client, size, flags, step), data, how),  # noqa: B023
                lambda: judged(walk(client, size, 0, size), data, "of the whole disk"),
                lambda states, whole: expect_equal_states(states, whole, how),  # noqa: B023
            )
    disk.verify()


def has_data(disk):
    """Return for each 512 bytes whether they have data."""
    seen = disk.shadow.expected(0, disk.size)
    return [any(seen[at : at + 512]) for at in range(0, disk.size, 512)]


def judged(states, data, how):
    """Return states that are complete and call no data zero."""
    assert len(states) == len(data), (
        f"block status of {len(states)} sectors {how}, expected {len(data)}"
    )
    for number, state in enumerate(states):
        if state & ZERO and data[number]:
            text = f"block status of sector {number} is {STATES[state]!r} {how}, and it has data"
            raise WrongAnswer(text, Damage.STATUS, said("data"), said(STATES[state]))
    return states
