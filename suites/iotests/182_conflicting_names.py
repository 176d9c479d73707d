"""This case checks that a name given twice in different ways is refused.

How: a file name is combined with options that repeat or contradict it, formats are given twice, and
--image-opts is combined with a format. The error texts are in the golden. The volume must be
unchanged and still open.
Related: wrong-volume-or-lun.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_equal


@case(groups="names errors quick", requires="nbd", basis="MUST: QAPI, BlockdevOptions")
def test(disk, qemu_img, golden):
    node = disk.protocol_blockdev()
    if node["server"]["type"] != "unix":
        raise NotRun("the target is not reached by a Unix socket, and the options name one")
    path, export, uri = str(disk.volume_path), node.get("export", ""), disk.uri
    calls = (
        ("--image-opts", "-f", "raw", f"driver=nbd,path={path},export={export}"),
        ("--image-opts", f"driver=nbd,path={path},export={export},server.type=unix"),
        ("--image-opts", f"driver=nbd,server.type=unix,server.path={path},server.path=/nowhere"),
        ("--image-opts", f"driver=raw,file.driver=nbd,file.path={path},file.host=localhost"),
        ("--image-opts", f"driver=nbd,filename={uri}"),
        ("--image-opts", f"file.filename={uri},file.export=other"),
        ("--image-opts", uri),
        ("-f", "qcow2", uri),
        ("-f", "nosuch", uri),
        ("-f", "raw", "-f", "qcow2", uri),
        (uri, uri),
    )
    for arguments in calls:
        error = qemu_img.fails("info", *arguments)
        for text, word in ((uri, "URI"), (path, "SOCKET"), (f"export={export},", "export=disk,")):
            error = error.replace(text, word)
        golden(error.splitlines()[0].removeprefix("qemu-img: "))
    info = qemu_img.json("info", "-f", "raw", uri)
    expect_equal(info["virtual-size"], disk.size, "qemu-img info, virtual-size")
    disk.verify(0, 65536)
