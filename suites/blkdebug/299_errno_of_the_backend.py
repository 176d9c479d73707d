"""This case checks that each errno of the backend is reported to clients as the protocol says.

How: one rule in the backend, whose errno changes 13 times. A raw client sends all commands with
simple and structured replies and DF, and a backup of QEMU reads. The golden is part of
docs/errno-matrix.md.
Guards: errno-collapsed, async-error-ignored, error-kills-connection.
"""

from functools import partial

from qbdcheck.kit import case
from qbdcheck.kit.errno_matrix import (
    ERRNOS,
    WIRE_COLUMNS,
    answer,
    of_a_backup,
    on_the_wire,
    row,
)

AT = 64 << 10
KINDS = ["read", "write", "write-zeroes", "discard", "flush", "block-status"]


@case(
    groups="inject errors job protocol",
    requires="nbd flush discard write_zeroes structured df",
    basis="SHOULD: NBD, Error values",
)
def test(disk, nbd, qemu_io, storage_daemon, rules, golden):
    golden(row("injected", *WIRE_COLUMNS, "qemu-io", "job"))
    with storage_daemon() as qsd, qemu_io(disk) as io:
        qsd.add(disk.protocol_blockdev("volume", read_only=True))
        fault = rules.add({"event": "none", "iotype": KINDS, "errno": "EIO"})
        for name in ERRNOS:
            rules.change(fault, errno=name)

            def connect(structured):
                return nbd(disk, structured=structured)

            seen = on_the_wire(connect, AT, status_at=AT)
            by_qemu_io = answer(partial(io.request, f"read {AT} 4096"))
            for what, end in zip((*WIRE_COLUMNS, "qemu-io"), (*seen, by_qemu_io), strict=True):
                assert "ok" not in end.split("/"), f"{what}: expected {name}, got success"
            golden(row(name, *seen, by_qemu_io, of_a_backup(qsd, "volume", disk.size)))
        rules.heal()
    disk.verify()
