"""The sizes of volumes and requests that the target supports, measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

from oracles.damage import Damage
from oracles.damage import size as size_of
from oracles.shadow import LARGEST
from qbdcheck.errors import NotRun, QbdcheckError, SetupError, TooSlowError
from qbdcheck.kit.expectations import WrongAnswer
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.machine_speed import work_s
from qbdcheck.targets.advertised_sizes import step_of
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.lifecycle import COMMAND_S
from qbdcheck.targets.session import TargetSession
from qbdcheck.targets.size_limits import LONG_S
from reference_backend.nbd.errors import OptionRefused

_UNITS = (512, 4096, 65536, 1 << 20, 4 << 20)
_BASE = 16 << 20
_SLOWER = 4
"""A volume that takes longer than this many small ones takes long because of its size."""
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

    :raise WrongAnswer: it is smaller, or larger by more, or larger than an offset can be.
    """
    seen, size = exact_size(target, disk), disk.size
    if seen > LARGEST:
        text = f"a new volume of {size} bytes: the server reports {seen}, above 2^63-1"
        raise WrongAnswer(text, Damage.SIZE, size_of(size), size_of(seen))
    if not size <= seen < size + MOST:
        text = f"a new volume of {size} bytes: expected that size or one rounded up, got {seen}"
        raise WrongAnswer(text, Damage.SIZE, size_of(size), size_of(seen))
    return seen


def first_possible(
    target: TargetSession, sizes: Iterable[int], log: Callable[..., None], **options: Any
) -> Disk:
    """Make an empty volume of the first of these sizes, in bytes, that the target can make.

    The size must be a multiple of the minimum block. A target that writes metadata for each part
    of a volume may need minutes for a huge one, as qemu-img does for a qcow2 image with a raw data
    file. Such a size counts as one that it cannot make, if it makes a small volume faster.

    :param log: the fixture, for the sizes that it cannot make.
    :param options: of `TargetSession.new_disk`.
    :raise SetupError: it can make none; the message is that of the last attempt.
    :raise NotRun: it made the last one larger. Case 056 checks how it rounds.
    :raise AssertionError: a volume is smaller, or larger than by rounding.
    """
    failure: QbdcheckError = SetupError("no size was given")
    sizes = list(sizes)
    patience = _Patience(target)
    for size in sizes:
        try:
            disk = patience.new_disk(size, size == sizes[-1], **options)
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


class _Patience:
    """How long a target may take to make a volume.

    :param target: the target.
    """

    def __init__(self, target: TargetSession) -> None:
        self._target = target
        self._limit_s: float | None = None

    def new_disk(self, size: int, is_last: bool, **options: Any) -> Disk:
        """Make a volume of exactly ``size`` bytes.

        :param is_last: whether there is no smaller size that could be used instead.
        :raise SetupError: the target cannot make it. :raise TooSlowError: it takes too long.
        """
        make = functools.partial(self._target.new_disk, size, prefill=False, exact=True, **options)
        if is_last:
            return make()
        try:
            return make(within_s=LONG_S if self._limit_s is None else self._limit_s)
        except TooSlowError:
            if self._limit_s is not None:
                raise
            self._limit_s = self._measured_s()
            if self._limit_s <= LONG_S:
                raise
            return make(within_s=self._limit_s)

    def _measured_s(self) -> float:
        """Return the limit in seconds of work, from the time that a small volume takes."""
        begin_s = work_s()
        self._target.new_disk(_BASE, prefill=False, format="raw")
        return min(max(LONG_S, _SLOWER * (work_s() - begin_s)), COMMAND_S)
