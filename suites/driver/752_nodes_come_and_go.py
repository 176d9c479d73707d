"""This case checks that nodes of the driver can be added and removed in a running QEMU.

How: nodes of two volumes are added, read and written through an export, and removed, in turn, while
a third node stays in use. What a closed node left behind (a timer, a connection, freed memory)
shows itself in the next one, or kills QEMU while it idles.
Guards: late-request-after-quiesce, wrong-volume-or-lun, connection-slot-leak.
"""

from qbdcheck.kit import case, pause

ROUNDS = 3


@case(groups="rw export", requires="own_driver", limit_s=60, basis="MUST: QAPI, blockdev-add")
def test(disk, new_disk, storage_daemon, qemu_io):
    stays, second = new_disk("1M"), new_disk("1M")
    with storage_daemon() as qsd:
        qsd.add(stays.blockdev(node_name="stays"))
        lasting = qsd.export("stays", name="lasting")
        for number in range(2 * ROUNDS):
            one, name = (disk, second)[number % 2], f"node{number}"
            qsd.add(one.blockdev(node_name=name))
            export = qsd.export(name, id=name)
            with qemu_io(export, shadow=one.shadow) as io:
                io.read(0, 4096)
                io.write(number * 8192, 8192)
            qsd.execute("block-export-del", {"id": name, "mode": "hard"})
            qsd.wait_event("BLOCK_EXPORT_DELETED", id=name)
            qsd.execute("blockdev-del", {"node-name": name})
        pause(0.5)
        with qemu_io(lasting, shadow=stays.shadow) as io:
            io.write(4096, 4096)
            io.read(0, 65536)
    for one in (disk, second, stays):
        one.verify()
