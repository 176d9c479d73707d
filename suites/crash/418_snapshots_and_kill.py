"""This case checks that snapshots and clones are complete or absent when their server was killed.

How: snapshots are taken and removed, and a clone is made. After each step the server is killed
while a client has written more than it flushed, and restarted. All snapshots and clones are read,
and a removed one stays removed.
Guards: snapshot-map-under-io, snapshot-delete-shared-block, clone-copyup-lost, flush-noop.
"""

from qbdcheck.kit import ProgramError, case

KIB = 1 << 10


def write(disk, nbd_io, start):
    with nbd_io(disk) as io:
        for at in range(start, 1024, 100):
            io.write(at * KIB, 9 * KIB)
        io.flush()


def kill(disk, nbd_io, *others):
    io = nbd_io(disk)
    for at in range(60, 1024, 150):
        io.write(at * KIB, 5 * KIB)
    disk.backend.kill()
    io.client.sock.close()
    disk.backend.start()
    for one in (disk, *others):
        one.verify()


@case(
    groups="snapshot flush crash",
    requires="raw_requests flush kill clone snapshot_remove resize",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "POLICY: snapshot-is-one-moment",
        "POLICY: clone-is-independent",
    ),
)
def test(new_disk, nbd_io):
    disk = new_disk("1536K")
    first = disk.snapshot("first")
    write(disk, nbd_io, 3)
    kill(disk, nbd_io, first)
    second = disk.snapshot("second")
    write(disk, nbd_io, 40)
    clone = first.clone("copy")
    kill(disk, nbd_io, first, second, clone)
    write(clone, nbd_io, 20)
    clone.resize(2 << 20)
    first.remove()
    kill(disk, nbd_io, second, clone)
    try:
        first.read_all()
    except ProgramError:
        return
    raise AssertionError("the removed snapshot is there again after SIGKILL")
