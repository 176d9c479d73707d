"""This case checks that a backend started read-only says so, and refuses every change on the wire.

How: the read-only bit must be set; a raw client sends the changes nevertheless; each fails, the
data stays and the connection goes on.
Guards: capability-bit-collision, unadvertised-command-executed.
"""

from qbdcheck.kit import case


@case(groups="rw quick protocol", requires="nbd read_only")
def test(new_disk, nbd, log):
    disk = new_disk(prefill=False, read_only=True)
    with nbd(disk) as client:
        assert client.flags & 1 << 1, f"read-only bit is not set: {client.flags!r}"
        for command in (1, 4, 6):
            payload = b"\xee" * 512 if command == 1 else b""
            error = client.receive_reply(
                client.send_request(command, 4096, 512, payload=payload)
            ).error
            log(f"command {command}: errno {error}")
            assert error, f"command {command} succeeded on a read-only volume"
        told = "a fresh volume, on which every change was refused, is not all zeroes"
        assert not any(client.read(0, 64 << 10)), told
    disk.verify()
