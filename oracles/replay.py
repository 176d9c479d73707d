"""Which change explains a damaged sector: its history is replayed without a change, or with one.

A sector that several requests have changed in part is no whole stamp, so its bytes do not say whose
they are. But all those requests and their data are known. If the sector is exactly what it would be
without one of them, or as it was before one of them, or with one of another volume in addition,
then that is what the backend did. Each hypothesis must give every byte that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from oracles.damage import Confidence, Content, Damage, Difference, Operation, What
from oracles.finding import Finding
from oracles.fits import Fit, How
from oracles.history import History
from oracles.stamps import SECTOR

_MOST = 24
"""Changes of a sector that are replayed: the last ones."""
_TELLING = 2
"""Bytes that must differ: a single byte may be equal by chance."""
_EXPLAINED = frozenset({
    Damage.TORN, Damage.ALTERED, Damage.BIT_FLIP, Damage.SHIFTED, Damage.UNKNOWN, Damage.ZEROED,
    Damage.STALE, Damage.LOST,
})  # fmt: skip
_OLD = (How.MISSING, How.BEFORE, How.AGAIN, How.ORDER)
"""Hypotheses that leave old data in the sector."""


@dataclass(frozen=True)
class Effect:
    """The bytes that one change put into a sector: ``data``, from byte ``first`` on."""

    change: Operation
    first: int
    data: bytes

    def on(self, sector: bytes) -> bytes:
        """Return the sector after the change."""
        return sector[: self.first] + self.data + sector[self.first + len(self.data) :]


def explained(finding: Finding, whole: Difference, history: History) -> Finding:
    """Return a finding with the change that explains its first sector, if there is one.

    Damage that only looked like a tear or like changed bytes is then old or newer data.

    :param whole: the bytes of that sector, as far as they were read.
    """
    has_stamp = finding.seen is not None and finding.seen.what is What.STAMP
    if finding.damage not in _EXPLAINED or (has_stamp and finding.part is None):
        return finding
    fit = _fit(finding, whole, history)
    if fit is None:
        return finding
    told = f"sector {finding.sector} {fit.text}"
    finding = replace(finding, evidence=(*finding.evidence, told))
    if finding.damage is Damage.ZEROED or (finding.damage is Damage.STALE and fit.how in _OLD):
        return replace(finding, fit=fit)
    damage = Damage.STALE if fit.how in _OLD else Damage.NEWER
    if fit.how is How.NOT_KEPT:
        damage = Damage.ZEROED
    seen = _content(fit.seen) or finding.seen
    seen = Content(What.ZEROES) if damage is Damage.ZEROED else seen
    wrong = [at for at, (one, two) in enumerate(zip(whole.expected, whole.seen, strict=True))
             if one != two]  # fmt: skip
    start = whole.offset % SECTOR
    part = start + wrong[0], start + wrong[-1] + 1
    is_whole = part[1] - part[0] == SECTOR
    return replace(
        finding, damage=damage, seen=seen, moved=None, count=None, remark="",
        part=None if is_whole else part, confidence=Confidence.CERTAIN, fit=fit,
    )  # fmt: skip


def _content(change: Operation | None) -> Content | None:
    """Return what a change has written, as a content; None if there is no change."""
    if change is None:
        return None
    if change.text.startswith(("write zeroes", "discard")):
        return Content(What.ZEROES)
    if change.generation is not None:
        return Content(What.STAMP, change.generation, change.number, change.writer)
    return Content(What.WRITE, operation=change.number)


def _fit(finding: Finding, whole: Difference, history: History) -> Fit | None:
    sector, low = divmod(whole.offset, SECTOR)
    high = low + len(whole.seen)
    differing = sum(one != two for one, two in zip(whole.expected, whole.seen, strict=True))
    effects = effects_of(history, sector)
    if effects is None or differing < _TELLING:
        return None
    if _replayed(effects)[low:high] != whole.expected:
        return None  # something else changed the sector, or it may have several contents
    groups: list[Callable[[], Iterator[tuple[Fit, bytes]]]] = [
        lambda: _of_own(effects),
        lambda: _of_relatives(effects, history, sector),
    ]
    for group in reversed(groups) if finding.volume.startswith("snapshot ") else groups:
        fits = [fit for fit, data in group() if data[low:high] == whole.seen]
        if fits:  # the first one, unless a change of another volume explains more of the damage
            return max(fits, key=lambda fit: _covered(fit, finding) if fit.volume else 0)
    return None


def _covered(fit: Fit, finding: Finding) -> int:
    """Return how many bytes of the damage a change touches."""
    end = min(fit.change.offset + fit.change.length, finding.offset + finding.length)
    return end - max(fit.change.offset, finding.offset)


def effects_of(history: History, sector: int) -> list[Effect] | None:
    """Return what the last changes of a volume made of a sector; None if some data is not known."""
    changes = history.last_writes(sector * SECTOR, SECTOR, _MOST)
    effects = [_effect(history, one, sector) for one in reversed(changes)]
    known = [one for one in effects if one is not None]
    return known if len(known) == len(effects) else None


def _effect(history: History, change: Operation, sector: int) -> Effect | None:
    start = sector * SECTOR
    first = max(change.offset - start, 0)
    end = min(change.offset + change.length - start, SECTOR)
    data = history.data_of(change, start + first, end - first)
    return None if data is None else Effect(change, first, data)


def _replayed(effects: Sequence[Effect], sector: bytes = bytes(SECTOR)) -> bytes:
    for one in effects:
        sector = one.on(sector)
    return sector


def _of_own(effects: Sequence[Effect]) -> Iterator[tuple[Fit, bytes]]:
    """Yield hypotheses about the changes of the volume itself, the simplest first."""
    if len(effects) < 2:
        return  # the kind of damage says it already
    changes = [one.change for one in effects]
    first = changes[0].text == "prefill"  # without it: see NOT_KEPT
    for at in reversed(range(first, len(effects))):
        before = (one.change for one in reversed(effects[:at]) if _share(one, effects[at]))
        fit = Fit(How.MISSING, changes[at], next(before, None))
        yield fit, _replayed([*effects[:at], *effects[at + 1 :]])
    for at in reversed(range(1, len(effects))):
        yield Fit(How.BEFORE, changes[at], changes[at - 1]), _replayed(effects[:at])
    for at in reversed(range(1, len(effects))):
        if any(effects[at].data):  # zeroes beyond the range of a zeroing request are another story
            yield Fit(How.NOT_KEPT, changes[at]), _replayed(effects[at:])
    for at, (one, two) in enumerate(pairwise(effects)):
        swapped = [*effects[:at], two, one, *effects[at + 2 :]]
        yield Fit(How.ORDER, two.change, one.change), _replayed(swapped)
    for at in reversed(range(len(effects) - 1)):
        yield Fit(How.AGAIN, changes[at], changes[at]), effects[at].on(_replayed(effects))


def _of_relatives(
    effects: Sequence[Effect], history: History, sector: int
) -> Iterator[tuple[Fit, bytes]]:
    """Yield that changes of a volume that may share data have reached this one."""
    now = _replayed(effects)
    mine = {id(one.change) for one in effects}  # what a volume has inherited is in both histories
    for other in history.others():
        theirs = [one for one in effects_of(other, sector) or () if id(one.change) not in mine]
        for one in reversed(theirs):
            yield Fit(How.OTHERS, one.change, one.change, other.volume), one.on(now)
        for at in range(len(theirs) - 1):
            last = theirs[-1].change
            yield Fit(How.OTHERS, last, last, other.volume), _replayed(theirs[at:], now)


def _share(one: Effect, other: Effect) -> bool:
    """Return whether two changes have a byte in common."""
    ends = one.first + len(one.data), other.first + len(other.data)
    return one.first < ends[1] and other.first < ends[0]
