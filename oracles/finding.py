"""Findings: what is wrong, as data, and as one sentence for each finding.

Every oracle returns `Findings`. They travel unchanged from the oracle through the result of a case
to events and reports. `sentence` makes text of a finding where a person reads it, and nowhere else;
who needs to know what is wrong reads the fields.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self

from oracles.damage import Confidence, Content, Damage, Difference, Operation, Verdict, What
from oracles.fits import Fit, How
from oracles.life import Culprit, Moment, culprit_of
from oracles.recorded import Recorded
from oracles.sentences import sentence
from oracles.suspects import SINCE_RIGHT

SECTOR = 512
UNREPORTED: Mapping[str, bool] = {"unreported": True}
"""The metadata of fields that reports do not have."""
_NEWER: Mapping[str, Any] = {
    "sector_bytes": None, "follows": "", "right_writes": (), "asked": None, "nearby": (),
    "volume": "", "relatives": (), "not_listed": 0, "fit": None,
}  # fmt: skip
"""Members that reports of earlier versions lack."""
SHOWN = 16
"""Bytes of expected and seen data that a finding shows."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, most often with one run of sectors.

    :ivar offset: in bytes of the volume, as is ``length``; both 0 where no place is concerned.
    :ivar expected: the expected contents; ``seen``: the actual contents; None if not known.
    :ivar difference: the first wrong byte, where bytes were compared.
    :ivar sector_bytes: all bytes of the first wrong sector; it is not compared.
    :ivar moved: bytes by which data is away from where it belongs (+: too high).
    :ivar part: (first, end) in bytes of each sector, where only a part of it is damaged.
    :ivar count: bits or bytes that are wrong in each sector, where that is the damage.
    :ivar last_writes: requests that touched the place, the last one first.
    :ivar side: who is to blame in a comparison: ``target``, ``reference`` or ``both``.
    :ivar request: the request whose answer is wrong.
    :ivar remark: what the other fields cannot say.
    :ivar evidence: further lines for people.
    :ivar found_at: where the expected stamp is instead, in bytes; None: not found, or not searched.
    :ivar allocation: (offset, length, whether it is a hole) of ranges around the place, as the
        block status says; empty: not known.
    :ivar follows: what it follows from, if another finding of the case is its cause; else empty.
    :ivar life: what happened to the first sector, or to the range that was ``asked`` for, the first
        event first; it is not compared.
    :ivar right_writes: writes to the volume that the same checks found right; not compared.
    :ivar asked: offset and length of the request that the finding is about, where it is its answer
        that is wrong, not the data of a place; not compared.
    :ivar volume: what was read: a volume, a snapshot or a clone; empty if not known; not compared.
    :ivar relatives: changes of the place in volumes that may share data with it, by the lane, which
        is the volume, the first one first; not compared.
    :ivar not_listed: how many more events of the place are known than ``life`` and ``relatives``
        have; not compared.
    :ivar nearby: requests close to the place that came after its last change; not compared.
    :ivar fit: the change that explains the first sector, if its history was replayed.
    :ivar record: the requests to the volume before the check, for experiments; it is not compared,
        and not reported.
    """

    damage: Damage
    offset: int = 0
    length: int = 0
    expected: Content | None = None
    seen: Content | None = None
    difference: Difference | None = None
    moved: int | None = None
    part: tuple[int, int] | None = None
    count: int | None = None
    last_writes: tuple[Operation, ...] = ()
    confidence: Confidence = Confidence.CERTAIN
    side: str = ""
    request: str = ""
    remark: str = ""
    evidence: tuple[str, ...] = ()
    found_at: int | None = None
    allocation: tuple[tuple[int, int, bool], ...] = ()
    follows: str = ""
    life: tuple[Moment, ...] = field(default=(), compare=False, repr=False)
    sector_bytes: Difference | None = field(default=None, compare=False, repr=False)
    right_writes: tuple[Operation, ...] = field(default=(), compare=False, repr=False)
    asked: tuple[int, int] | None = field(default=None, compare=False, repr=False)
    nearby: tuple[Operation, ...] = field(default=(), compare=False, repr=False)
    relatives: tuple[Moment, ...] = field(default=(), compare=False, repr=False)
    not_listed: int = field(default=0, compare=False, repr=False)
    volume: str = field(default="", compare=False, repr=False)
    fit: Fit | None = field(default=None, compare=False, repr=False)
    record: Recorded | None = field(default=None, compare=False, repr=False, metadata=UNREPORTED)

    @property
    def place(self) -> tuple[int, int]:
        """Offset and length of what is damaged, or of the request that it is about; else 0, 0."""
        return self.asked if self.asked and not self.length else (self.offset, self.length)

    @property
    def sectors(self) -> int:
        """The number of sectors that the finding covers, at least in part."""
        return (self.offset + self.length + SECTOR - 1) // SECTOR - self.offset // SECTOR

    @property
    def sector(self) -> int:
        """The first sector of 512 bytes."""
        return self.offset // SECTOR

    @property
    def owes_prefill(self) -> bool:
        """Whether what must be there is the prefill, so that no request of the case is lost."""
        wanted = self.expected
        return wanted is not None and wanted.what is What.STAMP and wanted.generation == 0

    @property
    def last_write(self) -> str:
        """The request that touched the place last; empty if it is unknown."""
        return str(self.last_writes[0]) if self.last_writes else ""

    @property
    def first_difference(self) -> int:
        """The offset of the first wrong byte; the start of the place where none was compared."""
        return self.difference.offset if self.difference else self.offset

    @cached_property
    def text(self) -> str:
        """The finding as one sentence, as in `sentence`."""
        return sentence(self) + self._elsewhere

    @property
    def _elsewhere(self) -> str:
        if self.found_at is None:
            return ""
        sector = self.found_at // SECTOR
        return f"; found instead at sector {sector} ({sector - self.sector:+d})"

    @property
    def since_right(self) -> str:
        """What came since the place was last read right, in words; empty if it is not known."""
        return next((line for line in self.evidence if line.startswith(SINCE_RIGHT)), "")

    @property
    def culprit(self) -> Culprit | None:
        """What the finding contradicts; None if its life does not show it."""
        first = self.difference.offset if self.difference else None
        if self.fit is not None and self.fit.how in (How.OTHERS, How.NOT_KEPT):
            return None
        if self.since_right:
            return None
        gone = self.fit.change.number if self.fit and self.fit.is_lost else None
        return culprit_of(self.life, self.damage, self.expected, self.seen, first, gone=gone)

    @property
    def line(self) -> str:
        """Request, place and sentence, on one line."""
        if self.side:
            subject = "wrong contents" + f" of the {self.side}" * (self.side != "target")
            if self.damage.rank == Damage.SIZE.rank:
                subject = f"{self.damage.value} of {self.side}"
            head = f"{self.request}: {subject} at offset {self.offset}"
            return f"{head} (sector {self.sector}), {self.length} bytes: {self.text}"
        head = f"{self.request}: " if self.request else ""
        if not self.length:
            return head + self.text
        first, last = self.sector, self.sector + self.sectors - 1
        place = f"sectors {first}-{last}" if last > first else f"sector {first}"
        return (
            f"{head}offset {self.offset} (0x{self.offset:x}), {place},"
            f" {self.length} bytes: {self.text}"
        )

    def __str__(self) -> str:
        lines = [self.line]
        if self.difference:
            expected = self.difference.expected.hex(" ", 4) or "nothing"
            seen = self.difference.seen.hex(" ", 4) or "nothing"
            at = self.difference.offset
            lines.append(f"    first difference at byte {at}: expected {expected}, seen {seen}")
        if self.last_write:
            lines.append(f"    last write there: {self.last_write}")
        return "\n".join([*lines, *(f"    {line}" for line in self.evidence)])

    def to_json(self) -> dict[str, Any]:
        """Return the members of a JSON object; ``text`` is there for people."""
        named = [one.name for one in fields(self) if one.metadata != UNREPORTED]
        return {**{name: _plain(getattr(self, name)) for name in named}, "text": self.text}

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Finding:
        """Return the finding that `to_json` encoded as these members.

        :raise ValueError: something else made them. :raise LookupError, TypeError: as well.
        """
        members = {**_NEWER, **members}
        names = [one.name for one in fields(cls) if one.metadata != UNREPORTED]
        values = {name: members[name] for name in names}
        for name in ("expected", "seen"):
            values[name] = _content(values[name])
        for name in ("difference", "sector_bytes"):
            if (found := values[name]) is not None:
                expected, seen = bytes.fromhex(found["expected"]), bytes.fromhex(found["seen"])
                values[name] = Difference(found["offset"], expected, seen)
        values["fit"] = _fit_of(values["fit"])
        values["damage"] = Damage(values["damage"])
        values["confidence"] = Confidence(values["confidence"])
        values["part"] = None if values["part"] is None else (values["part"][0], values["part"][1])
        values["asked"] = None if values["asked"] is None else (*values["asked"],)
        for name in ("last_writes", "right_writes", "nearby"):
            values[name] = tuple(Operation(**one) for one in values[name])
        values["evidence"] = tuple(values["evidence"])
        values["allocation"] = tuple((at, size, hole) for at, size, hole in values["allocation"])
        for name in ("life", "relatives"):
            values[name] = tuple(Moment(**one) for one in values[name])
        return cls(**values)


def _plain(value: object) -> object:
    match value:
        case Content() | Difference() | Operation() | Moment() | Fit():
            return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        case enum.Enum():
            return value.value
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(one) for one in value]
        case _:
            return value


def _content(members: Mapping[str, Any] | None) -> Content | None:
    return None if members is None else Content(**{**members, "what": What(members["what"])})


def _fit_of(members: Mapping[str, Any] | None) -> Fit | None:
    if members is None:
        return None
    seen = members["seen"] and Operation(**members["seen"])
    return Fit(How(members["how"]), Operation(**members["change"]), seen, members["volume"])


class Findings(list[Finding]):
    """The findings of an oracle, in order; an empty list means that nothing is wrong.

    :ivar is_judged: whether the oracle had anything that it could judge.
    :ivar about: what was judged, the first line of the text.
    """

    def __init__(
        self, findings: Iterable[Finding] = (), *, is_judged: bool = True, about: str = ""
    ) -> None:
        super().__init__(findings)
        self.is_judged = is_judged
        self.about = about

    @property
    def verdict(self) -> Verdict:
        """The verdict: wrong where there is a finding."""
        if self:
            return Verdict.WRONG
        return Verdict.RIGHT if self.is_judged else Verdict.UNJUDGED

    def and_those(self, other: Findings) -> Findings:
        """Return the findings of both oracles; the worse verdict of the two is the verdict."""
        return Findings([*self, *other], is_judged=self.is_judged and other.is_judged)

    def __iadd__(self, other: Iterable[Finding]) -> Self:  # type: ignore[misc,override]
        if isinstance(other, Findings):
            self.is_judged &= other.is_judged
        self.extend(other)
        return self

    def __str__(self) -> str:
        text = render(self)
        return f"{self.about}:\n{text}" if self and self.about else text


_MISPLACED = (Damage.MISDIRECTED, Damage.SWAPPED, Damage.FOREIGN)


def telling(findings: Sequence[Finding], count: int) -> list[int]:
    """Return the places of the findings that tell most: misplaced data, then lost writes."""

    def key(place: int) -> tuple[int, bool, bool]:
        one = findings[place]
        return one.damage.rank, one.damage not in _MISPLACED, one.owes_prefill

    return sorted(range(len(findings)), key=key)[:count]


def reported(damage: Damage, remark: str) -> Findings:
    """Return what a judge says in words as findings; none where it says nothing."""
    return Findings([Finding(damage, remark=remark)] if remark else [])


def render(findings: Sequence[Finding], limit: int = 12) -> str:
    """Return the findings as text for people; beyond ``limit`` they are only counted."""
    lines = [str(finding) for finding in findings[:limit]]
    if len(findings) > limit:
        wrong = sum(finding.length for finding in findings)
        lines.append(f"... and {len(findings) - limit} more; {wrong} wrong bytes in all")
    return "\n".join(lines)


DISCARDED = "it lies directly"
"""Begins the evidence of a finding beside a later discard."""
FROM_AFAR = "a later request may have lost a bit of its offset:"
"""Begins the evidence of a zeroed place that may be that of another request."""
READ_WAS_WRONG = "so the read was wrong"
"""End of the evidence of a finding whose place had the right data when it was read again."""
