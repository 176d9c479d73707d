"""This case checks that QEMU's NBD server can be stopped and started again under its clients.

How: some clients are between requests, with requests in flight, or have just left. The server is
stopped: all connections end, and writes that were answered are there. It is started again, and
serves a new client. At last it is stopped under clients in their handshake, which must lose their
connections too, and may leave without harm.
Related: inflight-hang-on-disconnect, connection-slot-leak, late-request-after-quiesce.
"""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from signal import SIGKILL

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.nbd import Client, Command, Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import is_closed

ROUNDS, LENGTH, IN_FLIGHT, SHORT_S = 3, 4096, 16, 2.0


@case(
    groups="export protocol concurrent errors",
    basis=("MUST: QAPI, nbd-server-stop", "POLICY: clients-do-not-disturb-each-other"),
)
def test(disk, storage_daemon, scratch, nbd_io, target, not_run):
    path = str(scratch / "server")
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        for number in range(ROUNDS):
            start(qsd, path)
            with ExitStack() as clients:
                waiting = enter(clients, path)
                with nbd_io(f"nbd+unix:///source?socket={path}", shadow=disk.shadow) as io:
                    io.write(number << 20, 5 * LENGTH)
                    io.flush()
                qsd.qmp("nbd-server-stop")
                expect_closed(waiting)
            expect_equal(qsd.qmp("query-block-exports"), [], "the exports after nbd-server-stop")
        start(qsd, path)
        with ThreadPoolExecutor(1) as thread:
            with ExitStack() as clients:
                waiting = begin(clients, path)
                stopped = thread.submit(qsd.qmp, "nbd-server-stop")
                expect_closed(waiting)
            if wait([stopped], SHORT_S).not_done and target.qemu_version < (8, 0):
                os.kill(qsd.pid, SIGKILL)
                stopped.exception()  # until the thread has left the daemon to this one
                qsd.kill()
                not_run("the answer to nbd-server-stop: finding qemu-stop-waits-for-handshake")
                return
            stopped.result()
        start(qsd, path)
        with nbd_io(f"nbd+unix:///source?socket={path}", shadow=disk.shadow) as io:
            io.read(0, 5 * LENGTH)
    disk.verify()


def start(qsd, path):
    """Start the server and export the disk."""
    qsd.qmp("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
    qsd.qmp("block-export-add", id="export", type="nbd", node_name="source", writable=True)


def enter(clients, path):
    """Connect clients beyond the handshake; return what each does, and its connection."""
    idle, busy = (Client.connect(path, "source") for _ in range(2))
    for number in range(IN_FLIGHT):
        busy.send_request(Command.READ, number * LENGTH, LENGTH)
    for client in (idle, busy):
        clients.callback(client.sock.close)
    for _ in range(4):
        Client.connect(path, "source").sock.close()
    return [("between requests", idle), ("with reads in flight", busy)]


def begin(clients, path):
    """Connect clients that stay in their handshake."""
    silent = [Client.open_socket(path, client_flags=None) for _ in range(4)]
    halfway = [Client.open_socket(path) for _ in range(4)]
    for length, client in enumerate(halfway):
        client.send(m.option(Option.LIST)[: 5 * length])
    for client in silent + halfway:
        clients.callback(client.sock.close)
    return [("in its handshake", client) for client in silent + halfway]


def expect_closed(waiting):
    """Check that the server ends all connections."""
    for what, client in waiting:
        assert is_closed(client), f"nbd-server-stop: the connection of a client {what} stays open"
