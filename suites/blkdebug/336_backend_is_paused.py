"""This case checks that a backend that is stopped for some time causes a delay, and loses no data.

How: requests are in flight when the server is stopped by SIGSTOP. None may complete meanwhile.
After SIGCONT all must complete, on all connections, and every byte must be right.
Guards: inflight-hang-on-disconnect.
Related: zombie-write-after-reconnect.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.paused_backend import paused

LENGTH = 16384


@case(
    groups="inject rw protocol concurrent",
    requires="nbd",
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: QAPI, BlockdevOptionsNbd"),
)
def test(disk, nbd_io, storage_daemon, qemu_io):
    shadow = disk.shadow
    with storage_daemon() as qsd, nbd_io(disk) as client:
        qsd.add(disk.blockdev("disk"))
        with qemu_io(qsd.export("disk"), shadow=shadow) as io:
            io.write(0, LENGTH)
            with paused(disk.backend):
                for number in range(1, 9):
                    io.aio_write(number << 16, LENGTH)
                client.send(Command.WRITE, 1 << 20, LENGTH)
                pause(0.1)
                sock = client.client.sock
                sock.setblocking(False)
                try:
                    early = sock.recv(1)
                except BlockingIOError:
                    early = None
                sock.setblocking(True)
                assert early is None, f"the stopped server sent a reply: {early!r}"
            io.drain()
            client.finish_all()
            io.flush()
    disk.verify()
