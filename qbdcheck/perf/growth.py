"""How the cost of a request grows with volumes, snapshots, clients and fragments.

For each axis the CPU time of the server per request is measured at several sizes n. A line through
the logarithms gives the exponent e of cost ~ n^e with its interval: 0 is O(1), 1 is O(n).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from blockio.layers import Command
from blockio.sizes import format_size
from qbdcheck.errors import NotRun, SetupError
from qbdcheck.kit.request_cost import BLOCK, DEPTH, costs_us, places
from qbdcheck.perf.statistics import Estimate, slope_of
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client

VOLUMES = (1 << 30, 1 << 35, 1 << 40, 1 << 44, 100 << 40)
SNAPSHOTS = (1, 4, 16, 64)
CLIENTS = (1, 2, 4, 8, 16, 32)
FRAGMENTS = (16, 256, 4096, 16384)
_COMMANDS = (Command.READ, Command.WRITE)
_PLACES = 240
_BATCHES = 11
_SMALL = 64 << 20
_FLAT, _LINEAR = 0.15, 0.7
TOLERANCE = 0.2
"""An exponent may exceed that of the baseline by this much."""


@dataclass(frozen=True)
class Growth:
    """The cost of one command along one axis.

    :ivar sizes: of the axis. :ivar costs: for each size the samples in microseconds.
    """

    axis: str
    command: str
    sizes: tuple[int, ...]
    costs: tuple[tuple[float, ...], ...]

    @property
    def name(self) -> str:
        """Its name in tables and baselines."""
        return f"{self.axis}, {self.command}"

    @property
    def exponent(self) -> Estimate:
        """The exponent with its interval."""
        return slope_of(self.sizes, self.costs)

    @property
    def order(self) -> str:
        """``O(1)``, ``O(n)``, or a power of n."""
        found = self.exponent
        if found.value < _FLAT:
            return "O(1)"
        if _LINEAR <= found.value <= 2 - _LINEAR:
            return "O(n)"
        return f"O(n^{found.value:.1f})"

    def line(self) -> str:
        """Return a line of the table."""
        medians = [statistics.median(one) for one in self.costs]
        found = self.exponent
        span = f"{_size(self.axis, self.sizes[0])} - {_size(self.axis, self.sizes[-1])}"
        interval = f"{found.value:.2f} ({found.low:.2f} - {found.high:.2f})"
        return (
            f"{self.name:<18}{span:>14}{medians[0]:>8.1f}{medians[-1]:>8.1f}  {interval:<22}"
            f"{self.order}"
        )


HEAD = f"{'axis':<18}{'n':>14}{'first':>8}{'last':>8}  {'exponent e':<22}cost"


def _size(axis: str, size: int) -> str:
    return format_size(size).replace(" ", "") if axis == "volume" else str(size)


def volume(session: Callable[[], TargetSession]) -> Iterator[Growth]:
    """Yield the growth with the size of the volume, up to 100 TiB."""

    def on(size: int) -> dict[Command, list[float]]:
        opened = session()
        try:
            disk = opened.new_disk(size, prefill=False, zero=False)
            with Client.connect(disk.uri) as client:
                return _both(disk, [client], places(size, _PLACES))
        finally:
            opened.close()

    yield from _axis("volume", VOLUMES, on)


def snapshots(session: Callable[[], TargetSession]) -> Iterator[Growth]:
    """Yield the growth with the number of snapshots of a volume."""
    opened = session()
    try:
        disk = opened.new_disk(_SMALL, prefill=False, zero=False)
        taken = 0
        offsets = places(_SMALL, _PLACES)

        def on(count: int) -> dict[Command, list[float]]:
            nonlocal taken
            with Client.connect(disk.uri) as client:
                while taken < count:
                    taken += 1
                    for offset in offsets[taken % 8 :: 8]:
                        client.write(offset, b"s" * BLOCK)
                    disk.backend.snapshot(f"s{taken}")
                return _both(disk, [client], offsets)

        yield from _axis("snapshots", SNAPSHOTS, on)
    finally:
        opened.close()


def clients(session: Callable[[], TargetSession]) -> Iterator[Growth]:
    """Yield the growth with the number of connections that make requests."""
    opened = session()
    try:
        disk = opened.new_disk(_SMALL, prefill=False, zero=False)

        def on(count: int) -> dict[Command, list[float]]:
            with ExitStack() as ends:
                every = [ends.enter_context(Client.connect(disk.uri)) for _ in range(count)]
                return _both(disk, every, places(_SMALL, _PLACES), depth=2)

        yield from _axis("clients", CLIENTS, on)
    finally:
        opened.close()


def fragments(session: Callable[[], TargetSession]) -> Iterator[Growth]:
    """Yield the growth with the number of separate pieces of data in a volume."""

    def on(count: int) -> dict[Command, list[float]]:
        opened = session()
        try:
            size = 2 * BLOCK * max(FRAGMENTS)
            disk = opened.new_disk(size, prefill=False, zero=False)
            pieces = [2 * BLOCK * number for number in range(count)]
            with Client.connect(disk.uri) as client:
                for offset in pieces:
                    client.write(offset, b"f" * BLOCK)
                return _both(disk, [client], pieces[:: max(count // _PLACES, 1)])
        finally:
            opened.close()

    yield from _axis("fragments", FRAGMENTS, on)


AXES = (volume, snapshots, clients, fragments)
"""All axes, each a function of a session."""


def _both(
    disk: Disk, every: Sequence[Client], offsets: Sequence[int], depth: int = DEPTH
) -> dict[Command, list[float]]:
    """Measure writes and reads; the write pass comes first, so that reads find data."""
    costs_us(disk, every, Command.WRITE, offsets, batches=1)
    return {
        command: costs_us(disk, every, command, offsets, depth=depth, batches=_BATCHES)
        for command in _COMMANDS
    }


def _axis(
    axis: str, sizes: Sequence[int], on: Callable[[int], dict[Command, list[float]]]
) -> Iterator[Growth]:
    """Yield the growth of each command over those sizes that the target can make.

    :raise NotRun: it can make fewer than two.
    """
    reached: list[int] = []
    found: list[dict[Command, list[float]]] = []
    why = ""
    for size in sizes:
        try:
            found.append(on(size))
            reached.append(size)
        except (SetupError, NotRun, *HANDSHAKE_ERRORS) as error:
            why = str(error)
            break
    if len(reached) < 2:
        raise NotRun(f"{axis}: {why}")
    for command in _COMMANDS:
        costs = tuple(tuple(one[command]) for one in found)
        yield Growth(axis, command.name.lower(), tuple(reached), costs)
