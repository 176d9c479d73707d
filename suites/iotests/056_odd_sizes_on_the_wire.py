"""This case checks that a volume has exactly the bytes that were asked for, to the last one.

How: odd sizes from 1 byte up; the negotiated size, the last byte, the first byte beyond it.
Guards: size-rounded-down, size-rounded-up, oob-past-end, last-block-overrun.
"""

from qbdcheck.kit import case

SIZES = (1, 511, 512, 513, 1023, 4095, 4097, 65537, (1 << 20) + 1)


@case(groups="size protocol", requires="nbd raw_size")
def test(new_disk, nbd):
    for size in SIZES:
        disk = new_disk(size, prefill=False)
        with nbd(disk) as client:
            assert client.size == size, f"asked for {size} bytes, got {client.size}"
            data = disk.shadow.stamped(0, size)
            client.write(0, data)
            disk.shadow.write(0, data)
            last = bytes([data[-1] ^ 0xFF])
            client.write(size - 1, last)
            disk.shadow.write(size - 1, last)
            for offset, length in ((size, 1), (size - 1, 2), (size + 4096, 512)):
                assert client.receive_reply(client.send_request(0, offset, length)).error
                sent = client.send_request(1, offset, length, payload=bytes(length))
                assert client.receive_reply(sent).error, f"{length} bytes at {offset} of {size}"
            assert not disk.shadow.check(0, bytes(client.read(0, size)))
        with nbd(disk) as client:
            assert client.size == size, "the size changed"
