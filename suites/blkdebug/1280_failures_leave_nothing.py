"""This case checks that requests that fail have no effect on the requests that follow them.

How: writes, zeroes, discards and reads fail once each, with one of several errnos, also those that
mean "try again". What fails was read and changed before. A failed write is repeated with other data
and read at once and a few requests later; other clusters are written for the first time; the
request after a failed one succeeds. After 100 failures the volume still works, and all other data
is as it was.
Guards: failed-write-done-later, double-allocation-after-error, error-of-previous-request,
failure-leaks-slot, busy-counts-as-done, retry-with-empty-payload, some-read-errors-ignored,
async-error-ignored, read-repair-writes-old.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.nbd import Command, TransmissionFlag

KIB, CLUSTER, CLUSTERS = 1 << 10, 65536, 128
ERRNOS = ("EIO", "ENOSPC", "EAGAIN", "ENOMEM", "ETIMEDOUT", "ENOLINK", "EBUSY")
EVENTS = {Command.WRITE: "write_aio", Command.READ: "read_aio"}


@case(
    groups="errors inject rw quick",
    requires="nbd",
    basis=("MUST: NBD, Error values", "POLICY: failed-write-old-or-new"),
)
def test(new_disk, nbd_io, rules, seed):
    disk = new_disk(CLUSTERS * CLUSTER, prefill=False)
    rules = rules.on(disk)
    random = seed.stream("places")
    with nbd_io(disk) as io:
        for number in range(0, CLUSTERS, 2):
            io.write(number * CLUSTER, 8 * KIB)
        for turn in range(28):
            number = turn * 2
            errno = ERRNOS[turn % len(ERRNOS)]
            for command, event in EVENTS.items():
                io.read(number * CLUSTER, 4 * KIB)
                io.write(number * CLUSTER, 4 * KIB)
                fails(io, rules, event, errno, command, number * CLUSTER)
            io.write(number * CLUSTER, 8 * KIB)
            io.write((number + 1) * CLUSTER, 4 * KIB)
            for _ in range(3):
                io.read(number * CLUSTER, 16 * KIB)
            io.read(random.randrange(CLUSTERS) * CLUSTER, CLUSTER)
        rule = rules.add({"event": "read_aio", "errno": "EIO"})
        for _ in range(100):
            assert io.attempt(Command.READ, 0, 4096), "READ of 4096 bytes at 0: expected an error"
        rules.remove(rule)
        if io.offers(TransmissionFlag.SEND_FLUSH):
            io.flush()
        io.read(0, disk.size)
    disk.verify()


def fails(io, rules, event, errno, command, offset):
    """Let one request fail; it must report an error, and the next two must succeed."""
    rule = rules.add({"event": event, "errno": errno, "once": True})
    seen = io.attempt(command, offset, 4096)
    what = f"{command.name} of 4096 bytes at {offset} that fails with {errno}"
    assert seen > 0, f"{what}: expected an error, got {errno_name(seen)}"
    assert rules.seen(rule).fired == 1, f"{what}: the storage was asked again"
    rules.remove(rule)
    for at in (offset + CLUSTER // 2, offset):
        io.read(at, 4096)
