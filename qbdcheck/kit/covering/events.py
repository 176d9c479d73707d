"""The events between the requests of a walk: flushes, restarts, power cuts, snapshots, sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

from blockio.extents import STATE_ZERO
from qbdcheck.clock import pause
from qbdcheck.errors import ProgramError, SetupError, TooSlowError
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.block_status import StatusWrong, follow
from qbdcheck.kit.covering.classes import ERRNO
from qbdcheck.kit.covering.connections import Connections
from qbdcheck.kit.covering.places import Place
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.request_errors import RequestFailed
from qbdcheck.kit.server_ends import end
from qbdcheck.targets.disk import Disk, Snapshot
from reference_backend.nbd.constants import TransmissionFlag

_CONNECTIONS = 3
_SNAPSHOTS = 3
"""Snapshots that are kept at a time."""
_CHUNK = 65_536
_STEP = 1 << 20
_WHOLE_MAX = 64 << 20
_STRAY_MAX = 256 << 20
"""Bytes that are read at most of what was never written."""
CONTEXT = "base:allocation"
_PAUSE_S = 0.25
"""Seconds in which work in the background continues: deletions, write-back, compaction."""
_KINDS = {"write": "write", "zero": "write-zeroes", "discard": "discard", "flush": "flush"}
"""The kind of request of a rule, by the first word of a command; all others read."""
RESTS_ON = {
    "reconnect": "answered-writes-outlive-their-connection",
    "break off": "answered-writes-outlive-their-connection",
    "snapshot": "snapshot-is-one-moment",
    "snapshot again": "snapshot-is-one-moment",
    "clone": "clone-is-independent",
    "grow": "grown-part-reads-zero",
}
"""Policies without which nothing is known about the data after an event."""


class Events:
    """A volume with its snapshots, its clones and a volume beside it; events happen to them.

    :param connect: connects to a disk; takes the options of `qbdcheck.kit.nbd_io.connect`.
    :param is_coherent: several connections may be used at a time.
    :ivar beside: another volume of the same server, if there is one.
    :ivar unit: new sizes are multiples of it, in bytes.
    :ivar tracking: the metadata context that says what has changed since the newest snapshot.
    :ivar faults: rules for the storage of the volume, if the theme has faults; ``failed`` counts
        the requests that they failed.
    """

    def __init__(
        self,
        disk: Disk,
        connect: Callable[..., NbdIo],
        random: Random,
        *,
        is_coherent: bool,
    ) -> None:
        self.beside: Disk | None = None
        self.tracking = ""
        self.faults: ArmedRules | None = None
        self.failed = 0
        self.unit = 1
        self._connect = connect
        self._random = random
        self.is_coherent = is_coherent
        self._names = 0
        self._snapshots: list[tuple[Disk, Snapshot]] = []
        self._labels: dict[str, str] = {}
        """What snapshots were called when they were taken, by their names as disks."""
        self._original = disk
        self._disks = [disk]
        """The volume, and the clones of the present group; the last one is used."""
        self._clients: dict[str, Connections] = {}
        self._seen: set[int] = set()

    @property
    def disk(self) -> Disk:
        """The volume to which requests go."""
        return self._disks[-1]

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.disk.size

    @property
    def clients(self) -> Connections:
        """The connections to it."""
        return self.clients_of(self.disk)

    def clients_of(self, disk: Disk) -> Connections:
        """Return the connections to a volume."""
        if disk.name not in self._clients:
            most = _CONNECTIONS if self.is_coherent else 1
            connect = partial(self._connected, disk)
            self._clients[disk.name] = Connections(connect, self._random, most)
        return self._clients[disk.name]

    def _connected(self, disk: Disk, **options: Any) -> NbdIo:
        io = self._connect(disk, **options)
        expect_bytes(io.client.size, disk.size, disk.name)
        return io

    @property
    def snapshots(self) -> int:
        """Number of snapshots that are kept."""
        return len(self._snapshots)

    @property
    def clones(self) -> int:
        """Number of clones of the present group."""
        return len(self._disks) - 1

    def is_fresh(self, at: int, length: int) -> bool:
        """Return whether a range was in no ground before; from now on it was."""
        chunks = set(range(at // _CHUNK, (at + length) // _CHUNK + 1))
        fresh = chunks.isdisjoint(self._seen)
        self._seen |= chunks
        return fresh

    # Events --------------------------------------------------------------------------------------

    def happen(self, word: str, places: Sequence[Place]) -> None:
        """Let an event of a course happen.

        :param places: of the main requests of the group.
        """
        events: dict[str, Callable[[], object]] = {
            "flush": lambda: self.clients.first().flush(),
            "other flush": lambda: self.clients.by("another", self.clients.first()).flush(),
            "failing flush": self._fail_flush,
            "flush beside": lambda: self._change_beside(places),
            "pause": lambda: pause(_PAUSE_S),
            "zero all": lambda: self._wipe(TransmissionFlag.SEND_WRITE_ZEROES),
            "discard all": lambda: self._wipe(TransmissionFlag.SEND_TRIM),
            "reconnect": self.clients.close,
            "break off": self.clients.drop,
            "cut": lambda: self._end("cut"),
            "stop": lambda: self._end("stop"),
            "kill": lambda: self._end("kill"),
            "snapshot": self._take,
            "snapshot again": self._take_again,
            "snapshot beside": self._take_beside,
            "remove oldest": lambda: self._remove(0),
            "remove newest": lambda: self._remove(-1),
            "remove two": self._remove_two,
            "clone": self._clone,
            "back": lambda: self._disks.insert(0, self._disks.pop()),
            "grow": lambda: self._resize(self.size + max(self._amount(), self.unit)),
            "shrink": lambda: self._resize(self._edge(places)),
        }
        events[word]()

    def begin(self) -> None:
        """Begin a group: the clones of the one before are left alone from now on."""
        for disk in self._disks:
            if disk is not self._original:
                self._clients.pop(disk.name, self.clients_of(disk)).close()
        self._disks = [self._original]

    def _end(self, way: str) -> None:
        for clients in self._clients.values():
            if way == "stop":
                clients.close()
        end(self.disk, way, self._random.randrange(1 << 30))
        for clients in self._clients.values():
            clients.drop()

    @contextmanager
    def failing(self, command: str, errno: str) -> Iterator[None]:
        """Let the storage fail the next request of a command, once.

        The server may report that, or ask the storage again.

        :raise RequestFailed: a request fails, and the storage did not fail it.
        """
        assert self.faults is not None
        kind = _KINDS.get(command.split(maxsplit=1)[0], "read")
        rule = {"event": "none", "iotype": kind, "errno": errno, "once": True}
        identity = self.faults.add({**rule, "may_not_fire": True})
        failure = None
        try:
            yield
        except RequestFailed as error:
            failure = error
        fired = self.faults.seen(identity).fired
        self.faults.remove(identity)
        self.failed += fired
        if failure is not None and not fired:
            raise failure

    def _fail_flush(self) -> None:
        with self.failing("flush", self._random.choice(ERRNO)):
            self.clients.first().flush()

    def _wipe(self, flag: TransmissionFlag) -> None:
        """Zero or discard the whole volume, as mkfs does, if the target can."""
        io = self.clients.first()
        if io.offers(flag):
            is_zero = flag is TransmissionFlag.SEND_WRITE_ZEROES
            (io.write_zeroes if is_zero else io.discard)(0, self.size)

    def _resize(self, size: int) -> None:
        self.clients.close()
        self.disk.resize(max(_CHUNK, size) // self.unit * self.unit)

    def _amount(self) -> int:
        return self._random.choice((512, 4096, 20_480, 65_536, 307_200, 1 << 20))

    def _edge(self, places: Sequence[Place]) -> int:
        """Return a size that cuts one of the places, or ends at one of its ends."""
        at, length = self._random.choice(places)
        size = self._random.choice((at, at + length // 2, at + length))
        return min(size, self.size)

    def _change_beside(self, places: Sequence[Place]) -> None:
        """Write to the same places of the other volume, and flush it."""
        if self.beside is not None:
            io = self.clients_of(self.beside).first()
            for at, length in places:
                io.write(min(at, self.beside.size - length), min(length, _CHUNK))
            io.flush()

    def _take(self) -> None:
        if len(self._snapshots) >= _SNAPSHOTS:
            self._remove(self._random.choice((0, 1, -1)))
        self._names += 1
        taken = self.disk.snapshot(f"s{self._names}")
        self._labels[taken.name] = f"s{self._names}"
        self._snapshots.append((self.disk, taken))

    def _take_again(self) -> None:
        """Ask for a snapshot with a name that is taken: if it is refused, nothing may change.

        If it is not, the snapshot is replaced, and clones that share its data may be, too.
        """
        known = [one for disk, one in self._snapshots if disk is self.disk]
        if not known:
            return
        snapshot = self._random.choice(known)
        try:
            self.disk.backend.snapshot(self._labels[snapshot.name])
        except TooSlowError:
            raise  # that is no refusal
        except (ProgramError, SetupError):
            return
        original = self._original
        self._snapshots = [
            (disk, one) for disk, one in self._snapshots if disk is original and one is not snapshot
        ]
        self.tracking = ""  # changes are tracked since the new one, whose contents are not known
        self.begin()

    def _take_beside(self) -> None:
        """Take a snapshot of the other volume, with the name of this one's newest."""
        if self.beside is not None and self._snapshots:
            name = f"s{self._names}"
            taken = any(
                one.name.endswith(f"@{name}")
                for disk, one in self._snapshots
                if disk is self.beside
            )
            if not taken:
                self._snapshots.insert(0, (self.beside, self.beside.snapshot(name)))

    def _remove(self, number: int) -> None:
        if self._snapshots:
            _, snapshot = self._snapshots.pop(number)
            self._clients.pop(snapshot.name, Connections(self._connect, self._random)).close()
            snapshot.remove()

    def _remove_two(self) -> None:
        """Remove the two oldest snapshots, one directly after the other."""
        self._remove(0)
        self._remove(0)

    def _clone(self) -> None:
        """Make a clone of the newest snapshot; requests go to it from now on."""
        self._names += 1
        _, snapshot = self._snapshots[-1]
        self._disks.append(snapshot.clone(f"c{self._names}"))

    # What must be there --------------------------------------------------------------------------

    def others(self) -> Iterator[NbdIo]:
        """Yield a connection to each snapshot and each further volume."""
        for _, snapshot in self._snapshots:
            with self._connect(snapshot) as io:
                expect_bytes(io.client.size, snapshot.size, snapshot.name)
                yield io
        for disk in self._disks[:-1]:
            yield self.clients_of(disk).first()
        if self.beside is not None and self.beside.name in self._clients:
            yield self.clients_of(self.beside).first()

    def check_tracking(self, places: Sequence[Place]) -> None:
        """Check that what differs from the newest snapshot is dirty, where that is tracked."""
        found = [snapshot for disk, snapshot in self._snapshots if disk is self.disk]
        io = self.clients.first()
        if not found or self.disk is not self._original or not self.tracking:
            return
        if self.tracking not in io.client.contexts.values():
            return
        with self._connect(found[-1]) as old:
            for at, length in places:
                end = min(at + length, found[-1].size)
                if at >= end:
                    continue
                before, now = old.read(at, end - at), io.read(at, end - at)
                for start, stop, flags in follow(io.client, at, end)[self.tracking]:
                    changed = before[start - at : stop - at] != now[start - at : stop - at]
                    if not flags and changed:
                        where = f"[{start}, {stop})"
                        raise StatusWrong(f"{self.tracking}: {where} changed, but is clean")

    def check_all(self) -> None:
        """Read all that was written; and what claims to hold data, or all of a small volume."""
        io = self.clients.new()
        used = list(self.disk.shadow.used())
        stray = list(_stray(io)) if self.size > _WHOLE_MAX else [(0, self.size)]
        left = _STRAY_MAX
        for at, length in used + stray:
            is_used = left == _STRAY_MAX and (at, length) in used
            count = length if is_used else min(length, left)
            left -= 0 if is_used else count
            for start in range(at, at + count, _STEP):
                io.read(start, min(_STEP, at + count - start))


def _stray(io: NbdIo) -> Iterator[Place]:
    """Yield what block status does not call zero, as far as the target has block status."""
    if CONTEXT in io.client.contexts.values():
        for start, end, flags in follow(io.client, 0, io.client.size)[CONTEXT]:
            if not flags & STATE_ZERO:
                yield start, end - start
