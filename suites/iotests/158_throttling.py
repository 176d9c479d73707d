"""This case checks that a throttle group holds two disks to one limit, and changes no data.

How: 512 KiB go through a group of 2 MiB/s with a burst of a tenth of a second. That must take about
a quarter of a second, not seconds. With the limit lifted, the rest must not be slow. All data is
compared.
Guards: phantom-write.
Related: overlap-deadlock, wrong-volume-or-lun.
"""

from qbdcheck.kit import case, now_s, work_s

LIMIT = 2 << 20
PIECES = 16
PIECE = 16 << 10


@case(groups="throttle export", basis="MUST: QAPI, BlockdevOptionsThrottle")
def test(new_disk, qemu_io, storage_daemon):
    disks = [new_disk("2M"), new_disk("2M")]
    with storage_daemon() as qsd:
        qsd.qmp("object-add", qom_type="throttle-group", id="group",
                limits={"bps-write": LIMIT})  # fmt: skip
        ios = []
        for number, disk in enumerate(disks):
            qsd.add(disk.blockdev(f"disk{number}"))
            qsd.add({"driver": "throttle", "node-name": f"slow{number}", "throttle-group": "group",
                     "file": f"disk{number}"})  # fmt: skip
            ios.append(qemu_io(qsd.export(f"slow{number}"), shadow=disk.shadow))
        began, began_work_s = now_s(), work_s()
        for number in range(PIECES):
            for io in ios:
                io.aio_write(number * 2 * PIECE, PIECE)
        for io in ios:
            io.drain()
        took, took_work_s = now_s() - began, work_s() - began_work_s
        ideal = 2 * PIECES * PIECE / LIMIT
        assert ideal / 2 < took and took_work_s < ideal * 20, (
            f"the writes took {took:.2f} s; {ideal:.2f} s is ideal at {LIMIT} bytes per second"
        )

        qsd.qmp("qom-set", path="group", property="limits", value={"bps-write": 0})
        began_work_s = work_s()
        for io in ios:
            io.write(1 << 20, 1 << 20)
            io.flush()
            io.close()
        assert work_s() - began_work_s < took * 20, (
            f"without the limit the writes took more than {took * 20:.2f} s"
        )
    for disk in disks:
        disk.verify()
