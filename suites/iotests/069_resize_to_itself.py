"""This case checks that resizing to the same size changes nothing, and to 0 and back gives zeroes.

How: a prefilled volume is resized twice to its own size, then to 0 bytes and back.
Guards: resize-false-success, grow-exposes-old-data.
"""

from qbdcheck.kit import case


@case(
    groups="size quick",
    requires="resize raw_size",
    basis=("POLICY: grown-part-reads-zero", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk):
    disk = new_disk("3M")
    for _ in range(2):
        disk.resize(disk.size)
        disk.verify()
    disk.resize(0)
    disk.resize(3 << 20)
    disk.verify()
