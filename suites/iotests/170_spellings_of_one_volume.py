"""This case checks that every spelling of a volume's name leads to the same volume.

How: the same NBD export as URI, percent-encoded URI, old-style name, nested json:, dotted json: and
--image-opts. qemu-img info must agree, and stamps written through one name are read through all.
Related: wrong-volume-or-lun, handshake-length-off.
"""

from urllib.parse import parse_qs, urlsplit

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.blockdev import image_options, json_filename
from qbdcheck.kit.expectations import expect_equal


def spellings(disk):
    node = disk.protocol_blockdev()
    server, export = node["server"], node.get("export", "")
    if not export:
        raise NotRun("the target has one export without a name")
    encoded = "".join(f"%{byte:02x}" for byte in export.encode())
    dotted = {f"server.{key}": value for key, value in server.items()}
    yield disk.uri
    yield disk.uri.replace(f"/{export}", f"/{encoded}", 1)
    if server["type"] == "unix":
        expect_equal(
            parse_qs(urlsplit(disk.uri).query)["socket"], [server["path"]], "the socket in the URI"
        )
        yield f"nbd:unix:{server['path']}:exportname={export}"
    else:
        yield f"nbd:{server['host']}:{server['port']}:exportname={export}"
    yield json_filename(node)
    yield json_filename({"driver": "raw", "file": node})
    yield json_filename({"driver": "raw", "file.driver": "nbd", "file.export": export,
                         **{f"file.{key}": value for key, value in dotted.items()}})  # fmt: skip


@case(
    groups="names",
    requires="nbd",
    basis=("MUST: NBD URI, NBD URI components", "MUST: QAPI, BlockdevOptionsNbd"),
)
def test(disk, qemu_io, qemu_img):
    names = list(spellings(disk))
    with qemu_io(disk) as io:
        io.write(1 << 20, 4096)
        io.flush()
    seen = [qemu_img.json("info", name) for name in names]
    seen += [
        qemu_img.json("info", "--image-opts", image_options(node))
        for node in (disk.blockdev(), disk.protocol_blockdev())
    ]
    for info in seen:
        expect_equal(info["virtual-size"], disk.size, f"the size of {info['filename']}")
        expect_equal(info["filename"], seen[0]["filename"], "the file name")
        assert info["format"] in ("raw", "nbd"), (
            f"the format is {info['format']}, neither raw nor nbd"
        )
    for name in names:
        with qemu_io(name, shadow=disk.shadow, read_only=True) as io:
            io.read((1 << 20) - 4096, 12288)
