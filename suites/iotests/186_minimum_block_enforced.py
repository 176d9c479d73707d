"""This case checks that a minimum block size is advertised, and smaller requests harm nothing.

How: minimum sizes of 512, 4096 and 65536; aligned requests work everywhere; unaligned ones either
fail cleanly or do exactly what was asked, and the connection lives.
Guards: min-block-underadvertised, unaligned-offset-rounded, sector-unit-mismatch.
"""

from qbdcheck.kit import case


@case(groups="blocksize quick protocol", requires="nbd min_block")
def test(new_disk, nbd):
    for minimum in (512, 4096, 65536):
        disk = new_disk("1M", min_block=minimum)
        with nbd(disk) as client:
            assert client.block_sizes[0] == minimum, f"advertised {client.block_sizes}"
            for offset in (0, minimum, disk.size - minimum):
                data = disk.shadow.stamped(offset, minimum)
                client.write(offset, data)
                disk.shadow.write(offset, data)
            for offset, length in ((minimum // 2, minimum), (0, minimum // 2), (1, 1)):
                data = disk.shadow.stamped(offset, length)
                sent = client.send_request(1, offset, length, payload=data)
                if not client.receive_reply(sent).error:
                    disk.shadow.write(offset, data)
                reply = client.receive_reply(client.send_request(0, offset, length))
                assert reply.error or not disk.shadow.check(offset, bytes(reply.data))
            client.flush()
        disk.verify()
