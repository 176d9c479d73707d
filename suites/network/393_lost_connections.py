"""This case checks that lost connections cost time, or errors if QEMU may not wait.

How: with reconnect-delay the link is cut ten times under load, and no request fails. Without it
requests in flight fail at once, and later ones work. An open-timeout waits for the server, or ends.
Every byte is verified.
Guards: inflight-hang-on-disconnect, zombie-write-after-reconnect.
Related: connection-slot-leak.
"""

from qbdcheck.kit import IoFailed, Limit, QmpFailed, case, pause

LENGTH = 8192


def start_writes(io, count):
    for number in range(count):
        io.aio_write((number * 37 % 128) << 16, LENGTH)


def works_again(io):
    """Read until a read succeeds; a failed one may have started to connect."""
    limit = Limit(10)
    while not limit.is_over:
        try:
            io.read(0, LENGTH)
        except IoFailed:
            pause(0.02)
        else:
            return True
    return False


@case(
    groups="protocol network concurrent slow",
    requires="nbd",
    basis="MUST: QAPI, BlockdevOptionsNbd",
)
def test(disk, link, storage_daemon, qemu_io):
    with storage_daemon() as qsd:
        qsd.add(disk.protocol_blockdev("patient", reconnect_delay=30))
        with qemu_io(qsd.export("patient"), shadow=disk.shadow) as io:
            for _turn in range(10):
                start_writes(io, 32)
                link.cut()
                io.drain()
            io.flush()
        assert link.accepted >= 8, f"only {link.accepted} connections: the cuts hit none"
        qsd.add(disk.protocol_blockdev("hasty"))
        with qemu_io(qsd.export("hasty"), shadow=disk.shadow) as io:
            link.freeze()
            start_writes(io, 8)
            link.cut()
            link.thaw()
            try:
                io.drain()
            except IoFailed as error:
                reason = error.reason
                assert reason == "Input/output error", f"a lost write: {reason}, not EIO"
            else:
                raise AssertionError("8 writes succeeded although their connection was lost")
            assert works_again(io), "QEMU does not connect again"
        link.refuse()
        try:
            qsd.add(disk.protocol_blockdev("late", open_timeout=1))
        except QmpFailed as error:
            seen = error.description
            assert "initial magic" in seen, f"blockdev-add, connection refused: {seen}"
        else:
            raise AssertionError("blockdev-add succeeded although the server refuses connections")
        link.allow()
        qsd.add(disk.protocol_blockdev("late", open_timeout=30))
    disk.verify()
