"""This case checks that the last bytes of a volume, and what QEMU puts behind them, are right.

How: a volume ends in the middle of a sector. QEMU rounds its size up, so a read of the last sector
ends behind the volume: the driver must return the data and then zeroes.
Guards: sparse-tail-dropped, size-rounded-down, last-block-overrun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

SIZE, TAIL = (1 << 20) + 777, 265


@case(groups="size convert", requires="own_driver", limit_s=30, basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, qemu_io, qemu_img, scratch, not_run):
    disk = new_disk(SIZE, prefill=False)
    end = -(-SIZE // 512) * 512
    seen = qemu_img.json("info", disk.filename)["virtual-size"]
    if seen != end:
        not_run(f"the target makes volumes of {seen} bytes for {SIZE}")
    with qemu_io(disk) as io:
        last = end - 512
        io(f"write -P 1 {last} {TAIL}")
        answer = io(f"read -v {last} 512")
        zeroes = io(f"read -P 0 -s {TAIL} -l {512 - TAIL} {last} 512")
        written = io(f"read -P 1 -l {TAIL} {last} 512")
        for what, said in (("zeroes after the end", zeroes), ("the last bytes", written)):
            wrong = f"READ of 512 bytes at offset {last}: {what} are wrong: {answer}"
            assert "Pattern verification failed" not in said, wrong
    copy = scratch / "copy"
    qemu_img("convert", "-O", "raw", disk.filename, copy)
    expect_equal(copy.read_bytes()[last:], bytes([1]) * TAIL + bytes(512 - TAIL), "the copied tail")
