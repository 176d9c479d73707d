"""This case checks that invalid limits are refused with a clear error.

How: alignments that are no power of two, and limits that are no multiples of each other. Each
refusal is in the golden, and the disk must not change.
Guards: limits-zero-or-excessive.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_failure

WRONG = (
    {"align": 1000},
    {"align": 1 << 32},
    {"align": 4096, "max_transfer": 5000},
    {"align": 4096, "opt_write_zero": 512},
    {"opt_write_zero": 4096, "max_write_zero": 5000},
    {"opt_discard": 4096, "max_discard": 512},
)


@case(groups="inject errors blocksize", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io, target, golden):
    disk = new_disk(65536 * target.scale)
    for limits in WRONG:
        scaled = {name: value * target.scale for name, value in limits.items()}
        node = blkdebug(disk.protocol_blockdev(), **scaled)
        with expect_failure(ProgramError, f"open with {scaled}") as refused:
            qemu_io(json_filename(node))
        text = str(refused.value).rpartition("}: ")[2].partition(" (")[0]
        for name, value in scaled.items():
            text = text.replace(str(value), str(limits[name]))
        golden(limits, text)
    for rule in (error(""), {"errno": 5}, error("no_such_event"), error(iotype="erase")):
        node = blkdebug(disk.protocol_blockdev(), rule)
        with expect_failure(ProgramError, f"open with the rule {rule}") as refused:
            qemu_io(json_filename(node))
        golden(rule, str(refused.value).rpartition("}: ")[2].partition(" (")[0])
    disk.verify()
