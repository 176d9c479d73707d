"""This case checks that the backend survives NBD requests of length 0, and changes nothing.

How: NBD leaves the result open ("behavior is unspecified"), so success and any error are right, in
a reply of a valid form. The next requests on the same connection must work as before. The volume
ends within a cluster.
Guards: zero-length-op.
Related: payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name, recommended
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import (
    block_sizes,
    call_for_errno,
    expect_read,
    is_offered,
    request_name,
    widened,
)

SIZE = (8 << 20) + 2048
COMMANDS = (Command.READ, Command.WRITE, Command.TRIM, Command.CACHE, Command.WRITE_ZEROES)


@case(
    groups="rw quick protocol",
    requires="nbd",
    basis=("POLICY: zero-length-changes-nothing", "MUST: NBD, Structured reply types"),
)
def test(new_disk, nbd, log):
    disk = new_disk(SIZE)
    with nbd(disk) as client:
        minimum = block_sizes(client).minimum
        for command in (one for one in COMMANDS if is_offered(client, one)):
            middle = disk.size // 2 // minimum * minimum
            for offset in (0, minimum, middle, disk.size):
                with recommended("NBD, Request types"):  # "the server SHOULD NOT disconnect"
                    error = call_for_errno(client, command, offset, 0)
                name = request_name(command, offset, 0)
                log(f"{name}: {errno_name(error)}")
                place = widened(offset // 2, 512, minimum)
                expect_read(client, disk.shadow, *place, after=name)
    disk.verify()
