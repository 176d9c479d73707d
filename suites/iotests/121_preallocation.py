"""This case checks that a sparse copy into a preallocated image leaves no old data of the volume.

How: with metadata, falloc and full preallocation every cluster has its place from the start, and
the volume had stamps there. convert must zero what it does not copy, though the image is new. (An
image that is only created does show the old data: docs/findings.md.)
Guards: write-zeroes-noop.
Related: false-zero-init, previous-tenant-data, status-hole-over-dirty.
"""

import re

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_equal

REFUSED = re.compile(
    r"(unsupported|cannot|not support).*prealloc|prealloc.*not support", re.IGNORECASE
)
KIB, MIB = 1 << 10, 1 << 20


@case(
    groups="format qcow2 zero convert",
    basis=("MUST: QEMU, interop/qcow2", "MUST: qemu-img(1), create"),
)
def test(new_disk, qemu_io, qemu_img, scratch, not_run):
    source, shadow = scratch / "source", Shadow(2 * MIB)
    qemu_img("create", "-q", "-f", "qcow2", source, str(shadow.size))
    with qemu_io(source, options={"driver": "qcow2"}, shadow=shadow) as io:
        io.write(300 * KIB, 100 * KIB)
        io.write(MIB - 1, 2)
    for mode in ("off", "metadata", "falloc", "full"):
        volume = new_disk("3M")
        image = json_filename(over("qcow2", volume.protocol_blockdev()))
        arguments = ("-O", "qcow2", "-o", f"preallocation={mode}")
        command = ("convert", "-f", "qcow2", *arguments, source, volume.backend.filename)
        done = qemu_img.run(*command, check=False)
        if done.returncode and REFUSED.search(done.stderr):
            not_run(f"preallocation={mode}: {done.stderr.strip().rpartition(': ')[2]}")
            continue
        expect_equal(done.returncode, 0, f"preallocation={mode}, convert: {done.stderr.strip()}")
        read = scratch / "read"
        qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
        expect_content(shadow, 0, read.read_bytes(), "the image, read by qemu-img dd")
        report = qemu_img.json("check", image)
        assert report["check-errors"] == 0 and not report.get("leaks"), (
            f"{mode}: qemu-img check reports {report}"
        )
