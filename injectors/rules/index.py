"""Find the rules that cover a request without a check of each rule."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from injectors.rules.events import IoType
from injectors.rules.model import Rule


class Ruled(Protocol):
    """An object with a rule."""

    @property
    def rule(self) -> Rule:
        """The rule."""
        ...


T = TypeVar("T", bound=Ruled)


class Ranges(Generic[T]):
    """Rules of one kind of request. The disk is cut into parts where a range begins or ends."""

    __slots__ = ("_any", "_cuts", "_parts", "rules")

    def __init__(self, order: Sequence[T]) -> None:
        self.rules = tuple(order)
        numbered = list(enumerate(order))
        self._any = [(n, one) for n, one in numbered if one.rule.spans is None]
        spans = [(span, n, one) for n, one in numbered for span in one.rule.spans or ()]
        self._cuts = sorted({at for span, _, _ in spans for at in span})
        self._parts: list[list[tuple[int, T]]] = [[] for _ in range(len(self._cuts) + 1)]
        for (first, end), n, one in spans:
            last = bisect_right(self._cuts, end - 1)
            for part in range(bisect_right(self._cuts, first), last + 1):
                self._parts[part].append((n, one))

    def covering(self, offset: int, length: int) -> Iterable[T]:
        """Return the rules that cover a request, in order."""
        cuts = self._cuts
        if not cuts:
            return self.rules
        if not length:
            return [one for _, one in self._any]
        first = bisect_right(cuts, offset)
        last = bisect_left(cuts, offset + length, first)
        if first == last and not self._parts[first] and not self._any:
            return ()
        found = {n: one for part in self._parts[first : last + 1] for n, one in part}
        found.update(self._any)
        return [found[n] for n in sorted(found)]

    def map(self) -> tuple[list[int], list[bool]]:
        """Return the cuts, with a last one behind any disk, and whether each part has rules.

        Part n is between cut n - 1 and cut n.
        """
        return [*self._cuts, 1 << 65], [bool(self._any or part) for part in self._parts]

    def touches(self, offset: int, length: int) -> bool:
        """Return whether ``covering`` would return a rule."""
        if self._any:
            return True
        cuts = self._cuts
        if not length or not cuts:
            return False
        part = bisect_right(cuts, offset)
        # After a part without rules, the next cut is the start of a part with rules.
        return bool(self._parts[part]) or (part < len(cuts) and cuts[part] < offset + length)


class Active(Generic[T]):
    """Rules that are active together, in order of precedence."""

    __slots__ = ("_kinds", "order")

    def __init__(self, order: Sequence[T]) -> None:
        self.order = tuple(order)
        self._kinds: dict[IoType, Ranges[T]] = {}

    def of_kind(self, iotype: IoType) -> Ranges[T]:
        """Return the ranges of the rules for a kind of request."""
        ranges = self._kinds.get(iotype)
        if ranges is None:
            chosen = [one for one in self.order if iotype in one.rule.kinds]
            ranges = self._kinds[iotype] = Ranges(chosen)
        return ranges

    def covering(self, iotype: IoType, offset: int, length: int) -> Iterable[T]:
        """Return the rules whose iotype and ranges cover a request, in order."""
        ranges = self._kinds.get(iotype) or self.of_kind(iotype)
        return ranges.covering(offset, length) if ranges.rules else ()
