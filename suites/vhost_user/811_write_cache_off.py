"""This case checks that with the write cache off, each completed write is durable.

How: the driver switches the cache off by the field `writeback`, or it accepts neither FLUSH nor
CONFIG_WCE, whether the daemon offers them or not. Writes and zeroes complete, without a flush. The
daemon is killed, or its power is cut. All of it must be there. Then the same with the cache on and
a flush at the end.
Guards: virtio-write-cache-stays-on, virtio-cache-without-flush.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut
from qbdcheck.kit.virtio_blk import (
    RANGE,
    WANTED,
    Feature,
    Kind,
    VirtioBlk,
    connect,
    wrong_data_after,
)

ROUNDS, WRITES = 9, 9
WITHOUT = WANTED & ~(Feature.FLUSH | Feature.CONFIG_WCE)


@case(
    groups="flush crash quick",
    requires="vhost_user sudden_end",
    basis=("MUST: virtio, Block Device", "POLICY: sector-writes-are-atomic"),
)
def test(disk, seed):
    random = seed.stream("places")
    front_end = connect(disk)
    offered = front_end.offered
    front_end.close()
    for round_ in range(ROUNDS):
        is_third = round_ % 3 == 2 and offered & Feature.FLUSH
        has_switch = offered & Feature.CONFIG_WCE and not is_third
        features = WANTED | Feature.CONFIG_WCE if has_switch else WITHOUT
        with VirtioBlk(disk, features=features) as io:
            on = bool(has_switch and round_ % 3 == 1)
            state = "after writes of a driver that accepts neither FLUSH nor CONFIG_WCE"
            without = "with the write cache off" if has_switch else "to a driver without FLUSH"
            if has_switch:
                state = f"after writes{' and a flush' if on else ''} with writeback={on:d}"
                io.front_end.set_write_cache(on)
                assert io.front_end.config().wce == on, f"`writeback` is not {on} after it was set"
            zeroed = random.randrange(WRITES) if io.has(Feature.WRITE_ZEROES) else None
            for number in range(WRITES):
                offset = random.randrange(disk.size // io.block) * io.block
                if number == zeroed:
                    ranges = RANGE.pack(offset // 512, io.block // 512, 0)
                    pending = io.requests.send(Kind.WRITE_ZEROES, 0, ranges)
                    io.must_succeed(pending, f"write zeroes of {io.block} bytes at {offset}")
                    disk.shadow.zero(offset, io.block)
                else:
                    io.write(offset, io.block)
            if on:
                io.flush()
            else:
                disk.shadow.durable(without)
        cut(disk, seed + round_)
        with wrong_data_after(f"{state}, and the end of the daemon"):
            disk.verify()
