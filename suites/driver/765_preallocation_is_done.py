"""This case checks that a driver refuses each kind of preallocation that it does not do.

How: a volume grows by truncate with preallocation falloc and full. If the driver says that this was
done, block status must show no hole in the new part, and the new part must read as zeroes. A volume
that shrinks cannot be preallocated: that must be refused.
Guards: resize-false-success, grow-exposes-old-data.
"""

from qbdcheck.kit import case

MIB = 1 << 20


@case(
    groups="size",
    requires="own_driver resize block_status",
    limit_s=30,
    basis="MUST: QAPI, PreallocMode",
)
def test(new_disk, qemu_io, qemu_img, log):
    disk, size = new_disk(4 * MIB), 4 * MIB
    for mode in ("falloc", "full"):
        with qemu_io(disk) as io:
            answer = io(f"truncate -m {mode} {size + MIB}").strip()
        log(f"{mode}: {answer or 'done'}")
        if answer:
            continue
        size += MIB
        disk.shadow.resize(size)
        extents = qemu_img.json("map", disk.filename)
        holes = [one for one in extents if one["start"] >= size - MIB and not one["data"]]
        assert not holes, (
            f"RESIZE to {size} bytes with preallocation={mode}: bdrv_co_truncate returned 0, and "
            f"the new part is a hole: {holes[0]}"
        )
    with qemu_io(disk) as io:
        answer = io(f"truncate -m full {size - MIB}").strip()
    assert answer, f"RESIZE to {size - MIB} bytes, a shrink, was done with preallocation=full"
    disk.verify()
