"""An image of a format that QEMU cannot create on a volume of fixed size.

QEMU makes the full image in a file. Its bytes then go onto a volume of just that size.
"""

from __future__ import annotations

from pathlib import Path

from oracles.shadow import Shadow
from qbdcheck.kit.expectations import expect_content, expect_no_check_errors
from qbdcheck.programs.blockdev import file_node, json_filename, node, over
from qbdcheck.targets.session import TargetSession

KIB, MIB = 1 << 10, 1 << 20
SIZE = 3 * MIB
"""Size of the image in bytes."""
PIECE = 256 * KIB
SMALL_BLOCKS = {"vhdx": "block_size=1M"}
"""Options of formats whose blocks are larger than the image by default."""
WRITES = ((0, 512), (MIB - 3, 70 * KIB), (2 * MIB + 511, 2), (SIZE - 1, 1))
"""Offset and length of each write, in bytes."""


def exercise_image_on_volume(target: TargetSession, image_format: str, scratch: Path) -> None:
    """Copy a full image onto a volume of its size; read, overwrite and check it there.

    The image is filled from its end to its start, by two programs, because filling in order would
    hide a damaged map.

    :param image_format: the format, as QEMU names it.
    :raise AssertionError: data differs, or qemu-img check finds an error.
    """
    qemu_img = target.qemu_img
    local, read = scratch / "local", scratch / "read"
    shadow = Shadow(SIZE)
    small = ("-o", SMALL_BLOCKS[image_format]) if image_format in SMALL_BLOCKS else ()
    qemu_img("create", "-q", "-f", image_format, *small, local, str(SIZE))
    filled = json_filename(over(image_format, file_node(local)))
    for half in (SIZE, SIZE // 2):
        with target.qemu_io(filled, shadow=shadow) as io:
            for offset in range(half - PIECE, half - SIZE // 2 - 1, -PIECE):
                io.write(offset, PIECE)
    size = -(-local.stat().st_size // 512) * 512
    volume = target.new_disk(size)
    qemu_img("convert", "-n", "-f", "raw", "-O", "raw", local, volume.filename)
    # A target may round the size up. For QEMU the volume ends where the file ended.
    window = node("raw", None, size=size, file=volume.protocol_blockdev())
    image = json_filename(over(image_format, window))
    with target.qemu_io(image, shadow=shadow) as io:
        io.read(MIB - 4 * KIB, 8 * KIB)
        for offset, length in WRITES:
            io.write(offset, length)
        io.flush()
        io.read(MIB - 64 * KIB, 200 * KIB)
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
    expect_content(shadow, 0, read.read_bytes(), f"the {image_format} image, read by qemu-img dd")
    expect_no_check_errors(qemu_img, image)
