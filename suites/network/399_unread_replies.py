"""This case checks that a client that reads no replies does not fill the server's memory.

How: 2 GiB of reads, and block status of a volume with two thousand extents, sent by clients that
read no reply: the server's memory grows by at most 256 MiB. Then writes of 32 MiB are announced and
not sent: it may also hold a buffer for each of these. A new client is served meanwhile.
Guards: inflight-hang-on-disconnect.
Related: extents-blowup.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.footprint import footprint, settles
from qbdcheck.kit.nbd import REQUEST, REQUEST_MAGIC, Command
from qbdcheck.kit.nbd_probe import is_serving

MEMORY, BUFFER, SPARE = 256 << 20, 32 << 20, 16
DEAF, EACH = 16, 128


def ask(client, command, length):
    """Send as many requests as the server accepts while no reply is read."""
    requests = b"".join(
        REQUEST.pack(REQUEST_MAGIC, 0, command, cookie, 0, length) for cookie in range(EACH)
    )
    client.sock.settimeout(0.1)
    with contextlib.suppress(OSError):
        client.sock.sendall(requests)


@case(
    groups="protocol hostile concurrent slow",
    requires="nbd block_status discard",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(disk, nbd, qemu_io):
    with qemu_io(disk) as io:
        for number in range(1000):
            io.write_zeroes(number * 8192, 4096, unmap=True)
    before = footprint(disk.backend)
    clients = [nbd(disk) for _number in range(3 * DEAF)]
    for client in clients[:DEAF]:
        ask(client, Command.READ, 1 << 20)
    for client in clients[DEAF : 2 * DEAF]:
        ask(client, Command.BLOCK_STATUS, disk.size)
    assert is_serving(disk), "a new client is not served while other clients read no replies"
    unread = footprint(disk.backend)
    assert unread.memory - before.memory < MEMORY, f"too much memory: {before} before, {unread} now"
    for client in clients[2 * DEAF :]:
        header = REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 1, 0, BUFFER)
        client.send(header + bytes(disk.shadow.expected(0, 4096)))
    assert is_serving(disk), "a new client is not served while writes are announced and not sent"
    during = footprint(disk.backend)
    most = MEMORY + DEAF * BUFFER
    assert during.memory - before.memory < most, f"too much memory: {before} before, {during} now"
    for client in clients:
        client.sock.close()
    after = settles(disk.backend, before, SPARE)
    assert after.threads <= before.threads + SPARE, f"threads: {before} before, {after} after"
    assert after.descriptors <= before.descriptors + SPARE, (
        f"descriptors: {before} before, {after} after"
    )
    disk.verify()
