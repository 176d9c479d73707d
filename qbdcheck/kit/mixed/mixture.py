"""Rounds of requests in flight, with events between and among them, on a volume and its clones.

No course of events is prepared: what follows what is drawn, so a restart may follow a restart, and
a snapshot a broken connection. After each round the places that it changed are read, with what is
around them; snapshots and clones are read too. The shadows of all volumes decide what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from random import Random

from blockio.layers import Command
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.block_status import zero_reads_as_zero
from qbdcheck.kit.covering.classes import ERRNO
from qbdcheck.kit.covering.events import CONTEXT, RESTS_ON, Events
from qbdcheck.kit.covering.places import Place, joined
from qbdcheck.kit.mixed.burst import Burst
from qbdcheck.kit.mixed.style import Style, drawn
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import first_possible, size_unit
from qbdcheck.machine_speed import Limit
from qbdcheck.seed import Seed
from qbdcheck.targets.advertised_sizes import step_of
from qbdcheck.targets.session import TargetSession
from reference_backend.nbd.constants import TransmissionFlag

MIB = 1 << 20
_PAGE, _UNIT = 4096, 65_536
_UNITS = (512, 4096, 65_536, 0)
_TRACKING = "qbd:dirty"
_CLONES, _GROWTH = 2, 4 * MIB
_MOST_TURNS = 16
_LEAST_ROUNDS = 6
_COLD = 48
"""Blocks that are read elsewhere, so that what caches hold is used, or replaced."""
_ENDS = ("cut", "kill", "stop")
_WEIGHTS = {
    "flush": 5,
    "other flush": 2,
    "reconnect": 2,
    "break off": 2,
    "cut": 5,
    "kill": 1,
    "stop": 1,
    "snapshot": 5,
    "snapshot again": 1,
    "remove oldest": 1,
    "remove newest": 1,
    "remove two": 2,
    "clone": 4,
    "back": 2,
    "grow": 2,
    "shrink": 1,
    "pause": 1,
}
_NEEDS = {
    "cut": "sudden_end",
    "kill": "kill",
    "stop": "kill",
    "snapshot": "snapshot_read",
    "snapshot again": "snapshot_read",
    "remove oldest": "snapshot_remove",
    "remove newest": "snapshot_remove",
    "remove two": "snapshot_remove",
    "clone": "clone",
    "grow": "resize",
    "shrink": "resize",
}
_COMMANDS = {
    Command.WRITE_ZEROES: TransmissionFlag.SEND_WRITE_ZEROES,
    Command.TRIM: TransmissionFlag.SEND_TRIM,
    Command.FLUSH: TransmissionFlag.SEND_FLUSH,
    Command.CACHE: TransmissionFlag.SEND_CACHE,
}


class Mixture:
    """Carries out rounds on the volume of ``events``.

    :param words: the events that may happen.
    """

    def __init__(
        self, events: Events, random: Random, words: Collection[str], log: Callable[..., None]
    ) -> None:
        self._events = events
        self._random = random
        self._words = list(words)
        self._log = log
        self._size = events.size
        self._pool = [random.randbytes(_PAGE) for _ in range(2)] + [bytes(2048) + b"\1" * 2048]
        self._hot: int | None = None
        self._is_tracked = False
        self.happened: set[str] = set()

    def play(self, rounds: int, limit: Limit) -> int:
        """Carry out rounds until a limit is over, and read everything at the end.

        Return the number of rounds.
        """
        done = 0
        while done < rounds and (done < _LEAST_ROUNDS or not limit.is_over):
            self._round(done)
            done += 1
        self._events.check_all()
        for other in self._events.others():
            for start in range(0, other.client.size, MIB):
                other.read(start, min(MIB, other.client.size - start))
        return done

    def _round(self, number: int) -> None:
        events, random = self._events, self._random
        ios = self._ios()
        offered: dict[Command, bool] = {
            one: one not in _COMMANDS or ios[0].offers(_COMMANDS[one])
            for one in (Command.READ, Command.WRITE, *_COMMANDS)
        }
        style = drawn(random, events.size, offered, self._hot)
        self._hot = None
        words = self._course()
        self._log(f"round {number}: {words} {style}")
        ground = self._ground(ios[0], style)
        touched = [place for place, _ in ground]
        burst = Burst(ios, random, self._pool)
        burst.begin(ground)
        burst.send(style)
        if words and words[0] == "cut" and random.random() < 0.5:
            burst.abandon()  # power fails while they are in flight
        else:
            burst.finish_all()
            self._fail_one(style, touched)  # not beside changes in flight that a read saw
        touched += burst.touched
        for word in words:
            self._happen(word, touched)
        if words and random.random() < 0.6:
            again = Burst(self._ios(), random, self._pool)
            again.run(style if style.low + style.span <= events.size else drawn(
                random, events.size, offered, None))  # fmt: skip
            touched += again.touched
        self._check(touched, with_others=bool(words) and random.random() < 0.4)

    def _ios(self) -> list[NbdIo]:
        """Return two connections or three, or one if they may not see each other's data."""
        clients = self._events.clients
        first = clients.first()
        if not self._events.is_coherent:
            return [first]
        found = [first, clients.by("another", first)]
        if self._random.random() < 0.2:
            found = [clients.by("another", first), clients.by("a new one", first)]
        return found

    def _course(self) -> list[str]:
        """Draw up to four events; what was flushed is of interest at an end of the server."""
        random = self._random
        words = random.choices(self._words, k=random.choice((0, 0, 1, 1, 2)))
        if "cut" in self._words and random.random() < 0.4:
            words += random.choice((["flush"], ["other flush"], ["other flush"], []))
            words += ["cut"] * random.choice((1, 1, 1, 2))
        return words

    def _happen(self, word: str, touched: list[Place]) -> None:
        events = self._events
        has = {"clone": events.snapshots, "back": events.clones, "remove two": events.snapshots > 1}
        if not has.get(word, True):
            return
        if word == "clone" and events.clones >= _CLONES:
            events.begin()
        if word == "grow":
            if events.size > self._size + _GROWTH:
                return
            self._read_tail()
            self._hot = events.size if self._random.random() < 0.8 else None
        self.happened.add(word)
        events.happen(word, [self._within(one) for one in touched] or [(0, _UNIT)])
        if word == "snapshot":
            self._is_tracked = True
        elif word in _ENDS:
            self._is_tracked = False

    def _ground(self, io: NbdIo, style: Style) -> list[tuple[Place, bool]]:
        """Bring the hot places into the state that a style has.

        Return them, each with whether it holds data.
        """
        hole = TransmissionFlag.SEND_WRITE_ZEROES
        if style.ground == "discarded" or self._random.random() < 0.5:
            hole = TransmissionFlag.SEND_TRIM
        make_hole = io.write_zeroes if hole is TransmissionFlag.SEND_WRITE_ZEROES else io.discard
        if style.ground == "as it is" or not io.offers(hole):
            return []
        step = style.step if style.ground == "in turns" else style.span
        found = []
        for number, start in enumerate(range(style.low, style.low + style.span, step)):
            at, length = self._within(widened(start, step, io.block_sizes[0]))
            is_odd = style.ground == "in turns" and bool(number % 2)
            is_written = length <= MIB and (style.ground == "written" or is_odd)
            (io.write if is_written else make_hole)(at, length)
            found.append(((at, length), is_written))
            if number > _MOST_TURNS:
                break
        return found

    def _fail_one(self, style: Style, touched: list[Place]) -> None:
        """Let the storage fail a change of the hot places, or a flush."""
        if self._events.faults is None or self._random.random() < 0.7:
            return
        io = self._events.clients.first()
        what = self._random.choice(("write", "zero", "discard", "flush", "read"))
        length = self._random.choice(style.lengths)
        at, length = widened(
            style.low + self._random.randrange(style.span), length, io.block_sizes[0]
        )
        at, length = self._within((at, length))
        touched.append((at, length))
        flags = {"zero": TransmissionFlag.SEND_WRITE_ZEROES, "discard": TransmissionFlag.SEND_TRIM}
        if what in flags and not io.offers(flags[what]):
            return
        with self._events.failing(what, self._random.choice(ERRNO)):
            self._carry_out(what, io, at, length)

    @staticmethod
    def _carry_out(what: str, io: NbdIo, at: int, length: int) -> None:
        if what == "flush":
            io.flush()
        elif what == "write":
            io.write(at, length)
        elif what == "zero":
            io.write_zeroes(at, length)
        elif what == "discard":
            io.discard(at, length)
        else:
            io.read(at, length)

    # What must be there --------------------------------------------------------------------------

    def _within(self, place: Place) -> Place:
        at, length = place
        size = self._events.size
        at = min(at, max(0, size - length))
        return at, min(length, size - at)

    def _read_tail(self) -> None:
        """Read the last unit of the volume, as a client does that looks for a partition table."""
        io = self._events.clients.first()
        at = max(0, self._events.size - self._random.choice((_PAGE, _UNIT)))
        at -= at % max(_PAGE, io.block_sizes[0])
        io.read(at, self._events.size - at)

    def _check(self, touched: list[Place], *, with_others: bool) -> None:
        events, random = self._events, self._random
        io = random.choice(self._ios())
        places = joined([self._around(one, io) for one in map(self._within, touched)])
        if random.random() < 0.25:
            self._sweep(io, places)
        for place in places:
            self._read(io, place)
        if with_others:
            for other in events.others():
                for at, length in places:
                    end = min(at + length, other.client.size)
                    if at < end:
                        self._read(other, (at, end - at))
        if self._is_tracked:
            events.check_tracking(places)

    def _around(self, place: Place, io: NbdIo) -> Place:
        at, length = place
        margin = self._random.choice((512, _PAGE, _UNIT))
        low, high = max(0, at - margin), min(self._events.size, at + length + margin)
        at, length = widened(low, high - low, io.block_sizes[0])
        return at, min(length, self._events.size - at)

    def _sweep(self, io: NbdIo, places: list[Place]) -> None:
        """Read blocks of what was touched, then many others, then the first ones again."""
        block = max(_PAGE, io.block_sizes[0])
        end = self._events.size - block
        own = [
            at
            for low, length in places
            for at in range(low - low % block, low + length, block)
            if at <= end
        ]
        own = self._random.sample(own, min(len(own), 8))
        cold = range(0, end, block)
        for at in (*own, *self._random.sample(cold, min(len(cold), _COLD)), *own):
            io.read(at, block)

    def _read(self, io: NbdIo, place: Place) -> None:
        at, length = place
        for start in range(at, at + length, MIB):
            count = min(MIB, at + length - start)
            data = io.read(start, count)
            if self._random.random() < 0.2:
                zero_reads_as_zero(io, start, start + count, data)


