"""This case checks that `rebase -u` changes only the name of the backing file, not the data.

How: an overlay is pointed at another volume: its own clusters stay, and the rest reads like the new
base. Then it has no backing file, and the rest reads as zeroes. A name that does not exist is
accepted too.
Related: clone-copyup-lost, wrong-volume-or-lun, missing-object-zero-fill.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20
OWN = (256 * KIB, 128 * KIB)


@case(groups="img backing qcow2", basis="MUST: qemu-img(1), rebase")
def test(new_disk, qemu_io, qemu_img, golden):
    one, two = new_disk("1M"), new_disk("1M")
    top = new_disk("1M", prefill=False, format="qcow2")
    backing = ("-F", "raw", "-b", one.filename)
    qemu_img("create", "-q", "-f", "qcow2", *backing, top.backend.filename)
    top.shadow.write(0, one.shadow.expected(0, MIB))
    with qemu_io(top) as io:
        io.write(*OWN)
    own = top.shadow.expected(*OWN)
    qemu_img("rebase", "-u", "-F", "raw", "-b", two.filename, top.filename)
    top.shadow.write(0, two.shadow.expected(0, MIB))
    top.shadow.write(OWN[0], own)
    top.verify()
    qemu_img("rebase", "-u", "-F", "raw", "-b", "/no/such/base", top.filename)
    broken = qemu_img.run("compare", top.filename, one.filename, check=False)
    golden(broken.returncode, broken.stderr.rpartition("Could not open ")[2])
    qemu_img("rebase", "-u", "-b", "", top.filename)
    top.shadow.zero(0, MIB)
    top.shadow.write(OWN[0], own)
    top.verify()
    one.verify()
    two.verify()
