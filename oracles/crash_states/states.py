"""All crash states of a log, each content once, the most likely bugs first.

`Position` brings an image from one state to the next in place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from blockio.write_log import Entry
from oracles.crash_states.cursor import Base, Cells, ImageCursor, KeyCursor
from oracles.crash_states.epochs import epochs
from oracles.crash_states.families import FAMILIES, Bounds, masks

_STATE = re.compile(r"(\d+):([0-9a-f]+)")
_NAMED = 12
"""The most writes that the description of a state names."""


class StateId(NamedTuple):
    """A state of a log: the epoch of the cut, and which of its writes are there."""

    epoch: int
    mask: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.mask:x}"

    @classmethod
    def parse(cls, text: str) -> StateId:
        """Parse the text that `str` returns.

        :raise ValueError: it is not EPOCH:MASK.
        """
        match = _STATE.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not a crash state; write EPOCH:MASK, as in a report")
        return cls(int(match[1]), int(match[2], 16))


class Candidate(NamedTuple):
    """A state to check. ``limit``: how many entries of the log may have been answered by then."""

    state: StateId
    family: str
    limit: int


class CrashStates:
    """The states of one log over one image.

    :param log: entries, in order.
    :param image: what the volume held before; writable, of the volume's size. It is brought to the
        end of the log.
    :param acknowledged: for each promise that was made to a user, how many entries the log had
        when it was made, in order. Two states of equal contents count as one only if the same
        promises were made.
    :param tear: see `epochs`.
    :raise ValueError: an entry goes beyond the image.
    """

    def __init__(
        self,
        log: Sequence[Entry],
        image: memoryview,
        acknowledged: Sequence[int] = (),
        tear: int = 512,
    ) -> None:
        for number, entry in enumerate(log):
            if entry.offset + entry.length > len(image):
                raise ValueError(
                    f"entry {number} of the log ends at {entry.offset + entry.length},"
                    f" the image at {len(image)}"
                )
        self.epochs = epochs(log, tear)
        self.acknowledged = acknowledged
        self.cells: list[Cells] = []
        self._keys: list[int] = []
        base, key = Base(image), 0
        for epoch in self.epochs:
            cells = Cells(epoch, image)
            self.cells.append(cells)
            self._keys.append(key)
            key = KeyCursor(cells, key).go(epoch.everything())
            base.apply(epoch)
        self.generated = 0
        self.distinct = 0

    def total(self) -> int:
        """Return the number of states; those with equal contents count separately."""
        return sum(epoch.states() for epoch in self.epochs)

    def candidates(self, bounds: Bounds, seed: int) -> Iterator[Candidate]:
        """Yield each state within the bounds once; count them in ``generated`` and ``distinct``."""
        random = Random(seed)
        self.generated = self.distinct = 0
        seen: set[tuple[int, int]] = set()
        for family in FAMILIES:
            for epoch, cells, key in zip(self.epochs, self.cells, self._keys, strict=True):
                cursor = KeyCursor(cells, key)
                whole_level = bisect_right(self.acknowledged, epoch.end)
                for mask in masks(family, epoch, bounds, random):
                    self.generated += 1
                    limit, level = epoch.end, whole_level
                    if epoch.fuas:
                        limit = epoch.limit(mask)
                        level = bisect_right(self.acknowledged, limit)
                    known = (cursor.go(mask), level)
                    if known not in seen:
                        seen.add(known)
                        self.distinct += 1
                        yield Candidate(StateId(epoch.number, mask), family, limit)

    def describe(self, state: StateId) -> str:
        """Return which writes are there and which are not, by entry number of the log (from 0)."""
        epoch = self.epochs[state.epoch]
        where = f"after the flush at entry {epoch.first - 1}" if state.epoch else "before any flush"
        lost: list[str] = []
        torn: list[str] = []
        kept = 0
        for whole, group in zip(epoch.wholes, epoch.groups, strict=True):
            there = state.mask & group
            entry = epoch.variants[whole.bit_length() - 1].entry
            if there & whole:
                kept += 1
            elif there:
                torn.append(f"{entry} torn ({epoch.variants[there.bit_length() - 1].torn})")
            else:
                lost.append(str(entry))
        parts = [f"{kept} of {len(epoch)} writes there"]
        if lost:
            parts.append(f"lost: {', '.join(lost[:_NAMED])}{' ...' * (len(lost) > _NAMED)}")
        return f"{where}: {'; '.join(parts + torn)}"


class Position:
    """An image that is brought from one state to another.

    :param image: holds the contents of the volume at the end of the log.
    """

    def __init__(self, states: CrashStates, image: memoryview) -> None:
        self.image = image
        self._states = states
        self._epoch = len(states.epochs) - 1
        last = states.epochs[-1]
        self._cursor = ImageCursor(states.cells[-1], image)
        # The image has all writes of the last epoch already; record that in the cursor.
        self._cursor.go(last.everything())

    def go(self, state: StateId) -> None:
        """Bring the image to a state.

        :raise ValueError: the log has no such state.
        """
        if state.epoch >= len(self._states.epochs):
            raise ValueError(f"the log has {len(self._states.epochs)} epochs, not {state.epoch}")
        epoch = self._states.epochs[state.epoch]
        if state.mask >> len(epoch.variants) or not epoch.is_legal(state.mask):
            raise ValueError(f"epoch {state.epoch} has no state {state.mask:x}")
        self._to_epoch(state.epoch)
        self._cursor.go(state.mask)

    def _to_epoch(self, wanted: int) -> None:
        states = self._states
        while self._epoch != wanted:
            forward = wanted > self._epoch
            self._cursor.go(states.epochs[self._epoch].everything() if forward else 0)
            self._epoch += 1 if forward else -1
            self._cursor = ImageCursor(states.cells[self._epoch], self.image)
            if not forward:
                # All writes of the previous epoch are in the image; they are removed next.
                self._cursor.go(states.epochs[self._epoch].everything())
