"""This case checks that after shrinking nothing behind the new end can be read or written.

How: a raw client tries right behind the new end and at the old one. What is left must be untouched.
Guards: resize-not-notified, size-change-across-reconnect.
Related: oob-past-end.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import Command

OLD, NEW = 8 << 20, 4 << 20


@case(
    groups="size quick protocol",
    requires="raw_requests resize",
    basis=("POLICY: new-size-is-seen", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk, nbd, nbd_io, target):
    block = max(512, target.minimum_block)
    disk = new_disk(OLD)
    old = disk.size
    disk.resize(NEW)
    new = disk.size  # a target may round both
    if new == old:
        raise NotRun(f"the target makes no volume of {NEW} bytes")
    with nbd(disk) as client:
        seen = f"shrunk to {new} bytes: expected that size on the wire, got {client.size}"
        assert client.size == new, seen
    for offset in (new, new - 256, old - block):
        for command in (Command.READ, Command.WRITE):
            with nbd_io(disk) as io:  # the server may close it
                io.must_refuse(command, offset, block)
    disk.verify()
