"""Carries out the rows of a covering array on a volume, and reads what is around each place.

The rows of a group go through the same course of events. A course is a text such as "earlier,
snapshot, main": at ``earlier`` the surroundings of each row of the group are made, at ``main`` and
``then`` its requests are sent, and the other words are done once for the whole group. So an event
that takes long, such as a restart, is shared by many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from qbdcheck.errors import CaseBroken
from qbdcheck.kit.block_status import zero_reads_as_zero
from qbdcheck.kit.covering.array import Row
from qbdcheck.kit.covering.connections import Connections
from qbdcheck.kit.covering.events import Events
from qbdcheck.kit.covering.places import SHAPES, Place, joined, place, related
from qbdcheck.kit.covering.requests import Requests
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.machine_speed import Limit

_MARGINS = (512, 4096, 5000, 65_536, 66_048)
"""Bytes before and behind a place that are made before, and read after it."""
_TOGETHER_MAX = 1 << 20
_READ = 2 << 20
_MARKED, _MARK = 4 << 20, 4096
"""Of longer ranges only places of so many bytes are filled before, and read after a request."""
_TRIES = 8
_ASKED = 0.3
"""Share of the surroundings whose block status is compared with their contents."""


@dataclass
class Step:
    """A row, and where it happens."""

    row: Row
    main: Place
    earlier: Place
    touched: list[Place] = field(default_factory=list)
    data: bytes | None = None
    by: NbdIo | None = None

    def of(self, dimension: str, usual: str) -> str:
        """Return the class of a dimension, which a theme may not have."""
        return self.row.get(dimension, usual)


class Walker:
    """Carries out rows on the volume of ``events``, in its last ``window`` bytes."""

    def __init__(
        self, events: Events, random: Random, log: Callable[..., None], window: int = 1 << 62
    ) -> None:
        self._log = log
        self._events = events
        self._random = random
        self._window = window
        self._requests = Requests(random, events.size)
        self._group: list[Step] = []
        self.rows_done = 0

    @property
    def _clients(self) -> Connections:
        return self._events.clients

    def play(self, rows: Iterable[Row], together: int, limit: Limit) -> bool:
        """Carry out rows in groups of up to ``together`` with the same course.

        :param limit: no group begins that might end after it, judged by the longest one so far; the
            first one always begins.
        :return: whether all rows were carried out.
        :raise CaseBroken: there was none.
        """
        longest_s, are_all_done = 0.0, True
        for group in _groups(rows, together):
            left_s = limit.total_left_s
            if self.rows_done and left_s <= longest_s:
                are_all_done = False
                break
            self._play(group)
            longest_s = max(longest_s, left_s - limit.total_left_s)
        self.check_all()
        if not self.rows_done:
            raise CaseBroken("no row of the covering array was carried out")
        return are_all_done

    def _play(self, rows: Sequence[Row]) -> None:
        self._events.begin()
        self._group = [self._step(row) for row in rows]
        for step in self._group:
            self._log(f"{step.main} {step.earlier} {step.row}")
        words: dict[str, Callable[[Step], None]] = {
            "earlier": self._earlier,
            "main": self._main,
            "failing": self._failing,
            "then": self._then,
        }
        for word in rows[0]["course"].split(", "):
            if word in words:
                self._requests.size = self._events.size
                for step in self._group:
                    words[word](step)
            elif word == "read":
                self._check(self._group)
            else:
                self._events.happen(word, [step.main for step in self._group])
        self._check(self._group)
        self.rows_done += len(rows)

    # The requests of a row -----------------------------------------------------------------------

    def _step(self, row: Row) -> Step:
        size = self._events.size
        main = self._place(row, size)
        if row.get("ground") == "never written":
            for _ in range(_TRIES):
                if self._events.is_fresh(*main):
                    break
                main = self._place(row, size)
        earlier = related(self._random, row.get("relation", "same"), *main, size)
        is_long = main[1] > _MARKED and row["command"] != "write"
        return Step(row, main, earlier, self._marks(main) if is_long else [main, earlier])

    def _place(self, row: Row, size: int) -> Place:
        kinds = [(row["size"], row["offset"])] if "size" in row else SHAPES[row["shape"]]
        low = max(0, size - self._window)
        return place(self._random, *self._random.choice(kinds), size, low)

    def _marks(self, target: Place) -> list[Place]:
        """Return places in, before and behind a long range, instead of all of it."""
        at, length = target
        steps = [0, length // 2, length - _MARK, length, -_MARK]
        steps += [1 << self._random.randrange(16, length.bit_length() - 1) for _ in range(2)]
        starts = {max(0, min(at + step, self._events.size - _MARK)) for step in steps}
        return [(start, _MARK) for start in sorted(starts)]

    def _earlier(self, step: Step) -> None:
        io = self._clients.first()
        ground = step.of("ground", "data")
        self._make_ground(ground, io, step)
        self._requests.earlier(step.of("earlier", "nothing"), io, *self._within(step.earlier))
        step.by = io

    def _make_ground(self, ground: str, io: NbdIo, step: Step) -> None:
        """Bring the surroundings of a row into the state of a class of `GROUND`."""
        if ground == "never written":
            return
        how = {"data": "written", "zeroed": "written, zeroed", "discarded": "written, discarded"}
        if step.main[1] > _MARKED:
            for mark in self._marks(step.main):
                step.touched.append(mark)
                self._requests.earlier("written", io, *mark)
            return
        at, length = self._around(step.main)
        step.touched.append((at, length))
        if ground != "data" or self._events.is_fresh(at, length):
            self._requests.earlier(how.get(ground, ground), io, at, length)

    def _main(self, step: Step) -> None:
        before = step.by if step.by is not None else self._clients.first()
        io = self._clients.by(step.of("connection", "the same"), before)
        target = self._within(step.main)
        depth = step.of("depth", "alone")
        longest = min(_TOGETHER_MAX, io.block_sizes[2] - 2 * io.block_sizes[0])
        if depth != "alone" and target[1] <= longest:
            other = self._clients.by("another", io) if self._events.is_coherent else io
            count = 8 if depth == "with many" else 2
            step.touched += self._requests.together((io, other), step.row, target, count)
        else:
            step.data = self._requests.main(
                step.row["command"], io, target, step.of("fua", ""), step.of("contents", "stamps")
            )
        step.by = io

    def _failing(self, step: Step) -> None:
        """Send the main request while the storage fails it."""
        with self._events.failing(step.row["command"], step.of("errno", "EIO")):
            self._main(step)

    def _then(self, step: Step) -> None:
        if step.of("afterwards", "nothing") == "nothing":
            return
        io = self._clients.by("the same", step.by or self._clients.first())
        step.touched.append(
            self._requests.afterwards(step.row, io, self._within(step.main), step.data)
        )

    def _within(self, target: Place) -> Place:
        """Return a place within the volume, which may have shrunk."""
        at, length = target
        size = self._events.size
        at = min(at, max(0, size - length))
        return at, min(length, size - at)

    # What must be there --------------------------------------------------------------------------

    def _around(self, target: Place, block: int = 1) -> Place:
        at, length = target
        low = max(0, at - self._random.choice(_MARGINS))
        high = min(self._events.size, at + length + self._random.choice(_MARGINS))
        at, length = widened(low, high - low, block)
        return at, min(length, self._events.size - at)

    def _check(self, steps: Sequence[Step]) -> None:
        """Read the places of rows and what is around them, from all volumes."""
        for step in steps:
            first = step.by if step.by is not None else self._clients.first()
            io = self._clients.by(step.of("reader", "the same"), first)
            if step.main[1] <= _MARKED or step.row["command"] == "write":
                io.read(*self._within(step.main))  # before others, which may change a cache
            for target in joined([self._around(self._within(one)) for one in step.touched]):
                self._read(io, target, with_status=self._random.random() < _ASKED)
        for other in self._events.others():
            for step in steps:
                for target in joined([self._around(one) for one in step.touched]):
                    self._read(other, target)
        self._events.check_tracking(joined(self._within(one) for s in steps for one in s.touched))

    def _read(self, io: NbdIo, target: Place, *, with_status: bool = False) -> None:
        at, length = target
        end = min(at + length, io.client.size)
        while at < end:
            count = min(_READ, end - at)
            start, count = widened(at, count, io.block_sizes[0])
            data = io.read(start, min(count, io.client.size - start))
            if with_status:
                zero_reads_as_zero(io, start, start + len(data), data)
            at = start + count

    def check_all(self) -> None:
        """Read all of the volume that was written or that claims to hold data."""
        self._events.check_all()


def _groups(rows: Iterable[Row], together: int) -> Iterator[list[Row]]:
    """Yield rows in groups of up to ``together`` with the same course."""
    waiting: dict[str, list[Row]] = {}
    for row in rows:
        group = waiting.setdefault(row["course"], [])
        group.append(row)
        if len(group) == together:
            yield waiting.pop(row["course"])
    yield from waiting.values()
