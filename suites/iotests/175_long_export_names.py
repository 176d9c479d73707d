"""This case checks that export names up to 4096 bytes work, and longer ones are refused.

How: a storage daemon exports the disk under names of 255, 256, 4095 and 4096 bytes, which are
prefixes of each other. The disk is written through each. 4097 bytes are refused by client and
server (error texts in the golden).
Related: long-name-smash, acl-prefix-match, handshake-length-off, huge-option-read.
"""

from urllib.parse import parse_qs, urlsplit

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.blockdev import json_filename, nbd_node
from qbdcheck.kit.expectations import expect_equal, expect_in

LENGTHS = (255, 256, 4095, 4096)


@case(groups="names export errors", basis="MUST: NBD, Conventions")
def test(disk, qemu_io, qemu_img, storage_daemon, golden):
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        uris = {length: qsd.export("source", "n" * length) for length in LENGTHS}
        socket = parse_qs(urlsplit(uris[255]).query)["socket"][0]
        for length, uri in uris.items():
            with qemu_io(uri, shadow=disk.shadow) as io:
                io.write(length * 512, 512)
                io.flush()
        for length in (1, 254, 257, 4094):
            error = qemu_img.fails("info", json_filename(nbd_node(socket, "n" * length)))
            expect_in("Requested export not available", error, f"a name of {length} bytes")
        for length in (4097, 5000):
            error = qemu_img.fails("info", json_filename(nbd_node(socket, "n" * length)))
            golden(f"client, {length} bytes:", error.rpartition("}': ")[2])
            try:
                qsd.export("source", "n" * length)
            except QmpFailed as error:
                golden(f"server, {length} bytes:", error.description.replace("n" * length, "NAME"))
            else:
                raise AssertionError(
                    f"an export name of {length} bytes: expected an error, got success"
                )
        expect_equal(len(qsd.qmp("query-block-exports")), len(LENGTHS), "the number of exports")
    disk.verify()
