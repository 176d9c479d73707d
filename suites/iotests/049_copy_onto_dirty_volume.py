"""This case checks that a copy onto a used volume leaves none of the old data.

How: `qemu-img convert -n` copies a mostly empty image onto a prefilled volume. Every sector that
shows old contents is reported.
Guards: false-zero-init, zero-via-nondeterministic-discard, write-zeroes-noop.
"""

from qbdcheck.kit import case


@case(
    groups="convert zero quick",
    basis=("MUST: qemu-img(1), convert", "MUST: NBD, NBD_CMD_WRITE_ZEROES"),
)
def test(disk, qemu_img, scratch):
    source = scratch / "source"
    data = disk.shadow.stamped(3 << 20, 100_000)
    with source.open("wb") as file:
        file.truncate(disk.size)
        file.seek(3 << 20)
        file.write(data)
    qemu_img("convert", "-n", "-f", "raw", "--target-image-opts", str(source), options(disk))
    disk.shadow.zero(0, disk.size)
    disk.shadow.write(3 << 20, data)
    disk.verify()


def options(disk):
    """Return the options of the disk's nodes in the syntax of --target-image-opts."""
    flat = []

    def walk(prefix, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            flat.append(f"{prefix}={text.replace(',', ',,')}")

    walk("", disk.blockdev())
    return ",".join(flat)
