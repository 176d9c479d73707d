"""This case checks that refcounts of every width count correctly, up to their maximum.

How: images with refcounts of 1 to 64 bits are written, rewritten, discarded and checked. With 1 bit
there can be no snapshot, with 2 bits two. Further ones are refused and leave no more than a leaked
cluster, which check repairs.
Guards: map-entry-shifted, config-byteswapped.
Related: snapshot-delete-shared-block.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound

KIB = 1 << 10


@case(groups="format qcow2 snapshot", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("512k", prefill=False, format="qcow2")
    for bits in (1, 2, 8, 64):
        disk.create_image(disk.size, f"refcount_bits={bits}")
        disk.shadow.zero(0, disk.size)
        with qemu_io(disk) as io:
            io.write(60 * KIB, 200 * KIB)
        taken = 0
        for name in ("a", "b", "c"):
            done = qemu_img.run("snapshot", "-c", name, disk.filename, check=False)
            taken += done.returncode == 0
            if done.returncode:
                golden(f"{bits} bits, one more: {reason(done.stderr)}")
                qemu_img("check", "-r", "leaks", disk.filename)
                break
        with qemu_io(disk) as io:
            io.write(128 * KIB - 1, 66 * KIB)
            io.discard(0, 64 * KIB)
        disk.verify()
        expect_sound(qemu_img, disk.filename)
        golden(f"{bits} bits: {taken} snapshots")


def reason(printed):
    """Return the text of the errno. QEMU before 10.0 prints its number in front of it."""
    return printed.rpartition(": ")[2].strip().removeprefix("-22 (").removesuffix(")")
