"""This case checks that `convert --bitmaps` copies persistent bitmaps along with the data.

How: an image with two bitmaps, one of them disabled, is copied to another volume. Names, flags and
granularity must be there, and the data.
Guards: close-error-lost.
Related: incremental-misses-hole.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_sound


@case(groups="img convert bitmap qcow2 quick", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img, golden):
    one, two = (new_disk("2M", format="qcow2", prefill=prefill) for prefill in (True, False))
    qemu_img("bitmap", "--add", "-g", "32k", one.filename, "daily")
    qemu_img("bitmap", "--add", "--disable", one.filename, "weekly")
    with qemu_io(one) as io:
        io.write(100_000, 200_000)
    qemu_img("convert", "--bitmaps", "-O", "qcow2", one.filename, two.backend.filename)
    info = qemu_img.json("info", two.filename)
    for bitmap in info["format-specific"]["data"]["bitmaps"]:
        golden(bitmap["name"], bitmap["granularity"], *sorted(bitmap["flags"]))
    expect_content(one.shadow, 0, two.read_all(), f"volume {two.name}")
    one.verify()
    for disk in (one, two):
        expect_sound(qemu_img, disk.filename)
