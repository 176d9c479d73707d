"""This case checks that refcounts of every width count right, up to what they can hold.

How: images with refcounts of 1 to 64 bits are written, rewritten, discarded and checked. One of 1
bit has no snapshot, one of 2 bits two: more are refused in QEMU's words, without harm but for a
leaked cluster, which check mends.
Guards: snapshot-delete-shared-block, map-entry-shifted, config-byteswapped.
"""

from qbdcheck.kit import case

KIB = 1 << 10


@case(groups="format qcow2 snapshot")
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
                golden(f"{bits} bits, one more: {done.stderr.rpartition(': ')[2].strip()}")
                qemu_img("check", "-r", "leaks", disk.filename)
                break
        with qemu_io(disk) as io:
            io.write(128 * KIB - 1, 66 * KIB)
            io.discard(0, 64 * KIB)
        disk.verify()
        assert "No errors were found" in qemu_img("check", disk.filename)
        golden(f"{bits} bits: {taken} snapshots")
