"""This case checks that no power cut damages a qcow2 image in any sequence of two requests.

How: all sequences of one and two writes, zeroes, discards and flushes at two places, each followed
by a flush, each on its own image. All crash states are checked. The count is printed.
Related: flush-noop, destage-reorder, torn-write, map-entry-shifted, zero-unmap-not-durable.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.bounded_workloads import run_sequences
from qbdcheck.kit.crash.image_row import ImageRow


@case(
    groups="crash states qcow2 slow",
    limit_s=120,
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, qemu_img, qemu_io, logged_image, programs, scratch, seed, log, golden):
    row = ImageRow(new_disk, qemu_img, qemu_io, logged_image, programs, scratch, 64)
    result = run_sequences(2, row.image, row.judge, seed)
    log(result)
    assert result.wrong is None, f"{' / '.join(result.wrong[0])}\n{result.wrong[1]}"
    golden(f"{result.sequences} sequences")
