"""This case checks that a disk opened read-only cannot be changed, whichever way it was opened.

How: qemu-io -r, read-only nodes at either level, and a read-only export. Every kind of write must
be refused (error texts in the golden) and change nothing. Reads must work.
Related: unadvertised-command-executed, wrong-volume-or-lun.
"""

from qbdcheck.kit import ProgramError, QmpFailed, case

WRITES = ("write 0 512", "write -z 0 64k", "write -z -u 0 64k", "discard 0 64k", "write -f 512 512")


@case(groups="names rw errors quick", basis="MUST: QAPI, BlockdevOptions")
def test(disk, qemu_io, storage_daemon, golden):
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        exported = qsd.export("source", writable=False)
        locked = disk.protocol_blockdev(read_only=True)
        ways = {
            "qemu-io -r": lambda: qemu_io(disk, read_only=True),
            "read-only node": lambda: qemu_io(disk, options={"read_only": True}),
            "read-only protocol node": lambda: qemu_io(disk, options={"file": locked}),
            "read-only export": lambda: qemu_io(exported, shadow=disk.shadow),
            "read-only export, -r": lambda: qemu_io(exported, shadow=disk.shadow, read_only=True),
        }
        for way, opened in ways.items():
            try:
                io = opened()
            except ProgramError as error:
                golden(f"{way}: {str(error).rpartition(': ')[2].partition(' (')[0]}")
                continue
            with io:
                messages = {io(command).strip().splitlines()[-1] for command in WRITES}
                golden(f"{way}: {' | '.join(sorted(messages))}")
                io.read(0, 64 << 10)
        try:
            qsd.add(disk.blockdev("frozen", read_only=True))
            qsd.export("frozen", writable=True)
        except QmpFailed as error:
            golden(error.description)
    disk.verify()
