"""This case checks that the largest volume that NBD can name, 2^63 - 1 bytes, works at both ends.

How: on the wire: negotiated size, first and last bytes, and offsets whose sum with a length wraps.
Guards: negative-size, offset-len-overflow, size-int-overflow.
"""

from qbdcheck.kit import NotRun, SetupError, case

SIZE = (1 << 63) - 1


@case(groups="size quick protocol", requires="nbd raw_size")
def test(new_disk, nbd):
    try:
        disk = new_disk(SIZE, prefill=False)
    except SetupError as error:
        raise NotRun(f"the target makes no volume of 2^63 - 1 bytes: {error}") from error
    with nbd(disk) as client:
        assert client.size == SIZE
        for offset in (0, (1 << 32) - 2048, SIZE // 2, SIZE - 5000):
            data = disk.shadow.stamped(offset, 4096)
            client.write(offset, data)
            assert bytes(client.read(offset, 4096)) == bytes(data)
        for offset, length in ((SIZE, 1), (SIZE - 1, 2), ((1 << 64) - 512, 512), (1 << 63, 4096)):
            assert client.receive_reply(client.send_request(0, offset, length)).error
            sent = client.send_request(1, offset, length, payload=bytes(length))
            assert client.receive_reply(sent).error, f"{length} bytes at {offset} were written"
        assert bytes(client.read(SIZE - 5000, 4096)) == bytes(data)
        assert not any(client.read(1 << 40, 65536))
