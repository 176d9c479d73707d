"""This case checks that convert makes a correct image of each format on a volume.

How: a sparse file of stamps is converted onto a prefilled volume in each format that QEMU can make
over the target's protocol. The others are reported as not run. VPC and Parallels do not clear a
block when they allocate it (docs/findings.md), so these get an empty volume.
Guards: false-zero-init, map-entry-shifted.
Related: size-rounded-up, previous-tenant-data.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_no_check_errors

KIB, MIB = 1 << 10, 1 << 20
FORMATS = {"vdi": "", "vpc": "force_size=on", "parallels": "", "vhdx": "", "vmdk": "", "qed": ""}
NEED_ZEROES = ("vpc", "parallels")
PLACES = ((0, 70 * KIB), (777 * KIB, 33 * KIB), (MIB + 5, 999), (2 * MIB - 4 * KIB, 4 * KIB))


@case(groups="format convert", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_img, scratch, not_run):
    full, source, read = new_disk("20M"), scratch / "source", scratch / "read"
    shadow, data = Shadow(2 * MIB, full.shadow.identity), bytearray(2 * MIB)
    for offset, length in PLACES:
        data[offset : offset + length] = shadow.stamped(offset, length)
    shadow.write(0, bytes(data))
    source.write_bytes(data)
    for kind, options in FORMATS.items():
        volume = new_disk("20M", prefill=False) if kind in NEED_ZEROES else full
        name = volume.backend.filename
        arguments = ("-O", kind, *(("-o", options) if options else ()))
        done = qemu_img.run("convert", "-f", "raw", *arguments, source, name, check=False)
        if done.returncode:
            not_run(f"{kind}: {done.stderr.strip().rpartition(': ')[2]}")
            continue
        image = json_filename(over(kind, volume.protocol_blockdev()))
        qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
        expect_content(shadow, 0, read.read_bytes(), "the image, read by qemu-img dd")
        if (
            kind not in NEED_ZEROES
        ):  # these have no check, or take the rest of the volume for a leak
            expect_no_check_errors(qemu_img, image)
