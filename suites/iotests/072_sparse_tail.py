"""This case checks that zero detection never drops a tail that is not zero.

How: zeroes with one non-zero byte at the end of a write, of many lengths, written by qemu-io.
Guards: sparse-tail-dropped.
Related: alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case

LENGTHS = (1, 513, 4095, 4097, 65535, 65537, (1 << 20) - 1)


@case(
    groups="rw convert quick",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: qemu-img(1), convert"),
)
def test(disk, qemu_io, scratch):
    with qemu_io(disk) as io:
        for number, length in enumerate(LENGTHS):
            start = number << 20
            data = bytes(length - 1) + b"\x01"
            (scratch / "tail").write_bytes(data)
            io.request(f"write -s {scratch}/tail {start} {length}")
            disk.shadow.write(start, data)
        io.request(f"write -s {scratch}/tail {7 << 20} {LENGTHS[-1]}")
        disk.shadow.write(7 << 20, data)
    disk.verify()
