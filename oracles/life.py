"""The life of a sector: all that happened to it, in order, as a record that a finding carries.

`History` keeps a bounded list of moments: writes, reads, flushes, power cuts, faults. `life_of`
selects those that touched a range, and those that concern the whole volume. `culprit_of` names the
moment that a finding contradicts: the write that is gone, or the flush that did not keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import islice

from oracles.damage import Content, Damage, What
from oracles.resizes import is_cut_off

MOST = 200
"""Moments of one life that touched the range; flushes and the like come in addition."""
_OTHERS = 100
"""Flushes, power cuts and faults of one life."""
_GONE = frozenset(
    {
        Damage.ZEROED,
        Damage.STALE,
        Damage.NEVER_WRITTEN,
        Damage.LOST,
        Damage.OTHER_WRITE,
        Damage.TORN,
        Damage.UNKNOWN,
        Damage.BIT_FLIP,
        Damage.ALTERED,
        Damage.SHIFTED,
        Damage.FOREIGN,
    }
)
"""Kinds of damage that mean that a write is not there, or not whole."""
_PARTS = (Damage.TORN, Damage.BIT_FLIP, Damage.ALTERED, Damage.SHIFTED)
"""Kinds of damage that leave something of the write."""
_SECTOR = 512
WHOLE = ("flush", "durable", "cut", "fault", "resize", "restart", "snapshot")
"""Kinds of moments that concern the whole volume."""
NOT_JUDGED = "not judged: in flight with a change there"
"""The text of a read that nobody compared."""
DIFFERED = "was wrong"
"""The text of a read that was compared and differed, where the case went on."""
CHANGES = ("prefill", "write", "zero", "discard")
MAKES_DURABLE = ("flush", "durable")
IN_FLIGHT = " (in flight with others)"
"""Ends the text of a change that was in flight together with others that overlap it."""
REMOVED = " was removed"
"""Ends the text of the moment of a removed snapshot or volume."""
KILLED = "the server was killed"
"""The text of a cut that was no power cut, but the end of the server by SIGKILL."""
_NAMED = 2
"""Connections that are named at most where several were closed."""


@dataclass(frozen=True)
class Moment:
    """One event in the life of a volume.

    :ivar kind: ``prefill``, ``write``, ``zero``, ``discard``, ``read``, ``cut``,
        ``fault``, ``resize``, ``restart`` (the server was stopped in its normal way), ``snapshot``
        (a snapshot or clone was made or removed, as the text says), ``flush``, ``durable`` (what
        was acknowledged is durable without a flush; the text says why), ``close`` (the connection
        of ``lane`` was closed in its normal way), ``status`` (a block status was requested) or
        ``error`` (a request failed; the text has its name and the error).
    :ivar number: of the operation, as in its stamp; 0 where it has none.
    :ivar at_s: when it was known to be over, in seconds since the case began; None if that
        was not recorded.
    :ivar lane: the connection or the program; empty if it is not known.
    :ivar generation: of its stamps; None where it wrote none.
    :ivar fua: the request was to be durable when it was acknowledged.
    :ivar is_certain: it was acknowledged; False: it failed, or nothing is known of it.
    :ivar text: further words.
    """

    kind: str
    number: int = 0
    offset: int = 0
    length: int = 0
    at_s: float | None = None
    lane: str = ""
    generation: int | None = None
    fua: bool = False
    is_certain: bool = True
    text: str = ""

    def touches(self, offset: int, length: int) -> bool:
        """Return whether it touched a byte of a range, or concerns the whole volume."""
        if self.kind in WHOLE:
            return True
        return (
            self.kind != "close"
            and self.offset < offset + length
            and offset < self.offset + self.length
        )


def life_of(moments: Sequence[Moment], places: Sequence[tuple[int, int]]) -> tuple[Moment, ...]:
    """Return the last moments that concern ranges of bytes (offset, length), in their order.

    The end of a connection is one of them if the connection touched a range.
    """

    def concerns(one: Moment) -> bool:
        return any(one.touches(*place) for place in places)

    touching = (one for one in reversed(moments) if one.kind not in WHOLE and concerns(one))
    kept = list(islice(touching, MOST))
    others = list(islice((m for m in reversed(moments) if m.kind in WHOLE), _OTHERS))
    lanes = {one.lane for one in kept}
    closed = [one for one in moments if one.kind == "close" and one.lane in lanes]
    chosen = {id(moment) for moment in (*kept, *others, *closed)}
    return tuple(each_once([moment for moment in moments if id(moment) in chosen]))


def left_out(moments: Sequence[Moment], places: Sequence[tuple[int, int]]) -> int:
    """Return how many moments that concern ranges `life_of` leaves out, since there are many."""
    others = sum(one.kind in WHOLE for one in moments)
    concerned = sum(any(one.touches(*place) for place in places) for one in moments)
    return max(0, concerned - others - MOST) + max(0, others - _OTHERS)


def each_once(moments: Sequence[Moment]) -> list[Moment]:
    """Return moments without changes that were recorded when they were sent and acknowledged later.

    A request in flight is recorded as one whose outcome is unknown, and again when it has ended.
    """
    ended = {(one.kind, one.number) for one in moments if one.number and one.is_certain}
    return [
        one
        for one in moments
        if one.is_certain or one.kind not in CHANGES or (one.kind, one.number) not in ended
    ]


@dataclass(frozen=True)
class Answer(Moment):
    """A block status in full.

    :ivar states: of each extent its context, start and end in bytes, and its state in words.
    """

    states: tuple[tuple[str, int, int, str], ...] = ()

    def said_of(self, places: Sequence[tuple[int, int]]) -> Moment:
        """Return the moment with what it said of the first of some ranges that it covers."""
        told: list[str] = []
        for offset, length in places:
            for context in dict.fromkeys(one[0] for one in self.states):
                states = [
                    state
                    for name, start, end, state in self.states
                    if name == context and start < offset + length and offset < end
                ]
                if states:
                    told.append(f"{context}: {', '.join(dict.fromkeys(states))}")
            if told:
                break
        members = {one.name: getattr(self, one.name) for one in fields(Moment)}
        return Moment(**{**members, "text": "; ".join(told)})


@dataclass(frozen=True)
class Culprit:
    """The moment that a finding contradicts, by its place in the life, and one sentence.

    ``lost`` is the place of the write that is not there, where that is another moment.
    """

    place: int
    sentence: str
    lost: int | None = None

    @property
    def change(self) -> int:
        """The place of the change that is not there, or went elsewhere."""
        return self.place if self.lost is None else self.lost


def culprit_of(
    life: Sequence[Moment],
    damage: Damage,
    expected: Content | None,
    seen: Content | None,
    first: int | None = None,
    *,
    gone: int | None = None,
) -> Culprit | None:
    """Return what a finding contradicts; None if the life does not show it.

    :param gone: the number of the change that is known not to be there; None: it is not known.
    :param first: offset of the first wrong byte: only changes of it count where several writes have
        made the sector. None: all of the life count.
    """
    if damage is Damage.MISDIRECTED and seen is not None and seen.what is What.STAMP:
        at = _place_of(life, seen)
        if at is None:
            return None
        write = life[at]
        first, last = write.offset // _SECTOR, (write.offset + write.length - 1) // _SECTOR
        place = f"sectors {first} to {last}" if last > first else f"sector {first}"
        text = f"{_named(write)} was sent to {place}{_at(write)}, and its data went elsewhere."
        return Culprit(at, text)
    if damage not in _GONE:
        return None
    lost = _owed(life, expected, first) if gone is None else _place_of_number(life, gone)
    if lost is None or (gone is None and is_cut_off(life, lost, first)):
        return None
    if damage is Damage.TORN and (torn := _torn(life, first)) is not None:
        return torn
    return _of_lost(life, lost, None if seen is None else _place_of(life, seen),
                    whole=damage not in _PARTS)  # fmt: skip


def _torn(life: Sequence[Moment], first: int | None) -> Culprit | None:
    """Return the change that a power cut has torn: the last one that was not durable.

    :param first: offset of the first wrong byte: a change of other bytes is not torn.
    """
    cuts = [at for at, one in enumerate(life) if one.kind == "cut"]
    if not cuts:
        return None
    cut = cuts[-1]
    for at in reversed(range(cut)):
        one = life[at]
        if one.kind in CHANGES and first is not None and not one.touches(first, 1):
            continue
        if one.kind in MAKES_DURABLE or one.fua:
            return None
        if one.kind in CHANGES:
            is_kill = life[cut].text == KILLED
            text = (
                f"{'The server was killed' if is_kill else 'The power was cut'}{_at(life[cut])}."
                f" {_named(one)} was not flushed: after the {'kill' if is_kill else 'cut'}"
                " the sector may be old or new, and it is partly old and partly new."
            )
            return Culprit(at, text)
    return None


def _owed(life: Sequence[Moment], expected: Content | None, first: int | None) -> int | None:
    """Return the place of the change whose contents must be there."""
    if expected is None:
        return None
    if expected.what in (What.STAMP, What.WRITE):
        return _place_of(life, expected)
    last = [at for at, one in enumerate(life) if one.kind in CHANGES and one.is_certain]
    if expected.what is What.ZEROES:
        last = [at for at in last if life[at].kind in ("zero", "discard")]
    elif expected.what is What.PATTERN:
        last = [at for at in last if life[at].kind == "write"]
    if expected.what is What.DATA and first is not None:
        last = [at for at in last if life[at].touches(first, 1)] or last
    return last[-1] if last else None


def _place_of(life: Sequence[Moment], content: Content) -> int | None:
    """Return the place of the write of a stamp; generation 0 is the prefill."""
    for at in reversed(range(len(life))):
        one = life[at]
        if one.kind not in CHANGES:
            continue
        if one.kind == "prefill" if content.generation == 0 else one.number == content.operation:
            return at
    return None


def _place_of_number(life: Sequence[Moment], number: int) -> int | None:
    """Return the place of a change by its number; 0 is the prefill."""
    return _place_of(life, Content(What.WRITE, generation=None if number else 0, operation=number))


def place_of(life: Sequence[Moment], seen: Content | None) -> int | None:
    """Return the place of the change whose contents were seen; None if it is not known."""
    return None if seen is None else _place_of(life, seen)


def _of_lost(life: Sequence[Moment], lost: int, seen: int | None, *, whole: bool) -> Culprit:
    write = life[lost]
    cut = cut_after(life, lost)
    gone = "is gone" if whole else "is damaged"
    if cut is None:
        return Culprit(lost, _never_cut(life, lost, seen, gone))
    read = max([lost, *reads_that_returned(life, lost)])
    survived = any(one.kind == "cut" for one in life[lost:read])  # so it was durable
    kept = [at for at in range(lost + 1, cut) if life[at].kind in MAKES_DURABLE and not survived]
    flush = next(iter(kept), None)
    how = "The server was killed" if life[cut].text == KILLED else "The power was cut"
    power = f"{how}{_at(life[cut])}"
    if flush is not None and life[flush].kind == "durable":
        text = (
            f"{power}. {_named(write)} was acknowledged{_at(write)} {life[flush].text}, and {gone}:"
            " it had to be durable without a flush."
        )
        return Culprit(lost, text)
    if flush is not None:
        text = (
            f"{power}. {_named(write)} was acknowledged{_at(write)} and flushed"
            f"{_at(life[flush])}, and {gone}: the flush between did not make it durable"
        )
        if removed := removals_before_read(life, cut, lost, seen):
            text += (
                ", or a removal took it away. Nothing read it between the cut and this:"
                f" {_snapshots(removed)}"
            )
        return Culprit(flush, f"{text}.", lost)
    if write.fua and not survived:
        text = (
            f"{power}. {_named(write)} had FUA and was acknowledged{_at(write)}, and {gone}:"
            " FUA did not make it durable."
        )
        return Culprit(lost, text)
    though = ", although it survived the cut before" if survived else ""
    told = f"{_named(write)} was acknowledged{_at(write)}, and {gone}{though}"
    return Culprit(lost, f"{power}. {told}.")


def cut_after(life: Sequence[Moment], lost: int) -> int | None:
    """Return the place of the first power cut or kill that can have removed a change.

    A cut does not count if a read after it still returned the change.
    """
    start = max([lost, *reads_that_returned(life, lost)])
    return next((at for at in range(start + 1, len(life)) if life[at].kind == "cut"), None)


def snapshots_before_read(
    life: Sequence[Moment], since: int, lost: int, seen: int | None
) -> list[Moment]:
    """Return what happened to snapshots and clones since a moment and the last right read.

    A removal that cannot be the cause is left out.

    :param lost: the place of the change that is not there. :param seen: of that which is.
    """
    start = max([since, *reads_that_returned(life, since)])
    return [
        one
        for at, one in enumerate(life)
        if at > start and one.kind == "snapshot" and _can_matter(life, at, lost, seen)
    ]


def removals_before_read(
    life: Sequence[Moment], since: int, lost: int, seen: int | None
) -> list[Moment]:
    """Return what was removed since a moment and the last right read, and can be the cause.

    Only a removal can take away data that was durable; to take a snapshot does not.
    """
    found = snapshots_before_read(life, since, lost, seen)
    return [one for one in found if one.text.endswith(REMOVED)]


def _can_matter(life: Sequence[Moment], at: int, lost: int, seen: int | None) -> bool:
    """Return whether a removal can have taken a change away, or brought back what is there.

    What was removed had the change if it was made after the change, and what is there if it was
    made after that. Where it is not known when it was made, it can have had both.
    """
    if not life[at].text.endswith(REMOVED):
        return True
    name = life[at].text.removesuffix(REMOVED)
    begins = f"{name} was taken", f"{name.replace('volume', 'clone', 1)} was made"
    made = [n for n, one in enumerate(life[:at]) if one.text.startswith(begins)]
    return not made or made[-1] > lost or (seen is not None and seen < made[-1])


def removed_first(changed: Sequence[Moment]) -> list[Moment]:
    """Return the removals among changes of snapshots, which can take data away; without any, all.

    A removal of a volume counts too: clones share data with it.
    """
    return [one for one in changed if one.text.endswith(REMOVED)] or list(changed)


def _snapshots(every: Sequence[Moment]) -> str:
    changed = removed_first(every)
    told = [f"{one.text}{_at(one)}" for one in changed[-_NAMED:]]
    more = len(every) - len(told)
    others = f", beside {more} other change{'s' if more > 1 else ''} of snapshots" if more else ""
    return f"{', then '.join(told)}{others}"


def _never_cut(life: Sequence[Moment], lost: int, seen: int | None, gone: str) -> str:
    write = life[lost]
    reads = [at for at in range(lost + 1, len(life)) if life[at].kind == "read"]
    if not reads:
        return f"{_named(write)} was acknowledged{_at(write)}, and {gone}. {_no_cut(life, lost)}"
    read = life[reads[-1]]
    other = ""
    if read.lane and write.lane and read.lane != write.lane:
        other = f" from another connection ({read.lane})"
    before = ""
    count = len(reads_that_returned(life, lost))
    if count:
        number = "One read" if count == 1 else f"{count} reads"
        before = f" {number} before returned it."
    return (
        f"{_named(write)} was acknowledged{_at(write)}, and the read{other}{_at(read)} does not"
        f" return it. {_no_cut(life, lost)}{before}{_ended(life, lost, seen)}"
    )


def _no_cut(life: Sequence[Moment], lost: int) -> str:
    cut = next((one for one in life[lost:] if one.kind == "cut"), None)
    if cut is None:
        return "No power was cut."
    return (
        f"A read after the {'kill' if cut.text == KILLED else 'power cut'}{_at(cut)} returned it."
    )


def reads_that_returned(life: Sequence[Moment], lost: int) -> list[int]:
    """Return the places of the reads that returned a change, before the last read did not.

    A read of bytes that a later change has made tells nothing about the change.
    """
    reads = [at for at in range(lost + 1, len(life)) if life[at].kind == "read"]
    return [
        at
        for at in reads[:-1]
        if life[at].text not in (NOT_JUDGED, DIFFERED) and _shows(life, lost, at)
    ]


def _shows(life: Sequence[Moment], lost: int, read: int) -> bool:
    """Return whether a read has bytes of which a change was the last one before it."""
    one, asked = life[lost], life[read]
    left = [(max(one.offset, asked.offset),
             min(one.offset + one.length, asked.offset + asked.length))]  # fmt: skip
    for later in life[lost + 1 : read]:
        if later.kind in CHANGES:
            start, end = later.offset, later.offset + later.length
            left = [part for low, high in left
                    for part in ((low, min(high, start)), (max(low, end), high))]  # fmt: skip
            left = [(low, high) for low, high in left if low < high]
    return any(low < high for low, high in left)


def ends_before_read(life: Sequence[Moment], lost: int) -> list[Moment]:
    """Return what ended after the last read that returned a change, before one that did not.

    That is a server that was stopped, or connections that were closed. Without a read that
    returned it, all ends since the change count.
    """
    right = reads_that_returned(life, lost)
    ends = life[(right[-1] if right else lost) + 1 :]
    return [one for one in ends if one.kind in ("restart", "close")]


def _ended(life: Sequence[Moment], lost: int, seen: int | None) -> str:
    """Return, as a sentence, what ended before the read that did not return a change."""
    ends = ends_before_read(life, lost)
    changed = snapshots_before_read(life, lost, lost, seen)
    if not ends and not changed:
        return ""
    clauses = [_snapshots(changed)] if changed else []
    clauses += [
        f"the server was stopped{_at(one)} in its normal way and started again"
        for one in ends
        if one.kind == "restart"
    ]
    closed = [one for one in ends if one.kind == "close"]
    for one in closed[:_NAMED]:
        whose = "the connection of the write" if one.lane == life[lost].lane else one.lane
        clauses.append(f"{whose} was closed{_at(one)}")
    if len(closed) > _NAMED:
        more = len(closed) - _NAMED
        clauses.append(f"{more} more {'connections were' if more > 1 else 'connection was'} closed")
    when = "After the last of them" if reads_that_returned(life, lost) else "Before this first read"
    return f" {when}, {', and '.join(clauses)}."


_WORDS = {
    "prefill": "The prefill",
    "write": "Write",
    "zero": "Write zeroes",
    "discard": "Discard",
    "read": "Read",
}


def _named(one: Moment) -> str:
    word = _WORDS.get(one.kind, one.kind.capitalize())
    number = f" #{one.number}" if one.number and one.kind != "prefill" else ""
    return f"{word}{number}"


def _at(one: Moment) -> str:
    return "" if one.at_s is None else f" at {one.at_s:.3f} s"
