"""This case checks that with the write cache off, each completed write is durable.

How: the driver switches the cache off by the field `writeback`. Writes and zeroes complete, without
a flush. The daemon is killed, or its power is cut. All of it must be there. Then the same with the
cache on and a flush at the end.
Guards: virtio-write-cache-stays-on.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut
from qbdcheck.kit.virtio_blk import RANGE, WANTED, Feature, Kind, VirtioBlk


@case(
    groups="flush crash quick",
    requires="vhost_user sudden_end",
    basis=("MUST: virtio, Block Device", "POLICY: sector-writes-are-atomic"),
)
def test(disk, seed, not_run):
    random = seed.stream("places")
    for round_ in range(4):
        with VirtioBlk(disk, features=WANTED | Feature.CONFIG_WCE) as io:
            if not io.has(Feature.CONFIG_WCE):
                not_run("the daemon does not let its write cache be switched off (CONFIG_WCE)")
                return
            on = bool(round_ & 1)
            io.front_end.set_write_cache(on)
            assert io.front_end.config().wce == on, f"`writeback` is not {on} after it was set"
            for _ in range(8):
                offset = random.randrange(disk.size // io.block) * io.block
                io.write(offset, io.block)
            if io.has(Feature.WRITE_ZEROES):
                io.must_succeed(
                    io.requests.send(Kind.WRITE_ZEROES, 0, RANGE.pack(0, io.block // 512, 0)),
                    f"write zeroes of {io.block} bytes at 0",
                )
                disk.shadow.zero(0, io.block)
            if on:
                io.flush()
            else:
                disk.shadow.flush()  # without a cache, what was answered is durable
        cut(disk, seed + round_)
        disk.verify()
