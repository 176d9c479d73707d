"""This case checks that the first change of a clone, of any kind, loses none of its parent's data.

How: each kind of change gets a fresh clone, so that no earlier change has copied a unit, however
large. Then a snapshot of the clone, and a clone of that, which is changed in turn. All of them are
read at the end.
Guards: clone-copyup-lost.
Related: snapshot-delete-shared-block, discard-exposes-backing.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


def change(clone, qemu_io, kind):
    if kind == "shrink":
        clone.resize(MIB + 300 * KIB + 512)
        clone.resize(2 * MIB)
        return
    with qemu_io(clone) as io:
        if kind == "write":
            io.write(MIB + 30 * KIB, 512)
        elif kind == "zero":
            io.write_zeroes(MIB + 30 * KIB, 8 * KIB, unmap=True)
        else:
            io.discard(MIB + 32 * KIB, 64 * KIB)
        io.flush()


@case(
    groups="snapshot discard zero",
    requires="clone discard write_zeroes resize",
    basis="POLICY: clone-is-independent",
)
def test(new_disk, qemu_io):
    disk = new_disk("2M")
    snapshot = disk.snapshot("base")
    kinds = ("write", "zero", "discard", "shrink")
    for kind, next_kind in zip(kinds, kinds[1:] + kinds[:1], strict=True):
        clone = snapshot.clone(kind)
        change(clone, qemu_io, kind)
        inner = clone.snapshot("inner")
        second = inner.clone(f"{kind}2")
        change(second, qemu_io, next_kind)
        clone.verify()
        inner.verify()
        second.verify()
    snapshot.verify()
    disk.verify()
