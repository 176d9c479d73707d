"""This case checks that no byte that a server sends is another client's.

How: a secret is sent by other connections: as the name of an export, in malformed and unknown
options, in the payload of refused writes, and as data of another volume of the server where there
can be one. The volume must have nothing of the refused writes. Then every byte that a further
client receives is searched: the padding of EXPORT_NAME, error texts, option replies, data at the
end, in holes and where nothing was written.
Guards: error-text-of-another, padding-of-another, refused-write-partial.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, NbdError
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import enter_transmission, export_name, negotiating, oldest_refused
from qbdcheck.kit.planted_secret import FAILS, plant, send_options

SIZE, BLOCK = 1 << 20, 4096


class Recording:
    """A socket that keeps what it receives."""

    def __init__(self, sock):
        self.sock, self.seen = sock, bytearray()

    def recv(self, length):
        """Receive, and keep a copy."""
        data = self.sock.recv(length)
        self.seen += data
        return data

    def __getattr__(self, name):
        return getattr(self.sock, name)


@case(
    groups="protocol errors quick",
    requires="nbd",
    basis=(
        "MUST: NBD, NBD_OPT_EXPORT_NAME",
        "POLICY: refused-request-changes-nothing",
    ),
)
def test(new_disk, nbd_io, target, seed, not_run):
    disk = new_disk(SIZE, prefill=False)
    secret = bytes(seed.stream("secret").choices(range(97, 123), k=12))
    if "add_volume" in target.capabilities:
        with nbd_io(new_disk(SIZE, beside=disk)) as io:
            io.write(0, SIZE // 2, data=(secret * SIZE)[: SIZE // 2])
            io.read(0, SIZE // 2)
    if reason := oldest_refused(disk):
        not_run(f"the oldest handshake: {reason}")
    for way in (handshake, *(() if reason else (oldest_handshake,))):
        plant(disk, secret)
        with negotiating(disk, 1 if way is oldest_handshake else 3) as client:
            client.sock = record = Recording(client.sock)
            with contextlib.suppress(*FAILS):
                way(client, disk)
            found = record.seen.find(secret)
            seen = bytes(record.seen[max(found - 24, 0) : found + 12])
            assert found < 0, (
                f"{way.__name__.replace('_', ' ')}: from byte {found} on, the server sends what"
                f" another client has written: {seen}"
            )


def handshake(client, disk):
    send_options(client, b"", b"\0", b"\0\0\0\1x", b"\0\0\0\4none\0\0", m.info_request("none"))
    with contextlib.suppress(*FAILS):
        client.opt_structured_reply()
        client.opt_set_meta_context(export_name(disk), ["base:allocation"])
    enter_transmission(client, disk)
    requests(client)


def oldest_handshake(client, disk):
    client.opt_export_name(export_name(disk), no_zeroes=False)
    requests(client)


def requests(client):
    """Read what nobody wrote, and send requests that fail."""
    for offset, length in ((0, SIZE), (SIZE - BLOCK, BLOCK), (0, BLOCK), (12288, 100 * BLOCK)):
        client.read(offset, length)
    for command in (Command.READ, Command.WRITE_ZEROES, Command.BLOCK_STATUS, Command.CACHE, 99):
        for offset, flags in ((SIZE - BLOCK, 0), (SIZE, 0), (0, 1 << 13)):
            with contextlib.suppress(NbdError):
                client.call(command, offset, 2 * BLOCK, flags=flags)
