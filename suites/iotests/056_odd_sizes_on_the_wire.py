"""This case checks that a volume of odd size is exact, or rounded up to usable space.

How: odd sizes from 1 byte up. A target that makes any size must make each exactly. Another target
may round up: then the surplus must read as zeroes, keep what is written (or refuse it with ENOSPC),
and end where the export ends. All clients must get the same size. If the target can resize volumes,
a volume then shrinks and grows back, and no old data may return.
Guards: size-rounded-down, size-rounded-up, last-block-overrun, grow-exposes-old-data.
Related: oob-past-end.
"""

from errno import ENOSPC

from qbdcheck.kit import SetupError, case
from qbdcheck.kit.expectations import errno_name, expect_zeroes
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_io import CLOSED
from qbdcheck.kit.nbd_requests import request_name, widened

SIZES = (1, 511, 512, 513, 1000, 1023, 4095, 4097, 65537, (1 << 20) + 1)
MOST, KEPT = 8 << 20, 65536
"""The largest surplus in bytes that is taken for rounding; the size to which a volume shrinks."""


@case(
    groups="size protocol",
    requires="nbd",
    basis=("POLICY: volume-is-as-large-as-asked", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk, nbd_io, target, log, not_run):
    most = 0 if "raw_size" in target.capabilities else MOST
    even, last = new_disk(MOST, prefill=False), None
    for asked in sorted({widened(0, size, target.minimum_block)[1] for size in SIZES}):
        try:
            disk = new_disk(asked, prefill=False, exact=True)
        except SetupError as error:
            not_run(f"the target makes no volume of {asked} bytes")
            log(f"{asked} bytes: {error}")
            continue
        size = use_to_the_end(disk, nbd_io, asked, most)
        if size > KEPT:
            last = disk, size
    if "resize" in target.capabilities:
        if last is None:  # the target makes no odd size that can shrink
            last = even, use_to_the_end(even, nbd_io, MOST, most)
        shrink_and_grow(*last, nbd_io, most)


def use_to_the_end(disk, nbd_io, asked, most):
    """Check the size of a new volume, its contents, its last block and its end."""
    with nbd_io(disk) as io:
        size, minimum = io.client.size, io.block_sizes[0]
        wanted = f"{asked} to {asked + most}" if most else f"{asked}"
        seen = f"a volume of {asked} bytes: expected a size of {wanted} bytes, got {size}"
        assert asked <= size <= asked + most, seen
        disk.shadow.resize(size)
        usable = size // minimum * minimum
        expect_zeroes(io.read(0, usable), f"a new volume of {size} bytes")
        whole = max(min(asked, usable) // minimum, 1) * minimum
        write(io, size, 0, whole, may_fail=False)
        for start in {whole - minimum, min(whole, usable - minimum), usable - minimum}:
            write(io, size, start, minimum, may_fail=start + minimum > asked)
    for command in (Command.READ, Command.WRITE):
        for offset, length in ((size, 1), (size - 1, 2), (size + MOST, 512)):
            with nbd_io(disk) as io:
                if io.must_refuse(command, offset, length) != CLOSED:
                    io.read(0, usable)
    with nbd_io(disk) as io:
        assert io.client.size == size, f"second connection: {io.client.size} bytes, before: {size}"
        io.read(0, usable)
    return size


def write(io, size, offset, length, *, may_fail):
    """Write stamps; a target may have no space for the surplus."""
    allowed, longest = (0, ENOSPC) if may_fail else (0,), io.block_sizes[2]
    for at in range(offset, offset + length, longest):
        part = min(longest, offset + length - at)
        error = io.attempt(Command.WRITE, at, part)
        name = request_name(Command.WRITE, at, part)
        assert error in allowed, f"{name} of {size}: expected success, got {errno_name(error)}"


def shrink_and_grow(disk, size, nbd_io, most):
    """Shrink the volume and grow it back: what was cut off must be zero.

    A target that rounds up may cut off less, or nothing. What it kept behind 65536 bytes may go.
    """
    disk.backend.resize(KEPT)
    with nbd_io(disk) as io:
        kept, minimum = io.client.size, io.block_sizes[0]
        assert KEPT <= kept <= min(size, KEPT + most), f"shrunk from {size} to {KEPT}, got {kept}"
    disk.shadow.resize(kept)
    disk.backend.resize(size)
    disk.shadow.resize(size)
    with nbd_io(disk) as io:
        assert io.client.size == size, f"grown back to {size} bytes, got {io.client.size}"
        io.read(0, KEPT)
        start = -(-kept // minimum) * minimum
        if start < size // minimum * minimum:
            io.read(start, size // minimum * minimum - start)
