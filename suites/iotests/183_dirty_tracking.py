"""This case checks that the target's dirty bitmap reports all that changed since a snapshot.

How: a snapshot, then writes, zeroes, discards and more writes, each in its own place. The context
qbd:dirty must report each of them as dirty, also where a hole is now, and the rest as clean.
Guards: discard-not-tracked, incremental-misses-hole, resize-during-copy.
"""

from qbdcheck.kit import NotRun, case

CONTEXT = "qbd:dirty"
KIB = 1 << 10


@case(
    groups="bitmap discard zero protocol quick",
    requires="nbd snapshot discard write_zeroes",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(new_disk, nbd):
    disk = new_disk("2M")
    disk.backend.snapshot("base")
    with nbd(disk, contexts=(CONTEXT,)) as client:
        if CONTEXT not in client.contexts.values():
            raise NotRun(f"the target has no context {CONTEXT}")
        client.write(64 * KIB, disk.shadow.stamped(64 * KIB, 8 * KIB))
        client.write_zeroes(256 * KIB, 64 * KIB)
        client.trim(512 * KIB, 64 * KIB)
        client.trim(768 * KIB, 64 * KIB)
        client.write(784 * KIB, disk.shadow.stamped(784 * KIB, 4 * KIB))
        changed = [(64, 8), (256, 64)]
        # A discard may do nothing. One that removed the data has changed the volume.
        changed += [(at, 64) for at in (512, 768) if not any(client.read(at * KIB, 8 * KIB))]
        changed.append((784, 4))
        at = 0
        dirty = bytearray(disk.size // (4 * KIB))
        while at < disk.size:
            for extent in client.block_status(at, disk.size - at)[CONTEXT]:
                first, last = at // (4 * KIB), -(-(at + extent.length) // (4 * KIB))
                if extent.flags & 1:
                    dirty[first:last] = b"\1" * (last - first)
                at += extent.length
    expected = bytearray(len(dirty))
    for start, length in changed:
        expected[start // 4 : (start + length) // 4] = b"\1" * (length // 4)
    for wrong, meaning in ((0, "changed, but clean"), (1, "unchanged, but dirty")):
        blocks = [n for n, seen in enumerate(dirty) if seen != expected[n] and seen == wrong]
        assert not blocks, f"qbd:dirty: {meaning}, from {blocks[0] * 4} KiB: {len(blocks)} x 4 KiB"
