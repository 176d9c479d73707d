"""This case checks that QEMU's histograms of latencies count each request of the target once.

How: a device of QEMU keeps histograms with five bounds. The bins of reads and writes must add up to
the requests that were made, and further requests only add to them. New bounds start at zero.
Guards: phantom-write, async-error-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

BOUNDS = [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000]
ROUNDS, PER_ROUND = 2, 12
BACKEND = "/machine/peripheral/d0/virtio-backend"


@case(groups="device perf", basis="MUST: QAPI, block-latency-histogram-set")
def test(disk, machine, log):
    with machine(kind="pc") as vm:
        vm.add(disk.blockdev(node_name="disk"))
        vm.execute("device_add", {"driver": "virtio-blk-pci", "id": "d0", "drive": "disk"})
        vm.execute("block-latency-histogram-set", {"id": BACKEND, "boundaries": BOUNDS})
        for number in range(1, ROUNDS + 1):
            for request in range(PER_ROUND):
                at = request * 8192
                vm.hmp(f'qemu-io -d {BACKEND} "aio_write -P {number} {at} 4096"')
                vm.hmp(f'qemu-io -d {BACKEND} "aio_read {at + 4096} 4096"')
            vm.hmp(f'qemu-io -d {BACKEND} "aio_flush"')
            bins = histograms(vm)
            log(bins)
            for kind, found in bins.items():
                expect_equal(sum(found), number * PER_ROUND, f"{kind} histogram, all bins")
                expect_equal(len(found), len(BOUNDS) + 1, f"{kind} histogram, number of bins")
        vm.execute("block-latency-histogram-set", {"id": BACKEND, "boundaries": BOUNDS[1:]})
        for kind, found in histograms(vm).items():
            expect_equal(found, [0] * len(BOUNDS), f"{kind} histogram after new bounds")
    for request in range(PER_ROUND):
        disk.shadow.pattern(request * 8192, 4096, ROUNDS)
    disk.verify()


def histograms(vm):
    """Return the bins of reads and writes of the device."""
    of_devices = vm.execute("query-blockstats")
    stats = next(one["stats"] for one in of_devices if "d0" in one.get("qdev", ""))
    return {
        kind: stats[f"{word}_latency_histogram"]["bins"]
        for kind, word in (("read", "rd"), ("write", "wr"))
    }
