"""This case checks that convert makes a right image of each format on a volume.

How: a sparse file of stamps is converted onto a prefilled volume in each format that QEMU can make
over the target's protocol; what it cannot do there is reported in its own words. Blocks of VPC and
Parallels are not cleared when they are allocated (docs/findings.md): those get an empty volume.
Guards: false-zero-init, map-entry-shifted, size-rounded-up, previous-tenant-data.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over

KIB, MIB = 1 << 10, 1 << 20
FORMATS = {"vdi": "", "vpc": "force_size=on", "parallels": "", "vhdx": "", "vmdk": "", "qed": ""}
NEED_ZEROES = ("vpc", "parallels")
PLACES = ((0, 70 * KIB), (777 * KIB, 33 * KIB), (MIB + 5, 999), (2 * MIB - 4 * KIB, 4 * KIB))


@case(groups="format convert")
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
        words = ("-O", kind, *(("-o", options) if options else ()))
        done = qemu_img.run("convert", "-f", "raw", *words, source, name, check=False)
        if done.returncode:
            not_run(f"{kind}: {done.stderr.strip().rpartition(': ')[2]}")
            continue
        image = json_filename(over(kind, volume.protocol_blockdev()))
        qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
        assert shadow.check(0, read.read_bytes()) == [], kind
        if kind not in NEED_ZEROES:  # no check at all, or the rest of the volume is a leak
            assert qemu_img.json("check", image)["check-errors"] == 0
