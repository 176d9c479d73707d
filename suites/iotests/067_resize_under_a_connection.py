"""This case checks that a client connected before a resize cannot damage the resized volume.

How: the volume grows and shrinks while a client is connected. Requests inside both sizes must work,
those behind the new end must fail, and what is left must be intact.
Guards: resize-not-notified, geometry-change-stale-buffer, oob-past-end, resize-during-copy.
"""

from qbdcheck.kit import NotRun, SetupError, case


@case(groups="size quick protocol", requires="nbd resize")
def test(new_disk, nbd):
    disk = new_disk("4M")
    with nbd(disk) as client:
        for size in (6 << 20, 3 << 20):
            try:
                disk.resize(size)
            except SetupError as error:
                raise NotRun(f"the target resizes only without clients: {error}") from error
            try:
                data = disk.shadow.stamped(1 << 20, 8192)
                client.write(1 << 20, data)
                disk.shadow.write(1 << 20, data)
            except (OSError, EOFError) as error:
                raise NotRun(f"the target ends connections when it resizes: {error}") from error
        reply = client.receive_reply(client.send_request(1, 7 << 19, 4096, payload=bytes(4096)))
        assert reply.error, (
            f"WRITE of 4096 bytes at {7 << 19}, behind the new end, succeeded on the old connection"
        )
    disk.resize(4 << 20)
    disk.verify()
