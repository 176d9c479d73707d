"""This case checks that windows into one volume change nothing outside themselves.

How: three raw nodes with offset and size over one protocol node are exported together. Writes,
zeroes and writes behind the end go through each. Then the whole volume is compared, sector by
sector.
Guards: unaligned-offset-rounded, extent-boundary-misroute, last-block-overrun.
Related: oob-past-end.
"""

from qbdcheck.kit import IoFailed, case

WINDOWS = ((512, 65536), (65536 + 512, 1 << 20), ((8 << 20) - 1024, 1024))


@case(groups="export rw size quick", basis="MUST: QAPI, BlockdevOptionsRaw")
def test(disk, qemu_io, storage_daemon):
    with storage_daemon() as qsd:
        qsd.add(disk.protocol_blockdev("volume"))
        ios = []
        for number, (offset, size) in enumerate(WINDOWS):
            qsd.add({"driver": "raw", "node-name": f"w{number}", "file": "volume", "offset": offset,
                     "size": size})  # fmt: skip
            ios.append(qemu_io(qsd.export(f"w{number}")))
        for io, (start, size) in zip(ios, WINDOWS, strict=True):
            for offset, length in ((0, 512), (size - 512, 512), (size // 2 - 3, 300)):
                io.aio_write(offset, length, pattern=0x5A)
                disk.shadow.pattern(start + offset, length, 0x5A)
        for io in ios:
            io.drain()
        for io, (start, size) in zip(ios, WINDOWS, strict=True):
            for offset in (size - 511, size, size + 512):
                try:
                    io.write(offset, 512, pattern=0x77)
                except IoFailed as error:
                    assert error.reason in ("Input/output error", "Invalid argument"), (
                        f"a write at {offset} of a window of {size}: {error.reason}"
                    )
                else:
                    raise AssertionError(
                        f"write of 512 bytes at {offset} of a window of {size}: expected an error"
                    )
            io.write_zeroes(size - 1000, 200)
            disk.shadow.zero(start + size - 1000, 200)
            io.flush()
            io.close()
    disk.verify()