def mix(
    target: TargetSession,
    connect: Callable[..., NbdIo],
    seed: Seed,
    log: Callable[..., None],
    *,
    rounds: int,
    within_s: float,
    size: int = 12 * MIB,
    rules: ArmedRules | None = None,
    without: Collection[str] = (),
) -> None:
    """Carry out rounds on a new volume.

    :param connect: connects to a disk (the fixture ``nbd_io``).
    :param within_s: seconds after which no further round begins: a server may start slowly.
    :param size: of the volume, in bytes, without its odd end.
    :param rules: of any disk (the fixture ``rules``); the storage then fails some requests.
    :param without: events that do not happen.
    :raise CaseBroken: no event happened, although the target can do some.
    """
    step = step_of(target.description)
    whole = -(-size // step) * step + step
    disk = first_possible(target, [*(size + unit for unit in _UNITS), whole], log)
    is_coherent = target.needs_export(disk) or "multi_conn" in target.capabilities
    if target.waived("requests-take-effect-at-one-moment"):
        is_coherent = False  # then nothing is read or flushed beside changes of another connection
    connect = partial(connect, contexts=(CONTEXT, _TRACKING))
    events = Events(disk, connect, seed.stream("events"), is_coherent=is_coherent)
    with connect(disk, structured=True) as io:
        events.unit = io.block_sizes[0]
        is_tracked = _TRACKING in io.client.contexts.values()
        if is_tracked and not target.waived("dirty-bitmap-covers-all-changes"):
            events.tracking = _TRACKING
    if "raw_size" not in target.capabilities and "resize" in target.capabilities:
        events.unit = max(events.unit, size_unit(target))
    events.faults = None if rules is None else rules.on(disk)
    can = {*target.capabilities, ""}
    words = [
        word
        for word, weight in _WEIGHTS.items()
        if word not in without and _NEEDS.get(word, "") in can
        if word not in RESTS_ON or not target.waived(RESTS_ON[word])
        for _ in range(weight)
    ]
    mixture = Mixture(events, seed.stream("rounds"), words, log)
    done = mixture.play(rounds, Limit(within_s))
    if not mixture.happened:
        raise CaseBroken("no event happened between the requests")
    log(f"{done} of {rounds} rounds with {', '.join(sorted(mixture.happened))}")
