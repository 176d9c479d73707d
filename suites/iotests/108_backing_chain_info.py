"""This case checks that `info --backing-chain` names every layer of a chain across volumes.

How: raw, qcow2 on it, and qcow2 on that, each on a volume of its own. Formats, sizes and order of
the layers are compared. Then the chain becomes a loop, which QEMU must refuse.
Related: wrong-volume-or-lun, size-rounded-down.
"""

from itertools import pairwise

from qbdcheck.kit import case


@case(groups="img backing qcow2", basis="MUST: qemu-img(1), info")
def test(new_disk, qemu_img, qemu_io, golden):
    chain = [new_disk("512k"), *(new_disk(size, prefill=False, format="qcow2")
                                 for size in ("1M", "1536k"))]  # fmt: skip
    for below, disk in pairwise(chain):
        backing = ("-F", below.format, "-b", below.filename)
        name = disk.backend.filename
        qemu_img("create", "-q", "-f", "qcow2", *backing, name, str(disk.size))
        disk.shadow.write(0, below.shadow.expected(0, below.size))
    base, middle, top = chain
    for layer in qemu_img.json("info", "--backing-chain", top.filename):
        golden(layer["format"], layer["virtual-size"], layer.get("backing-filename-format"))
    for disk in chain:
        disk.verify()
    qemu_img("rebase", "-u", "-F", "qcow2", "-b", middle.backend.filename, middle.filename)
    qemu_img("rebase", "-u", "-F", "qcow2", "-b", middle.backend.filename, top.filename)
    error = qemu_img.fails("info", "-f", "qcow2", "--backing-chain", top.backend.filename)
    golden(error.partition("'")[0].strip(), "...", error.rpartition("' ")[2])
    base.verify()
