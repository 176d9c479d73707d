"""This case checks that write-zeroes without fallback either zeroes or fails and changes nothing.

How: `write -zn` over aligned and unaligned prefilled ranges. After an error the old data must be
there.
Related: zero-flags-lost, advertised-not-implemented.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.expectations import expect_in

RANGES = ((1 << 20, 1 << 20), (4 << 20, 4096), ((5 << 20) + 512, 512), ((6 << 20) + 100, 9000))


@case(
    groups="rw zero",
    requires="write_zeroes",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "POLICY: refused-request-changes-nothing"),
)
def test(disk, qemu_io, log):
    for start, length in RANGES:
        with qemu_io(disk) as io:
            try:
                io.request(f"write -zn {start} {length}")
                disk.shadow.zero(start, length)
            except ProgramError as error:
                log(f"{length} bytes at {start}: {error}")
                expect_in("not supported", str(error).lower(), f"write -zn {start} {length}")
        disk.verify()
