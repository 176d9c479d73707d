"""This case checks that a full store of old data fails the guest's write or the past, by policy.

How: copy-before-write over the disk, and its target refuses writes. With break-guest-write the
guest's write must fail and the past must stay readable. With break-snapshot the write must succeed,
and reads of the past must fail, never return new data.
Related: snapshot-not-point-in-time, async-error-ignored, clone-copyup-lost.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import node
from qbdcheck.kit.expectations import expect_errno, expect_same

AT = 256 << 10


@case(groups="inject errors backup snapshot export", basis="MUST: QAPI, OnCbwError")
def test(new_disk, qemu_io, storage_daemon):
    disk = new_disk("1M")
    for policy in ("break-guest-write", "break-snapshot"):
        store = new_disk("1M", prefill=False)
        past = disk.shadow.expected(0, disk.size)
        rule = error("none", ENOSPC, iotype="write", sector=AT // 512)
        with storage_daemon() as qsd:
            qsd.add(disk.blockdev("disk"))
            qsd.add(blkdebug(store.protocol_blockdev(), rule, node_name="store"))
            qsd.add(node("copy-before-write", "guest", file="disk", target="store",
                         on_cbw_error=policy))  # fmt: skip
            qsd.add(node("snapshot-access", "past", file="guest"))
            with (
                qemu_io(qsd.export("guest"), shadow=disk.shadow) as io,
                qemu_io(qsd.export("past", writable=False), read_only=True) as frozen,
            ):
                io.write(0, 4096)
                expect_same(frozen.read(0, 64 << 10), past[: 64 << 10], "the past at 0")
                if policy == "break-guest-write":
                    expect_errno(io, f"write -P 0x55 {AT} 4096", ENOSPC)
                    expect_same(frozen.read(AT, 8192), past[AT : AT + 8192], f"the past at {AT}")
                else:
                    io.write(AT, 4096)
                    assert errno_of(frozen, f"read {AT} 4096") != 0, (
                        f"the past at {AT} cannot be known, and was read without an error"
                    )
                    assert errno_of(frozen, "read 0 4096") != 0, (
                        "read 0 4096 of the broken past: expected an error, got success"
                    )
                io.read(AT - 4096, 16384)
        disk.verify()
