"""This case checks that the target's dirty bitmap reports all that changed since a snapshot.

How: a snapshot, then writes, zeroes, discards and more writes, each in its own place. The context
qbd:dirty must report each of them as dirty, also where a hole is now, and the rest as clean.
Guards: discard-not-tracked, incremental-misses-hole.
Related: resize-during-copy.
"""

from qbdcheck.kit import NotRun, case

CONTEXT = "qbd:dirty"


@case(
    groups="bitmap discard zero protocol quick",
    requires="nbd snapshot discard write_zeroes",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(new_disk, nbd, target):
    unit = max(4096, target.minimum_block)
    disk = new_disk(512 * unit)
    disk.backend.snapshot("base")
    with nbd(disk, contexts=(CONTEXT,)) as client:
        if CONTEXT not in client.contexts.values():
            raise NotRun(f"the target has no context {CONTEXT}")
        client.write(16 * unit, disk.shadow.stamped(16 * unit, 2 * unit))
        client.write_zeroes(64 * unit, 16 * unit)
        before = {at: disk.shadow.expected(at * unit, 2 * unit) for at in (128, 192)}
        client.trim(128 * unit, 16 * unit)
        client.trim(192 * unit, 16 * unit)
        client.write(196 * unit, disk.shadow.stamped(196 * unit, unit))
        changed = [(16, 2), (64, 16)]
        # A discard may do nothing. One that changed the data has changed the volume.
        changed += [(at, 16) for at, old in before.items()
                    if bytes(client.read(at * unit, 2 * unit)) != old]  # fmt: skip
        changed.append((196, 1))
        at = 0
        dirty = bytearray(disk.size // unit)
        while at < disk.size:
            for extent in client.block_status(at, disk.size - at)[CONTEXT]:
                first, last = at // unit, -(-(at + extent.length) // unit)
                if extent.flags & 1:
                    dirty[first:last] = b"\1" * (last - first)
                at += extent.length
    expected = bytearray(len(dirty))
    for start, length in changed:
        expected[start : start + length] = b"\1" * length
    for wrong, meaning in ((0, "changed, but clean"), (1, "unchanged, but dirty")):
        blocks = [n for n, seen in enumerate(dirty) if seen != expected[n] and seen == wrong]
        assert not blocks, (
            f"qbd:dirty: {meaning}, from {blocks[0] * unit} on: {len(blocks)} blocks of {unit}"
        )
