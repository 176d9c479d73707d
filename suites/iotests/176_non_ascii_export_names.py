"""This case checks that export names of any characters lead to their own volume in every spelling.

How: two disks have pairs of names that a careless server or client confuses (composed and
decomposed letters, percent signs, blanks, commas, emoji): as json:, --image-opts and encoded URI.
Related: wrong-volume-or-lun, handshake-length-off, long-name-smash.
"""

from urllib.parse import parse_qs, quote, urlsplit

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import image_options, json_filename, nbd_node, over
from qbdcheck.kit.expectations import expect_equal

PAIRS = (
    ("caf\u00e9", "cafe\u0301"),
    ("disk%41", "diskA"),
    ("a b", "a+b"),
    ("x,y", "x,,y"),
    ("q?socket=z", "q"),
    ("#1", "%231"),
    ("\u78c1\u76d8-\U0001f4be", "\u78c1\u76d8-\U0001f4bf"),
    ("", " "),
    ("line\nbreak", "line break"),
)


@case(groups="names export", basis=("MUST: NBD, Conventions", "MUST: NBD URI, NBD URI components"))
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    disks = [new_disk("64K"), new_disk("64K")]
    with storage_daemon() as qsd:
        for number, disk in enumerate(disks):
            qsd.add(disk.blockdev(f"disk{number}"))
        socket = parse_qs(urlsplit(qsd.export("disk0", "first")).query)["socket"][0]
        for pair in PAIRS:
            for number, name in enumerate(pair):
                qsd.export(f"disk{number}", name)
        for pair in PAIRS:
            for disk, name in zip(disks, pair, strict=True):
                node = over("raw", nbd_node(socket, name))
                uri = f"nbd+unix:///{quote(name, safe='')}?socket={socket}"
                with qemu_io(json_filename(node), shadow=disk.shadow) as io:
                    io.write(512, 512)
                with qemu_io(uri, shadow=disk.shadow, read_only=True) as io:
                    io.read(0, 4096)
        for disk, name in zip(disks, PAIRS[3], strict=True):
            options = image_options(over("raw", nbd_node(socket, name)))
            expect_equal(
                qemu_img.json("info", "--image-opts", options)["virtual-size"], disk.size, name
            )
    for disk in disks:
        disk.verify()
