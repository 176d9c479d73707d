"""This case checks that a backend that stands still for a while costs time, and no data.

How: requests are in flight when the server is stopped by SIGSTOP; none ends meanwhile, a new client
waits as well; when it goes on all end well, in both, and every byte is right.
Guards: inflight-hang-on-disconnect, zombie-write-after-reconnect.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.paused_backend import paused

LENGTH = 16384


@case(groups="inject rw protocol concurrent", requires="nbd")
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
                assert early is None, "an answer of a server that stands still"
            io.drain()
            client.finish_all()
            io.flush()
    disk.verify()
