"""This case checks that a minimum block size is advertised, and that smaller requests do no harm.

How: minimum blocks of 512, 4096 and 65536 bytes. Aligned requests work everywhere. Unaligned ones
either fail or do exactly what they ask for, and the connection stays usable.
Guards: min-block-underadvertised, unaligned-offset-rounded, sector-unit-mismatch.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import (
    call_for_errno,
    flush_if_offered,
    request_name,
    write_stamped,
)


@case(groups="blocksize quick protocol", requires="nbd min_block")
def test(new_disk, nbd):
    for minimum in (512, 4096, 65536):
        disk = new_disk("1M", min_block=minimum)
        with nbd(disk) as client:
            seen = f"expected a minimum block of {minimum}, got the sizes {client.block_sizes}"
            assert client.block_sizes[0] == minimum, seen
            for offset in (0, minimum, disk.size - minimum):
                write_stamped(client, disk.shadow, offset, minimum)
            for offset, length in ((minimum // 2, minimum), (0, minimum // 2), (1, 1)):
                data = disk.shadow.stamped(offset, length)
                if not call_for_errno(client, Command.WRITE, offset, length, payload=data):
                    disk.shadow.write(offset, data)
                reply = client.receive_reply(client.send_request(Command.READ, offset, length))
                if not reply.error:
                    name = request_name(Command.READ, offset, length)
                    expect_content(disk.shadow, offset, bytes(reply.data), name, length)
            flush_if_offered(client)
        disk.verify()
