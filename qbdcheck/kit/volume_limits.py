"""The sizes of volumes and requests that the target supports, measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from qbdcheck.errors import NotRun, QbdcheckError, SetupError
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.targets.advertised_sizes import step_of
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession
from reference_backend.nbd.errors import OptionRefused

_UNITS = (512, 4096, 65536, 1 << 20, 4 << 20)
_BASE = 16 << 20
MOST = 64 << 20
"""A size that is rounded up grows by less than this many bytes."""


def size_unit(target: TargetSession) -> int:
    """Return the unit in bytes in which the target makes volumes, at least 512.

    A volume of a multiple of it has exactly the requested size, and ends at the end of a
    minimum block.

    :raise NotRun: no volume has the requested size.
    :raise AssertionError: a volume is smaller, or larger than by rounding.
    """
    of_target = math.lcm(_UNITS[0], step_of(target.description))
    for unit in sorted({*_UNITS, of_target}):
        size = -(-_BASE // unit) * unit + unit
        try:
            disk = target.new_disk(size, prefill=False, format="raw", exact=True)
        except SetupError:
            continue
        seen = _size_made(target, disk)
        if seen == disk.size == size and unit % minimum_block(disk) == 0:
            return unit
    raise NotRun(f"the target makes no volume of {_BASE + _UNITS[-1]} bytes exactly")


def exact_size(target: TargetSession, disk: Disk) -> int:
    """Return the size of the volume in bytes, as the server or, without NBD, QEMU reports it."""
    if "nbd" in target.capabilities:
        with target.nbd(disk, contexts=()) as client:
            return client.size
    return int(target.qemu_img.json("info", disk.filename)["virtual-size"])


def _size_made(target: TargetSession, disk: Disk) -> int:
    """Return the size of a new volume, which may exceed the requested size by less than `MOST`.

    :raise AssertionError: it is smaller, or larger by more.
    """
    seen, size = exact_size(target, disk), disk.size
    wrong = f"a new volume of {size} bytes: expected that size or one rounded up, got {seen}"
    assert size <= seen < size + MOST, wrong
    return seen


def first_possible(
    target: TargetSession, sizes: Iterable[int], log: Callable[..., None], **options: Any
) -> Disk:
    """Make an empty volume of the first of these sizes, in bytes, that the target can make.

    The size must be a multiple of the minimum block.

    :param log: the fixture, for the sizes that it cannot make.
    :param options: of `TargetSession.new_disk`.
    :raise SetupError: it can make none; the message is that of the last attempt.
    :raise NotRun: it made the last one larger. Case 056 checks how it rounds.
    :raise AssertionError: a volume is smaller, or larger than by rounding.
    """
    failure: QbdcheckError = SetupError("no size was given")
    for size in sizes:
        try:
            disk = target.new_disk(size, prefill=False, exact=True, **options)
        except SetupError as error:
            log(f"the target makes no volume of {size} bytes: {error}")
            failure = error
            continue
        try:
            seen, minimum = _size_made(target, disk), minimum_block(disk)
        except OptionRefused as error:
            failure = SetupError(f"a volume of {size} bytes is not served: {error}")
            log(str(failure))
            continue
        if seen == size and size % minimum == 0:
            return disk
        rounded = (
            f"requested a volume of {size} bytes, got {seen} with a minimum block of {minimum}"
        )
        failure = NotRun(f"the target rounds sizes: {rounded}")
        log(str(failure))
    raise failure
