"""This case checks that a quorum of three outvotes the volume that differs, and reports it.

How: three equal volumes are behind a quorum. What is written must be on all of them. Then one is
changed directly: the export must still read the right data, and QUORUM_REPORT_BAD must name that
volume.
Related: silent-bit-flip, stale-replica-after-failover, flush-one-child-only.
"""

from copy import deepcopy

from qbdcheck.kit import case


@case(groups="export rw", basis="MUST: QAPI, BlockdevOptionsQuorum")
def test(new_disk, qemu_io, storage_daemon):
    disk = new_disk("1M")
    others = [new_disk("1M"), new_disk("1M")]
    for other in others:
        other.shadow = disk.shadow
        other.prefill()
    volumes = [disk, *others]
    with storage_daemon() as qsd:
        with qemu_io(quorum(qsd, volumes), shadow=disk.shadow) as io:
            io.write(4096 - 100, 8192)
            io.write_zeroes(65536, 65536)
            for number in range(8):
                io.aio_write((512 << 10) + number * 5000, 5000)
            io.drain()
            io.flush()
            io.read(0, 65536)
        reports = [event for event in qsd.events if event["event"].startswith("QUORUM")]
        assert not reports, f"the quorum reports a bad child before any change: {reports}"
    for volume in volumes:
        volume.verify()

    others[0].shadow = deepcopy(disk.shadow)
    with qemu_io(others[0]) as liar:
        liar.write(8192, 512)
        liar.flush()
    with storage_daemon() as qsd:
        with qemu_io(quorum(qsd, volumes), shadow=disk.shadow, read_only=True) as io:
            io.read(0, 65536)
        bad = qsd.wait_event("QUORUM_REPORT_BAD")["data"]
        assert bad["node-name"] == "v1" and bad["type"] == "read", (
            f"QUORUM_REPORT_BAD: expected a read of v1, got {bad}"
        )
        assert bad["sector-num"] <= 16 < bad["sector-num"] + bad["sectors-count"], (
            f"QUORUM_REPORT_BAD: expected sector 16, got {bad}"
        )
    disk.verify()


def quorum(qsd, volumes):
    """Export a quorum of the volumes; return its URI."""
    names = [qsd.add(volume.blockdev(f"v{number}")) for number, volume in enumerate(volumes)]
    qsd.add({"driver": "quorum", "node-name": "all", "vote-threshold": 2, "children": names})
    return qsd.export("all")
