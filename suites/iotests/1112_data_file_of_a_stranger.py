"""This case checks that an image cannot make QEMU open files that nobody asked for.

How: qcow2 images whose data file does not exist, or is named by a json: text that describes another
file. `qemu-img info` opens no data file, so that an image can be checked before it is trusted.
Opening the image for I/O takes the name for a plain file name, and never opens the other file.
Related: wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_in

MIB = 1 << 20


@case(groups="img format qcow2 names", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_img, scratch):
    other = new_disk(MIB)
    trap = json_filename(other.blockdev())
    names = {"missing": str(scratch / "missing"), "json": trap}
    for what, name in names.items():
        disk = new_disk(MIB, prefill=False, format="qcow2")
        plain = str(scratch / "data")
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={plain}", disk.backend.filename,
                 str(MIB))  # fmt: skip
        qemu_img("amend", "-f", "qcow2", "-o", "data_file=" + name.replace(",", ",,"),
                 disk.backend.filename)  # fmt: skip
        (scratch / "data").unlink()
        info = qemu_img.run("info", disk.filename, check=False)
        assert info.returncode == 0, f"qemu-img info opens the data file ({what}): {info.stderr}"
        opened = qemu_img.run("map", disk.filename, check=False)
        assert opened.returncode != 0, f"the image opened a file by the name of a data file: {name}"
        expect_in("Could not open", opened.stderr, f"the error of an image, data file {what}")
    other.verify()
