"""This case checks that a request that cannot be done is refused, and changes nothing.

How: reads and writes that begin or end behind the disk, at sectors near 2^55 and 2^64; unknown
types of requests, with and without data; ranges of discards and write zeroes behind the disk, also
with one that is not; unknown flags. Each gets the status of an error. Requests whose length makes
no sense may get any answer. The whole disk is read at the end.
Guards: virtio-range-check-wraps, virtio-unknown-type-ok, virtio-unknown-flag-ok.
"""

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import RANGE, UNMAP, Feature, Kind, Status, VirtioBlk, serves

UNSUPPORTED = (Status.UNSUPP,)
UNKNOWN_TYPES = (2, 3, 7, 9, 99, 0x7FFFFFFF)
"""Types that no device type of this kind has; GET_LIFETIME and others have numbers above 8."""


@case(
    groups="errors quick",
    requires="vhost_user",
    basis=("MUST: virtio, Block Device", "POLICY: refused-request-changes-nothing"),
)
def test(disk):
    sectors = disk.size // 512
    with VirtioBlk(disk) as io:
        block = io.block // 512
        places = (sectors, sectors - block, sectors + 8, 2**55 - block, 2**63, 2**64 - block)
        for sector in places:
            size = 2 * io.block
            io.must_refuse(
                f"a read of {size} bytes at sector {sector}", Kind.READ, sector, reads=size
            )
            io.must_refuse(
                f"a write of {size} bytes at sector {sector}", Kind.WRITE, sector, bytes(size)
            )
        io.must_answer("a read of 100 bytes", Kind.READ, 0, reads=100)
        for kind in UNKNOWN_TYPES:
            for data in (b"", bytes(io.block)):
                io.must_refuse(
                    f"a request of type {kind} with {len(data)} bytes", kind, 0, data,
                    statuses=UNSUPPORTED,
                )  # fmt: skip
        io.read(0, io.block)
        if io.has(Feature.DISCARD):
            refuse_ranges(io, Kind.DISCARD, io.config.max_discard_seg, sectors, block)
            flagged = RANGE.pack(0, block, UNMAP)
            io.must_refuse(
                "a discard with the flag UNMAP", Kind.DISCARD, 0, flagged, statuses=UNSUPPORTED
            )
        if io.has(Feature.WRITE_ZEROES):
            refuse_ranges(io, Kind.WRITE_ZEROES, io.config.max_write_zeroes_seg, sectors, block)
    assert serves(disk), "a new front end is not served after refused requests"
    disk.verify()


def refuse_ranges(io, kind, segments, sectors, block):
    """Send ranges that are wrong, alone and beside a right one, and unknown flags."""
    name = kind.name.lower().replace("_", " ")
    right = RANGE.pack(0, block, 0)
    for sector, count in (
        (sectors, block), (sectors - block, 2 * block), (2**64 - block, 2 * block),
        (2**55 - block, 2 * block), (0, 0xFFFFFFFF),
    ):  # fmt: skip
        wrong = RANGE.pack(sector, count, 0)
        what = f"a {name} of {count} sectors at sector {sector}"
        io.must_refuse(what, kind, 0, wrong)
        if segments > 1:  # ranges are done one by one, so the right one may be done
            io.disk.shadow.zero(0, 512 * block, maybe=True)
            io.must_refuse(f"{what}, behind a right one", kind, 0, right + wrong)
    for flags in (2, 0x80000000):
        what = f"a {name} with the unknown flag {flags:#x}"
        io.must_refuse(what, kind, 0, RANGE.pack(0, block, flags), statuses=UNSUPPORTED)
    io.must_answer(f"a {name} without a range", kind, 0)
    io.must_answer(f"a {name} with half a range", kind, 0, right[:8])
