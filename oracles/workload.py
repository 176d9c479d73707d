"""Workloads: requests to a disk, made from a seed, saved as JSON lines, repeated and shrunk.

A workload is a list of batches. The requests of a batch are in flight together; the next batch
starts when all of them have a reply. The data of a write is a stamp that follows from the number of
the request, so a saved workload has only the requests.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

_T = TypeVar("_T")
_HEADER = "qbdcheck workload"
_VERSION = 1


class Kind(enum.StrEnum):
    """The command of a request. The value is the word in a saved workload."""

    READ = "read"
    WRITE = "write"
    ZERO = "zero"
    DISCARD = "discard"
    FLUSH = "flush"
    STATUS = "status"
    RESIZE = "resize"

    @property
    def changes(self) -> bool:
        """Whether it changes contents."""
        return self in (Kind.WRITE, Kind.ZERO, Kind.DISCARD)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``offset`` and ``length`` in bytes; for a resize ``length`` is the new size.

    ``number``, from 1, is its name in reports and in the stamps that it writes; requests of the
    oracle itself have 0. ``no_hole`` (allocate) and ``fast`` (fail rather than be slow) are flags
    of write zeroes.
    """

    number: int
    kind: Kind
    offset: int = 0
    length: int = 0
    fua: bool = False
    no_hole: bool = False
    fast: bool = False

    @property
    def flags(self) -> list[str]:
        """The flags that are set, by name."""
        return [name for name in ("fua", "no_hole", "fast") if getattr(self, name)]

    def __str__(self) -> str:
        name = f"#{self.number} {self.kind}" if self.number else f"{self.kind}"
        flags = f" ({', '.join(self.flags)})" if self.flags else ""
        if self.kind is Kind.FLUSH:
            return name + flags
        place = f"to {self.length}" if self.kind is Kind.RESIZE else f"{self.offset}+{self.length}"
        return f"{name} {place}{flags}"


Batch = tuple[Request, ...]


class Chance(Protocol):
    """The methods of ``random.Random`` that are used here."""

    def random(self) -> float:
        """Return a number from 0 up to 1."""
        ...

    def randrange(self, start: int, stop: int | None = None) -> int:
        """Return an integer below ``start``, or from ``start`` up to ``stop``."""
        ...

    def choice(self, seq: Sequence[_T]) -> _T:
        """Return one item of a sequence."""
        ...

    def choices(self, population: Sequence[_T], weights: Sequence[float]) -> list[_T]:
        """Return a list with one item of a sequence, chosen by weight."""
        ...


EVERYDAY: Mapping[Kind, float] = {
    Kind.READ: 4, Kind.WRITE: 6, Kind.ZERO: 1, Kind.DISCARD: 1, Kind.FLUSH: 0.5,
}  # fmt: skip
"""Mostly reads and writes."""
FSX: Mapping[Kind, float] = {
    Kind.READ: 4, Kind.WRITE: 5, Kind.ZERO: 2, Kind.DISCARD: 2, Kind.FLUSH: 0.5, Kind.RESIZE: 1.5,
}  # fmt: skip
"""The requests of fsx: also truncation, down and up again, with a read soon after."""


@dataclass(frozen=True)
class Mix:
    """The composition of a random workload.

    :param weights: the weight of each kind; the keys are kinds or their values.
    :param align: offsets and lengths are multiples of it, in bytes.
    :param longest: bytes of the longest request.
    :param depth: requests in flight together, from 1.
    :param overlap: whether requests in flight together may touch the same bytes.
    :param hot: the number of places that get half of the requests; 0: all places are equal.
    :param related: share of the requests whose place is made from that of a recent one: the same,
        a half of it, inside it, directly before or behind it, the 4 KiB or 64 KiB around it.
    :param smallest: the smallest size in bytes that a resize makes.
    :param size_align: new sizes are multiples of it, in bytes; 0: of ``align``.
    """

    weights: Mapping[Kind, float] | Mapping[str, float] = field(default_factory=lambda: EVERYDAY)
    align: int = 1
    longest: int = 65536
    depth: int = 1
    overlap: bool = False
    hot: int = 8
    related: float = 0.25
    smallest: int = 4096
    size_align: int = 0


