"""This case checks that `qemu-img dd` copies exactly the blocks that bs, count and skip name.

How: parts of a volume are copied to a file with block sizes from 1 byte to 1 MiB. Skipping beyond
the end is an error. QEMU 7.2 counts the blocks that it skips, unlike dd (docs/findings.md).
Guards: unaligned-offset-rounded, short-read-resume-offset, last-block-overrun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal, expect_zeroes

KIB, MIB = 1 << 10, 1 << 20
PARTS = ((1, 2000, 1003), (512, 12, 7), (511, 20, 11), (64 * KIB, 7, 4), (MIB, 2, 1), (5000, 7, 0))


@case(groups="img convert reading quick", formats="any", basis="MUST: qemu-img(1), dd")
def test(disk, qemu_img, scratch, golden):
    part = scratch / "part"
    for size, count, skip in PARTS:
        arguments = (f"bs={size}", f"count={count}", f"skip={skip}")
        qemu_img("dd", "-O", "raw", *arguments, f"if={disk.filename}", f"of={part}")
        data = part.read_bytes()
        lengths = [size * count, size * (count - skip)]
        # QEMU rounds the size of the file up to whole sectors.
        length = next((it for it in lengths if len(data) == -(-it // 512) * 512), None)
        assert length is not None, (
            f"dd {' '.join(arguments)}: expected {lengths} bytes, got {len(data)}"
        )
        expect_content(disk.shadow, size * skip, data[:length], f"dd {' '.join(arguments)}")
        expect_zeroes(data[length:], f"dd {' '.join(arguments)}, the rest of the last sector")
    arguments = ("bs=1M", f"skip={disk.size // MIB + 1}")
    done = qemu_img.run("dd", "-O", "raw", *arguments, f"if={disk.filename}", f"of={part}")
    golden(done.stderr.rpartition(": ")[2])
    expect_equal(len(part.read_bytes()), 0, "the size of a part behind the end")
    disk.verify()
