"""This case checks that QEMU repeats a request correctly, wherever its connection ends.

How: a workload of all kinds of requests goes through an export with a reconnect-delay. Each request
in turn loses its connection, before it is carried out and after.
Guards: zombie-write-after-reconnect, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case

KINDS = ["read", "write", "write-zeroes", "flush"]


@case(
    groups="inject rw protocol slow",
    requires="nbd flush write_zeroes",
    limit_s=120,
    basis="MUST: QAPI, BlockdevOptionsNbd",
)
def test(disk, storage_daemon, qemu_io, schedule):
    with storage_daemon() as qsd:
        node = disk.blockdev(node_name="disk")
        node["file"]["reconnect-delay"] = 10
        qsd.add(node)
        with qemu_io(qsd.export("disk"), shadow=disk.shadow) as io:
            for when in ("before-request", "before-reply", "mid-reply"):
                fault = {"event": "none", "action": "disconnect", "when": when, "iotype": KINDS}
                for _turn in schedule.sweep(fault):
                    io.write(4096, 10_000)
                    io.read(0, 20_000)
                    io.write_zeroes(8192, 4096)
                    io.write(9000, 512, fua=True)
                    io.flush()
                    io.read(8192, 4096)
    disk.verify()
