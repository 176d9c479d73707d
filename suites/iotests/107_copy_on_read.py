"""This case checks that copy-on-read copies into an overlay what is read, and nothing else.

How: parts of an overlay are read through the copy-on-read filter, also around data of its own. Then
its backing file is removed. What was read must still be there, and the rest must read as zeroes.
Guards: last-block-overrun.
Related: iov-offset-ignored, clone-copyup-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over

KIB, MIB = 1 << 10, 1 << 20
CLUSTER = 64 * KIB
READS = ((5 * CLUSTER + 7, 100), (8 * CLUSTER - 1, 2), (2 * MIB - 512, 512), (1310720, CLUSTER))


@case(groups="img backing qcow2", basis="MUST: QAPI, BlockdevOptionsCor")
def test(new_disk, qemu_io, qemu_img):
    base, top = new_disk("2M"), new_disk("2M", prefill=False, format="qcow2")
    backing = ("-F", "raw", "-b", base.filename)
    qemu_img("create", "-q", "-f", "qcow2", *backing, top.backend.filename)
    top.shadow.write(0, base.shadow.expected(0, base.size))
    filtered = json_filename(over("copy-on-read", top.blockdev()))
    with qemu_io(filtered, shadow=top.shadow) as io:
        io.write(20 * CLUSTER + 4 * KIB, 3 * KIB)
        for offset, length in READS:
            io.read(offset, length)
    ends = [(offset // CLUSTER, (offset + length - 1) // CLUSTER) for offset, length in READS]
    copied = {cluster for first, last in ends for cluster in range(first, last + 1)}
    top.verify()
    base.verify()
    qemu_img("rebase", "-u", "-b", "", top.filename)
    for cluster in set(range(top.size // CLUSTER)) - copied:
        top.shadow.zero(cluster * CLUSTER, CLUSTER)
    top.verify()
