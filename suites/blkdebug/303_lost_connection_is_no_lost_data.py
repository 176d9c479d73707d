"""This case checks that QEMU reconnects after a lost connection, and repeats each request.

How: the backend ends the connection before, within and after replies to reads and writes. With a
reconnect-delay QEMU must hide that, and every byte must be right.
Guards: zombie-write-after-reconnect, inflight-hang-on-disconnect.
Related: connection-slot-leak.
"""

from qbdcheck.kit import case

PLACES = ("before-request", "before-reply", "mid-reply", "after-reply")


@case(groups="errors rw protocol", requires="nbd", basis="MUST: QAPI, BlockdevOptionsNbd")
def test(disk, storage_daemon, qemu_io, rules):
    with storage_daemon() as qsd:
        node = disk.blockdev(node_name="disk")
        node["file"]["reconnect-delay"] = 10
        qsd.add(node)
        uri = qsd.export("disk", name="through")
        with qemu_io(uri, shadow=disk.shadow) as io:
            for round_, when in enumerate(PLACES):
                for event in ("write_aio", "read_aio"):
                    rules.add({"event": event, "action": "disconnect", "when": when, "once": True})
                    io.write((round_ << 20) + 4096, 20_000)
                    io.read((round_ << 20) + 8192, 20_000)
            io.flush()
    disk.verify()
