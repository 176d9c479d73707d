"""This case checks that snapshots, clones and further volumes survive a power cut of their server.

How: a volume with two snapshots, a clone of one, and a second volume, all written, some flushed,
when power fails, three times. Snapshots hold what they held. On each volume, flushed data is there,
and the rest old or new.
Guards: flush-noop.
Related: snapshot-not-point-in-time, clone-copyup-lost, flush-one-child-only.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut, rounds

KIB = 1 << 10


@case(
    groups="snapshot flush crash",
    requires="raw_requests flush sudden_end clone add_volume",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "POLICY: snapshot-is-one-moment",
        "POLICY: clone-is-independent",
    ),
)
def test(new_disk, nbd_io, qemu_io, seed):
    disk = new_disk("1M")
    other = new_disk("1536K", beside=disk)
    first = disk.snapshot("first")
    clone = first.clone("copy")
    with qemu_io(disk) as io:
        io.write(64 * KIB, 200 * KIB)
        io.flush()
    second = disk.snapshot("second")
    for round_ in rounds(3):
        clients = []
        for number, one in enumerate((disk, clone, other)):
            client = nbd_io(one)
            clients.append(client)
            for flushed in (True, False):
                for at in range(0, 1024, 128):
                    offset = (at + 20 * number + 8 * round_) * KIB + 4096 * flushed
                    client.write(offset, 8 * KIB)
                if flushed:
                    client.flush()
        cut(disk, seed + round_)
        for client in clients:
            client.client.sock.close()
        for one in (disk, other, clone, first, second):
            one.verify()
