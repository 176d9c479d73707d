"""This case checks that a request of exactly the advertised maximum works, and QEMU keeps to it.

How: a maximum of 64 KiB. A raw client sends requests of the maximum and of one block more. Large
requests by qemu-io must be split.
Guards: limits-zero-or-excessive, split-pool-deadlock, short-read-resume-offset.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_same
from qbdcheck.kit.nbd_requests import flush_if_offered, read_range, write_stamped


@case(groups="blocksize quick protocol", requires="nbd")
def test(new_disk, nbd, qemu_io):
    maximum = 65536
    disk = new_disk("4M", max_block=maximum)
    with nbd(disk) as client:
        assert client.block_sizes[2] == maximum, (
            f"expected a maximum of {maximum}, got {client.block_sizes}"
        )
        data = write_stamped(client, disk.shadow, 4096, maximum)
        expect_same(
            read_range(client, 4096, maximum),
            bytes(data),
            f"READ of {maximum} bytes at offset 4096",
        )
        more = disk.shadow.stamped(1 << 20, maximum + 4096)
        sent = client.send_request(1, 1 << 20, maximum + 4096, payload=more)
        if not client.receive_reply(sent).error:
            disk.shadow.write(1 << 20, more)
        flush_if_offered(client)
    with qemu_io(disk) as io:
        io.write(1 << 20, (1 << 20) + 512)
        io.write((2 << 20) + 4096 + 1, 999_999)
    disk.verify()
