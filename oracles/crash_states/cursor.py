"""A cursor over the states of an epoch: from one to the next at the cost of what differs.

Each epoch is cut into cells: runs of bytes that the same variants cover. In a state the last
variant of the mask that covers a cell determines what the cell holds; without one, it holds what
was durable. A step to another state visits only the cells of variants that are added or removed.
One number tells whether the contents of a state were seen before: the exclusive or of a hash of
each sector of 512 bytes with its place (as in Zobrist's hashing of chess positions).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from xxhash import xxh3_64_intdigest

from oracles.crash_states.epochs import Epoch, Variant

SECTOR = 512


class Base:
    """The durable image beneath an epoch, changed in place.

    :param image: writable, of the volume's size.
    """

    def __init__(self, image: memoryview) -> None:
        self.image = image

    def apply(self, epoch: Epoch, upto: int | None = None) -> None:
        """Apply all writes of an epoch, or those before write ``upto``, permanently."""
        for bit in epoch.wholes[:upto]:
            _put(self.image, epoch.variants[bit.bit_length() - 1])


def _put(image: memoryview, variant: Variant) -> None:
    end = variant.offset + variant.length
    image[variant.offset : end] = bytes(variant.length) if variant.data is None else variant.data


class Cells:
    """The cells of an epoch over a base; prepared once, used by each cursor."""

    def __init__(self, epoch: Epoch, image: memoryview) -> None:
        self.epoch = epoch
        variants = epoch.variants
        cuts = sorted({cut for v in variants for cut in (v.offset, v.offset + v.length)})
        index = {cut: number for number, cut in enumerate(cuts)}
        covers: dict[int, int] = defaultdict(int)
        self.under: list[range] = []
        """The cells that each variant covers."""
        for bit, variant in enumerate(variants):
            cells = range(index[variant.offset], index[variant.offset + variant.length])
            self.under.append(cells)
            for cell in cells:
                covers[cell] |= 1 << bit
        self.covers = covers
        self.starts = cuts
        self.old = {cell: bytes(image[cuts[cell] : cuts[cell + 1]]) for cell in covers}
        self.deltas: list[dict[int, int]] = [{} for _ in cuts]
        """For each cell, by its last variant: the change of the key of a state."""

    def contents(self, cell: int, winner: int) -> bytes | memoryview:
        """Return what a cell holds if ``winner`` is its last variant; -1 for none."""
        if winner < 0:
            return self.old[cell]
        variant = self.epoch.variants[winner]
        start, end = self.starts[cell], self.starts[cell + 1]
        if variant.data is None:
            return bytes(end - start)
        return variant.data[start - variant.offset : end - variant.offset]

    def delta(self, cell: int, winner: int) -> int:
        """Return the difference between the key of a cell and that of its durable contents."""
        found = self.deltas[cell].get(winner)
        if found is None:
            found = self._hash(cell, -1) ^ self._hash(cell, winner) if winner >= 0 else 0
            self.deltas[cell][winner] = found
        return found

    def _hash(self, cell: int, winner: int) -> int:
        data = self.contents(cell, winner)
        found, start = 0, self.starts[cell]
        for at in range(0, len(data), SECTOR):
            found ^= xxh3_64_intdigest(data[at : at + SECTOR], (start + at) // SECTOR)
        return found


class KeyCursor:
    """Computes the keys of states of an epoch; equal keys mean equal contents.

    :param key: of the durable image; that of the state with none of the writes.
    """

    def __init__(self, cells: Cells, key: int = 0) -> None:
        self._cells = cells
        self._mask = 0
        self._key = key
        self._now = dict.fromkeys(cells.covers, 0)

    def go(self, mask: int) -> int:
        """Go to a state and return its key."""
        cells, now, key = self._cells, self._now, self._key
        covers, deltas = cells.covers, cells.deltas
        for cell in _touched(cells.under, mask ^ self._mask):
            winner = (mask & covers[cell]).bit_length() - 1
            delta = deltas[cell].get(winner)
            if delta is None:
                delta = cells.delta(cell, winner)
            key ^= now[cell] ^ delta
            now[cell] = delta
        self._mask, self._key = mask, key
        return key


class ImageCursor:
    """Brings an image from one state of an epoch to another; it begins without any of the writes.

    :param image: is changed in place.
    """

    def __init__(self, cells: Cells, image: memoryview) -> None:
        self._cells = cells
        self._image = image
        self._mask = 0
        self._winners = dict.fromkeys(cells.covers, -1)

    def go(self, mask: int) -> None:
        """Go to a state."""
        cells, winners, image = self._cells, self._winners, self._image
        covers, starts = cells.covers, cells.starts
        for cell in _touched(cells.under, mask ^ self._mask):
            winner = (mask & covers[cell]).bit_length() - 1
            if winner != winners[cell]:
                winners[cell] = winner
                image[starts[cell] : starts[cell + 1]] = cells.contents(cell, winner)
        self._mask = mask


def _touched(under: list[range], different: int) -> Collection[int]:
    """Return the cells that the variants of a mask cover."""
    if not different & (different - 1):
        return under[different.bit_length() - 1] if different else ()
    found: set[int] = set()
    while different:
        bit = different.bit_length() - 1
        different ^= 1 << bit
        found.update(under[bit])
    return found
