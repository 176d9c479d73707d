"""This case checks that an image about to overwrite its own metadata is stopped, and stays
readable.

How: an entry of the L2 table on the volume is pointed at the L1 table. A write there must fail and
mark the image corrupt. From then on it opens only for reading, and other data must be right.
Guards: map-entry-shifted, misdirected-write.
Related: async-error-ignored.
"""

from qbdcheck.kit import IoFailed, ProgramError, case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_equal, expect_failure

KIB = 1 << 10
CLUSTER = 64 * KIB


@case(groups="format errors qcow2 quick", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("1M", prefill=False, format="qcow2")
    with qemu_io(disk) as io:
        io.write(2 * CLUSTER, CLUSTER)
        io.write(9 * CLUSTER, CLUSTER)
    volume = json_filename(over("raw", disk.protocol_blockdev()))
    with qemu_io(volume) as io:
        table = int.from_bytes(io.read(3 * CLUSTER, 8), "big") & 0x00FFFFFFFFFFFE00
        io.write(table + 8 * 9 + 5, 1, pattern=0x03)  # the data of cluster 9 is now the L1 table
    with qemu_io(disk) as io:
        with expect_failure(
            IoFailed, f"write of 512 bytes at {9 * CLUSTER}, over metadata"
        ) as failed:
            io.request(f"write {9 * CLUSTER} 512")
        golden(failed.value.reason)
    data = qemu_img.json("info", disk.filename)["format-specific"]["data"]
    expect_equal(data["corrupt"], True, "the corrupt flag")
    with expect_failure(ProgramError, "writable open of a corrupt image") as refused:
        qemu_io(disk)
    golden(str(refused.value).rpartition("}: ")[2].partition("(")[0])
    with qemu_io(disk, read_only=True) as io:
        io.read(2 * CLUSTER, CLUSTER)
