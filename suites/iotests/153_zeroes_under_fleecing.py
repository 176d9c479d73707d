"""This case checks that zeroes and discards save the old contents before they take effect.

How: write-zeroes (with and without unmap) and discards under a copy-before-write filter. The past
is read cluster by cluster, because QEMU 7.2 gets larger reads wrong:
docs/findings.md#qemu-snapshot-access-zeroes.
Guards: status-hole-over-dirty.
Related: discard-not-tracked, snapshot-not-point-in-time.
"""

from copy import deepcopy

from qbdcheck.kit import case

KIB64 = 64 << 10


@case(groups="snapshot export zero discard", basis="MUST: QAPI, BlockdevOptionsCbw")
def test(new_disk, qemu_io, storage_daemon):
    disk, saved = new_disk("2M"), new_disk("2M")
    frozen = deepcopy(disk.shadow)
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source", discard="unmap"))
        qsd.add(saved.blockdev("saved"))
        qsd.add({"driver": "copy-before-write", "node-name": "guest", "file": "source",
                 "target": "saved", "discard": "unmap"})  # fmt: skip
        qsd.add({"driver": "snapshot-access", "node-name": "past", "file": "guest"})
        guest = qemu_io(qsd.export("guest"), shadow=disk.shadow)
        past = qemu_io(qsd.export("past", writable=False), shadow=frozen, read_only=True)
        with guest, past:
            guest.write_zeroes(0, KIB64)
            guest.write_zeroes(2 * KIB64 + 100, 1)
            guest.write_zeroes(4 * KIB64 - 512, 1024, unmap=True)
            guest.discard(8 * KIB64, 2 * KIB64)
            guest.discard(12 * KIB64 + 4096, 4096)
            guest.write_zeroes(16 * KIB64, 16 * KIB64, unmap=True)
            for number in range(disk.size // KIB64):
                past.read(number * KIB64, KIB64)
            guest.flush()
        saves = qsd.qmp("query-named-block-nodes", flat=True)
        assert {"source", "saved", "guest", "past"} <= {node["node-name"] for node in saves}, (
            f"nodes are missing: {sorted(node['node-name'] for node in saves)}"
        )
    # The second volume contains exactly the clusters that were changed.
    changed = [0, 2, 3, 4, 8, 9, 12, *range(16, 32)]
    for number in changed:
        saved.shadow.write(number * KIB64, frozen.expected(number * KIB64, KIB64))
    saved.verify()
    disk.verify()
