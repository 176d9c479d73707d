"""This case checks that the last bytes of a volume, and what QEMU puts behind them, are right.

How: a volume ends in the middle of a sector. QEMU rounds its size up, so a read of the last sector
ends behind the volume: the driver must return the data and then zeroes.
Guards: sparse-tail-dropped, size-rounded-down, last-block-overrun.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_same

SIZE, TAIL = (1 << 20) + 777, 265
BEFORE_THE_END = "before the end of the volume; the driver must read those and zero the rest"
SHOULD_BE = {"before": "those that were written", "behind": "zeroes"}


@case(groups="size convert", requires="own_driver", limit_s=30, basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk = new_disk(SIZE, prefill=False)
    end = -(-SIZE // 512) * 512
    seen = qemu_img.json("info", disk.filename)["virtual-size"]
    if seen != end:
        raise NotRun(f"the target makes volumes of {seen} bytes for {SIZE}")
    last = end - 512
    with qemu_io(disk) as io:
        io(f"write -P 1 {last} {TAIL}")
        for where, place in (("before", f"-P 1 -l {TAIL}"), ("behind", f"-P 0 -s {TAIL}")):
            seen = io(f"read {place} {last} 512")
            assert "failed" not in seen.replace("verification failed", ""), (
                f"READ of 512 bytes at offset {last}, {TAIL} of them {BEFORE_THE_END}: {seen}"
            )
            assert "verification failed" not in seen, (
                f"READ of 512 bytes at offset {last}: the bytes {where} the end of the volume at "
                f"{SIZE} are not {SHOULD_BE[where]}: {seen.splitlines()[0]}"
            )
    copy = scratch / "copy"
    qemu_img("convert", "-O", "raw", disk.filename, copy)
    expect_same(copy.read_bytes()[last:], bytes([1]) * TAIL + bytes(512 - TAIL), "the copied tail")
