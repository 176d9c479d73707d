"""This case checks that a malformed json: name is refused with a message that names the mistake.

How: broken JSON, wrong types, unknown drivers and missing nodes, all with qemu-img info.
Related: wrong-volume-or-lun.
"""

from qbdcheck.kit import case

NAMES = (
    "json:",
    "json:{",
    "json:[]",
    'json:"disk"',
    "json:{}",
    'json:{"driver":"nosuch"}',
    'json:{"driver":7}',
    'json:{"driver":"raw"}',
    'json:{"driver":"raw","file":"nosuch"}',
    'json:{"driver":"raw","file":{"driver":"nbd"}}',
    'json:{"driver":"nbd","server":{"type":"bogus"}}',
    'json:{"driver":"nbd","server":{"type":"unix"}}',
    'json:{"driver":"nbd","server":{"type":"inet","host":"localhost"}}',
    'json:{"driver":"nbd","server":"SOCKET"}',
    'json:{"driver":"nbd","path":"SOCKET","host":"localhost"}',
    'json:{"driver":"nbd","path":"SOCKET","server.type":"unix"}',
    'json:{"driver":"nbd","server":{"type":"unix","path":"SOCKET"},"export":"a","export":"b"}',
)


@case(groups="names errors quick", requires="nbd", basis="MUST: QAPI, BlockdevOptions")
def test(disk, qemu_img, golden):
    socket = str(disk.volume_path)
    for name in NAMES:
        error = qemu_img.fails("info", name.replace("SOCKET", socket))
        golden(error.strip().replace(socket, "SOCKET").removeprefix("qemu-img: Could not open "))
    disk.verify(0, 4096)