class _Maker:
    """Draws the requests of one workload."""

    def __init__(self, chance: Chance, size: int, mix: Mix, first: int) -> None:
        self.chance = chance
        self.size = size
        self.largest = size
        self.mix = mix
        self.number = first
        self.kinds = [Kind(kind) for kind, weight in mix.weights.items() if weight > 0]
        self.weights = [weight for weight in mix.weights.values() if weight > 0]
        self.recent: list[tuple[int, int]] = []
        self.hot = [chance.randrange(max(1, size)) for _ in range(mix.hot)]

    def batch(self, count: int) -> Batch:
        """Return up to ``count`` requests in flight together; a resize is always alone."""
        made: list[Request] = []
        while len(made) < count:
            kind = self.chance.choices(self.kinds, weights=self.weights)[0]
            if kind is Kind.RESIZE:
                if not made:
                    return (self._resize(),)
                break
            request = self._request(kind)
            if self._is_in_the_way(request, made):
                request = self._request(kind, related=0)
            if self._is_in_the_way(request, made):
                # A small disk may have no free place left: the batch is smaller.
                break
            made.append(request)
            self.number += 1
        return tuple(made)

    def _is_in_the_way(self, request: Request, made: Sequence[Request]) -> bool:
        return not self.mix.overlap and any(_overlap(request, other) for other in made)

    def _resize(self) -> Request:
        align = self.mix.size_align or self.mix.align
        low, high = self.mix.smallest // align, self.largest // align
        self.size = align * self.chance.randrange(low, max(low, high) + 1)
        request = Request(self.number, Kind.RESIZE, 0, self.size)
        self.number += 1
        return request

    def _request(self, kind: Kind, related: float | None = None) -> Request:
        if kind is Kind.FLUSH:
            return Request(self.number, kind)
        chance = self.chance
        related = self.mix.related if related is None else related
        if self.recent and chance.random() < related:
            offset, length = self._related(*chance.choice(self.recent))
        else:
            offset, length = self._place()
        self.recent = [*self.recent[-7:], (offset, length)]
        change = kind in (Kind.WRITE, Kind.ZERO)
        return Request(
            self.number, kind, offset, length,
            fua=change and chance.random() < 0.1,
            no_hole=kind is Kind.ZERO and chance.random() < 0.5,
        )  # fmt: skip

    def _place(self) -> tuple[int, int]:
        """Return a place that has nothing to do with others, or begins at a hot one."""
        chance, align = self.chance, self.mix.align
        units = max(1, min(self.mix.longest, self.size) // align)
        # Short and long requests are equally frequent: lengths are drawn by powers of two.
        bits = chance.randrange(units.bit_length())
        length = align * min(units, chance.randrange(1 << bits, 2 << bits))
        hot = self.hot and chance.random() < 0.5
        offset = chance.choice(self.hot) if hot else chance.randrange(max(1, self.size))
        offset -= offset % chance.choice((1, 512, 4096))
        offset = max(0, min(offset, self.size - length))
        offset -= offset % align
        return offset, min(length, self.size - offset)

    def _related(self, offset: int, length: int) -> tuple[int, int]:
        """Return a place that is made from another one; it keeps to the limits of the mix."""
        chance, mix = self.chance, self.mix
        half, inside = length // 2, offset + chance.randrange(max(1, length))
        unit = chance.choice((4096, 65536))
        start, length = chance.choice(
            (
                (offset, length),
                (offset, half),
                (offset + half, length - half),
                (offset + half, length),
                (inside, 512),
                (offset + length, length),
                (offset - length, length),
                (offset // unit * unit, unit),
            )
        )
        start = max(0, min(start, self.size - 1)) // mix.align * mix.align
        length = min(max(length, 1), mix.longest)
        length = -(-length // mix.align) * mix.align
        most = min(mix.longest // mix.align * mix.align or mix.align, self.size - start)
        return start, max(0, min(length, most))


def generate(
    chance: Chance, size: int, count: int, mix: Mix | None = None, *, first: int = 1
) -> list[Batch]:
    """Return a random workload of ``count`` requests for a disk of ``size`` bytes.

    :param first: number of its first request.
    """
    mix = mix or Mix()
    maker = _Maker(chance, size, mix, first)
    batches: list[Batch] = []
    while maker.number < first + count:
        batches.append(maker.batch(min(mix.depth, first + count - maker.number)))
    return batches


def _overlap(one: Request, other: Request) -> bool:
    return (
        one.offset < other.offset + other.length
        and other.offset < one.offset + one.length
        and (one.kind.changes or other.kind.changes)
    )


def contended(batch: Batch) -> frozenset[int]:
    """Return the positions in a batch of the requests whose outcome depends on the order.

    They touch bytes that another request in flight changes, or change bytes that another touches.
    """
    if len(batch) < 2:
        return frozenset()
    spans = sorted((r.offset, r.offset + r.length, n) for n, r in enumerate(batch) if r.length)
    found: set[int] = set()
    end = -1
    near: list[int] = []
    for low, high, number in spans:
        if low < end:
            for other in near:
                if _overlap(batch[number], batch[other]):
                    found |= {number, other}
            near.append(number)
        else:
            near = [number]
        end = max(end, high)
    return frozenset(found)


# The record ---------------------------------------------------------------------------------------


def dump(batches: Iterable[Batch], size: int, note: str = "") -> str:
    """Return a workload as JSON lines: a header, then one line for each batch.

    :param size: of the disk that it was made for, in bytes.
    """
    head = {"what": _HEADER, "version": _VERSION, "size": size, "note": note}
    lines = [json.dumps(head)]
    for batch in batches:
        rows = [[r.number, r.kind.value, r.offset, r.length, *r.flags] for r in batch]
        lines.append(json.dumps(rows, separators=(",", ":")))
    return "\n".join(lines) + "\n"


def load(text: str) -> tuple[list[Batch], int]:
    """Return the batches of a saved workload, and the size in bytes of its disk.

    :raise ValueError: it is not a workload; the message says in which line, and what is wrong.
    """
    lines = text.splitlines()
    head = _parsed(lines[0] if lines else "", 1)
    if not isinstance(head, dict) or head.get("what") != _HEADER:
        raise ValueError(f"line 1: not the header of a {_HEADER}")
    if head.get("version") != _VERSION or not isinstance(head.get("size"), int):
        raise ValueError(f"line 1: version {head.get('version')} without known meaning")
    batches = [_batch(_parsed(line, n), n) for n, line in enumerate(lines[1:], 2) if line.strip()]
    return batches, head["size"]


def _parsed(line: str, number: int) -> object:
    try:
        result: object = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}: no JSON: {error.msg}") from None
    return result


def _batch(rows: object, line: int) -> Batch:
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"line {line}: a batch is a list of requests")
    return tuple(_request(row, line) for row in rows)


def _request(row: object, line: int) -> Request:
    match row:
        case [int(number), str(word), int(offset), int(length), *flags]:
            known = {"fua", "no_hole", "fast"}
            if word not in list(Kind):
                raise ValueError(f"line {line}: no request is called {word!r}")
            if not known.issuperset(map(str, flags)):
                raise ValueError(f"line {line}: flags are {', '.join(sorted(known))}, not {flags}")
            if min(number, offset, length) < 0:
                raise ValueError(f"line {line}: a negative number in {row}")
            set_flags = {str(flag): True for flag in flags}
            return Request(number, Kind(word), offset, length, **set_flags)
    expected = "[number, kind, offset, length, flag...]"
    raise ValueError(f"line {line}: a request is {expected}, not {row}")
