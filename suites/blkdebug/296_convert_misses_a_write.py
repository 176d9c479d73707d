"""This case checks that qemu-img convert fails if one of its writes fails.

How: the N-th write to the target fails, for several N, with one and with several requests at a
time, in order and out of order. (If the flush fails: docs/findings.md#qemu-img-convert-flush.)
Guards: close-error-lost.
Related: async-error-ignored.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, fail_nth
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_equal, expect_in


@case(groups="inject errors img convert", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_img):
    source, volume = new_disk("8M"), new_disk("8M")

    def convert(faults, *options):
        target = over("raw", {**blkdebug(volume.protocol_blockdev()), **faults})
        source_words = ("-n", "-O", "raw", source.filename, json_filename(target))
        return qemu_img.run("convert", *options, *source_words, check=False)

    for options in (("-m", "1"), ("-m", "8"), ("-W", "-m", "8")):
        for count in (1, 2, 3, 4):
            done = convert(
                fail_nth("write_aio", count, ENOSPC, iotype="write", once=True), *options
            )
            expect_equal(done.returncode, 1, f"convert {options}, write {count} fails: exit status")
            expect_in(
                "No space left on device", done.stderr, f"convert {options}, write {count} fails"
            )
    done = convert({})
    expect_equal(
        done.returncode, 0, f"convert without an error ({done.stderr.strip()}), exit status"
    )
    volume.shadow.write(0, source.shadow.expected(0, source.size))
    volume.verify()
