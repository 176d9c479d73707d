"""This case checks that each export's flush and growth last, on a server with several exports.

How: writes on all exports of a server; each is flushed on its own connection, in another order than
it was written; one grows by an odd number of blocks, and is written at its new end and flushed.
Then the server stops, is killed, and loses its power, as far as the target supports it. Each export
has the acknowledged size and its flushed data.
Guards: flush-first-export-only, growth-lost-in-cut, flush-noop.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.server_ends import end, ways_of
from qbdcheck.kit.volume_limits import size_unit

KIB = 1 << 10


@case(
    groups="flush size crash",
    requires="raw_requests flush add_volume resize",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: new-size-is-seen"),
)
def test(new_disk, nbd_io, target, seed):
    unit = size_unit(target)
    for way in ways_of(new_disk(4096)):
        first = new_disk("1M")
        disks = [first, *(new_disk("512K", beside=first) for _ in range(2))]
        for round_, growth in enumerate((512, 64 * KIB + 512, 4096)):
            grown = disks[round_]
            grown.resize(grown.size + widened(0, growth, unit)[1])
            with contextlib.ExitStack() as opened:
                clients = [opened.enter_context(nbd_io(disk)) for disk in disks]
                for disk, io in zip(disks, clients, strict=True):
                    for at in range(round_ * 4096, 512 * KIB, 80 * KIB):
                        io.write(at, 4096)
                    block = max(512, io.block_sizes[0])
                    io.write(*widened(disk.size - block, block, block))
                for io in reversed(clients):
                    io.flush()
            end(first, way, seed + round_)
            for disk in disks:
                with nbd_io(disk) as io:
                    expect_bytes(io.client.size, disk.size, f"{disk.name} after {way}")
                    io.read(0, disk.size)
