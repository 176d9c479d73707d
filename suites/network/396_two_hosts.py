"""This case checks that network faults delay requests to a remote volume, and lose no data.

How: the server is on a simulated host (a network namespace), reached over TCP. The link goes down
with writes in flight and comes back; the connections are lost meanwhile, as after a restart; the
link is slow; packets are lost, late and out of order. No request fails, and every byte is right.
Guards: inflight-hang-on-disconnect, zombie-write-after-reconnect.
"""

from qbdcheck.kit import NotRun, case, pause
from qbdcheck.kit.nbd_link import Link
from qbdcheck.kit.netns_host import NetnsHost

LENGTH = 65536


def start_writes(io, turn):
    for number in range(16):
        io.aio_write((number << 18) + (turn << 16), LENGTH)


@case(
    groups="protocol network concurrent slow",
    requires="nbd",
    basis=("MUST: QAPI, BlockdevOptionsNbd", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, storage_daemon, qemu_io, not_run):
    with NetnsHost() as host:
        link = Link(disk.backend, host.listen())
        try:
            with storage_daemon() as qsd:
                qsd.add(disk.protocol_blockdev("disk", reconnect_delay=30))
                with qemu_io(qsd.export("disk"), shadow=disk.shadow) as io:
                    io.write(4096, 1 << 20)
                    io.read(0, 2 << 20)
                    for loses_connections in (False, True):
                        before = link.accepted
                        host.unplug()
                        start_writes(io, loses_connections)
                        pause(0.3)  # the time without a link is what is tested
                        if loses_connections:
                            link.cut()
                        host.plug_in()
                        io.drain()
                        if loses_connections:  # QEMU tries until the server answers
                            assert link.accepted > before, "no new connection after a lost one"
                    host.limit_rate(80)
                    start_writes(io, 2)
                    io.drain()
                    host.restore()
                    try:
                        host.impair("loss", "2%", "delay", "2ms", "2ms", "reorder", "10%")
                    except NotRun as reason:
                        not_run(str(reason))
                    start_writes(io, 3)
                    io.drain()
                    io.flush()
                disk.verify()
        finally:
            link.close()
