"""This case checks that a compressed qcow2 image on a volume returns the data that was compressed.

How: data that compresses well, badly and not at all, with zlib and zstd, is written by `convert -c`
onto the volume and read through it. Then parts next to compressed clusters are overwritten.
Guards: unaligned-offset-rounded, short-read-resume-offset.
Related: torn-write.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img convert qcow2", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img, scratch, seed):
    volume = new_disk("8M")
    data = bytearray(volume.shadow.stamped(0, MIB)) + bytearray(MIB)
    data[MIB : MIB + 300_000] = seed.stream("payload").randbytes(300_000)
    data[-100_000:] = b"\xa5" * 100_000
    source = scratch / "source"
    source.write_bytes(data)
    image = json_filename(over("qcow2", volume.protocol_blockdev()))
    for kind in ("zlib", "zstd"):
        options = ("-c", "-f", "raw", "-O", "qcow2", "-o", f"compression_type={kind}")
        qemu_img("convert", *options, source, volume.backend.filename)
        clusters = qemu_img.json("check", image)["compressed-clusters"]
        assert clusters >= 16, (
            f"expected at least 16 compressed clusters, qemu-img check reports {clusters}"
        )
        shadow = Shadow(len(data), volume.shadow.identity)
        shadow.write(0, bytes(data))
        with qemu_io(image, shadow=shadow) as io:
            io.read(MIB - 100_000, 200_000)
            io.write(100, 200)
            io.write(64 * KIB - 1, 64 * KIB + 2)
            io.write(MIB + 128 * KIB, 64 * KIB)
        copy = scratch / "copy"
        qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={copy}")
        expect_content(shadow, 0, copy.read_bytes(), "the copy")
        expect_sound(qemu_img, image)
