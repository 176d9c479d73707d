"""This case checks that a disk opened read-only can be read, and refuses every kind of change.

How: qemu-io opens the disk with -r. The error texts are in the golden.
Related: capability-bit-collision, phantom-write.
"""

from qbdcheck.kit import case


@case(
    groups="rw reading quick errors",
    basis=("MUST: QAPI, BlockdevOptions", "POLICY: refused-request-changes-nothing"),
)
def test(disk, qemu_io, golden):
    with qemu_io(disk, read_only=True) as io:
        io.read(0, 64 << 10)
        io.read(disk.size - 100, 100)
        for request in ("write 0 512", "write -z 0 512", "writev 0 512 512", "discard 0 64k"):
            golden(f"{request}: {io(request).strip()}")
    disk.verify()
