"""This case checks that a backend that is stopped for some time causes a delay, and loses no data.

How: requests are in flight when the server is stopped by SIGSTOP. None may complete meanwhile.
After SIGCONT all must complete, on all connections, and every byte must be right.
Guards: inflight-hang-on-disconnect, zombie-write-after-reconnect.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import expect_success
from qbdcheck.kit.paused_backend import standing_still

LENGTH = 16384


@case(groups="inject rw protocol concurrent", requires="nbd")
def test(disk, nbd, storage_daemon, qemu_io):
    shadow = disk.shadow
    with storage_daemon() as qsd, nbd(disk) as client:
        qsd.add(disk.blockdev("disk"))
        with qemu_io(qsd.export("disk"), shadow=shadow) as io:
            io.write(0, LENGTH)
            with standing_still(disk.backend):
                for number in range(1, 9):
                    io.aio_write(number << 16, LENGTH)
                data = shadow.stamped(1 << 20, LENGTH)
                cookie = client.send_request(Command.WRITE, 1 << 20, LENGTH, payload=data)
                pause(0.1)
                client.sock.setblocking(False)
                try:
                    early = client.sock.recv(1)
                except BlockingIOError:
                    early = None
                client.sock.setblocking(True)
                assert early is None, f"the stopped server sent a reply: {early!r}"
            io.drain()
            expect_success(client, cookie, Command.WRITE, 1 << 20, LENGTH)
            shadow.write(1 << 20, data)
            io.flush()
    disk.verify()
