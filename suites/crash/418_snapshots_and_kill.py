"""This case checks that snapshots and clones are complete or absent when their server was killed.

How: snapshots are taken and removed and a clone is made; after each the server is killed while a
client has written more than it flushed, and started again; all that was there is read, and what was
removed stays removed.
Guards: snapshot-map-under-io, snapshot-delete-shared-block, clone-copyup-lost, flush-noop.
"""

from qbdcheck.kit import ProgramError, case

KIB = 1 << 10


def write(disk, nbd, start):
    with nbd(disk) as client:
        for at in range(start, 1024, 100):
            data = disk.shadow.stamped(at * KIB, 9 * KIB)
            client.write(at * KIB, data)
            disk.shadow.write(at * KIB, data)
        client.flush()
        disk.shadow.flush()


def killed(disk, nbd, *others):
    client = nbd(disk)
    for at in range(60, 1024, 150):
        data = disk.shadow.stamped(at * KIB, 5 * KIB)
        client.write(at * KIB, data)
        disk.shadow.write(at * KIB, data)
    disk.backend.kill()
    client.sock.close()
    disk.backend.start()
    for one in (disk, *others):
        one.verify()


@case(groups="snapshot flush crash", requires="nbd flush kill clone snapshot_remove resize")
def test(new_disk, nbd):
    disk = new_disk("1536K")
    first = disk.snapshot("first")
    write(disk, nbd, 3)
    killed(disk, nbd, first)
    second = disk.snapshot("second")
    write(disk, nbd, 40)
    clone = first.clone("copy")
    killed(disk, nbd, first, second, clone)
    write(clone, nbd, 20)
    clone.resize(2 << 20)
    first.remove()
    killed(disk, nbd, second, clone)
    try:
        first.read_all()
    except ProgramError:
        return
    raise AssertionError("a snapshot that was removed is there again")
