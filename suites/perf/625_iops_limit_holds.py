"""This case checks that a limit of requests per second holds on the target, for all sizes.

How: 100 requests go through a throttle node of 400 requests per second, with a burst of a tenth of
a second. They cannot take less than 0.1 s. With iops-size, a request of 64 KiB counts as 16 of
4 KiB, so a sixteenth of them takes as long. A slow machine takes longer, which is right.
Guards: limit-not-held.
"""

from qbdcheck.kit import case, now_s

LIMIT, REQUESTS = 400, 100
KIB = 1 << 10


@case(groups="throttle perf", basis="MUST: QAPI, ThrottleLimits")
def test(new_disk, qemu_io, storage_daemon, log):
    disk = new_disk("2M")
    with storage_daemon() as qsd:
        limits = {"iops-total": LIMIT, "iops-size": 4 * KIB}
        qsd.qmp("object-add", qom_type="throttle-group", id="group", limits=limits)
        qsd.add(disk.blockdev("disk"))
        qsd.add({"driver": "throttle", "node-name": "slow", "throttle-group": "group",
                 "file": "disk"})  # fmt: skip
        with qemu_io(qsd.export("slow"), shadow=disk.shadow) as io:
            for length in (4 * KIB, 64 * KIB):
                counted = length // (4 * KIB)
                count = REQUESTS // counted
                began = now_s()
                for number in range(count):
                    io.aio_write(number % 8 * length, length)
                    io.aio_read((8 + number % 8) * length, length)
                    io.drain()
                took = now_s() - began
                least = (2 * count * counted - LIMIT / 10 - 2 * counted) / LIMIT
                log(f"{2 * count} requests of {length} bytes took {took:.2f} s, at least {least}")
                assert took > least * 0.9, (
                    f"{2 * count} requests of {length} bytes took {took:.2f} s;"
                    f" {LIMIT} per second of 4 KiB allow no less than {least:.2f} s"
                )
    disk.verify()
