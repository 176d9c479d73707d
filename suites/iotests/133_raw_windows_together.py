"""This case checks that two windows onto one volume, written in turns, do not disturb each other.

How: two exports of neighbouring parts of a volume. Each client must see only its own data, and the
volume must contain both in the end.
Guards: extent-boundary-misroute.
Related: cross-connection-state, shared-cursor-race.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import node

MIB = 1 << 20
MIDDLE, SIZE = MIB + 512, 2 * MIB


@case(groups="format rw export quick", basis="MUST: QAPI, BlockdevOptionsRaw")
def test(new_disk, qemu_io, storage_daemon):
    disk = new_disk(SIZE)
    halves = {"low": (0, MIDDLE), "high": (MIDDLE, SIZE - MIDDLE)}
    with storage_daemon() as qsd:
        below = qsd.add(disk.protocol_blockdev("below"))
        clients = []
        for name, (start, size) in halves.items():
            qsd.add(node("raw", name, offset=start, size=size, file=below))
            shadow = Shadow(size, disk.shadow.identity)
            shadow.write(0, disk.shadow.expected(start, size))
            clients.append((start, shadow, qemu_io(qsd.export(name), shadow=shadow)))
        for turn in range(6):
            for _start, shadow, io in clients:
                io.write(turn * 150_001, 70_000)
                io.write(shadow.size - 512 * (turn + 1), 512)
                io.read(turn * 100_000, 50_000)
        for start, shadow, io in clients:
            io.read(shadow.size - 65536, 65536)
            io.flush()
            io.close()
            disk.shadow.write(start, shadow.expected(0, shadow.size))
    disk.verify()
