"""The simulated parts around the state machines of the cluster: disks, clocks and links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qbdcheck.kit.cluster.schedule import Step

if TYPE_CHECKING:
    from random import Random


class SimulatedDisk:
    """A disk with a write cache: a power cut loses, tears and keeps parts of what was not synced.

    :ivar lost: writes that a power cut took back; ``torn``: those of which it left a part.
    """

    def __init__(self, size: int, random: Random) -> None:
        self.boot = bytes(16)
        self.lost = self.torn = 0
        self._random = random
        self._durable = bytearray(size)
        self._current = bytearray(size)
        self._unsynced: list[tuple[int, bytes]] = []

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        return bytes(self._current[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes into the cache."""
        self._current[offset : offset + len(data)] = data
        self._unsynced.append((offset, data))

    def sync(self) -> None:
        """Make the cache durable."""
        for offset, data in self._unsynced:
            self._durable[offset : offset + len(data)] = data
        self._unsynced.clear()

    def cut(self) -> None:
        """Cut the power."""
        self.boot = self._random.randbytes(16)
        for offset, data in self._unsynced:
            fate = self._random.random()
            length = len(data)
            if fate < 0.6:
                length = 0
                self.lost += 1
            elif fate < 0.9:
                length = self._random.randrange(1, length)
                self.torn += 1
            self._durable[offset : offset + length] = data[:length]
        self._unsynced.clear()
        self._current[:] = self._durable

    def wipe(self) -> None:
        """Replace the disk by an empty one."""
        self.boot = self._random.randbytes(16)
        self._current = bytearray(len(self._current))
        self._durable = bytearray(len(self._durable))
        self._unsynced.clear()


class SimulatedClock:
    """The clocks of a node: a monotonic one that runs up to 1 % wrong, and one that people set."""

    def __init__(self, random: Random) -> None:
        self._rate = random.uniform(0.99, 1.01)
        self._offset = random.uniform(0, 1000)
        self.step = 0.0
        self.wall = self._offset

    def monotonic(self, time: float) -> float:
        """Return the monotonic time; the wall clock is read with it."""
        now = self._offset + time * self._rate
        self.wall = now + self.step
        return now


class Links:
    """Decides what happens to a message: it arrives late, twice, or not at all.

    :ivar dropped: messages that faults dropped; ``doubled`` and ``delayed`` likewise.
    """

    def __init__(self, random: Random) -> None:
        self.active: list[Step] = []
        self.dropped = self.doubled = self.delayed = 0
        self._random = random

    def delays(self, sender: int, receiver: int) -> list[float]:
        """Return the seconds after which each copy of a message arrives."""
        random = self._random.random
        delay = 0.0005 + 0.004 * random()
        copies = 1
        for fault in self.active:
            if fault.what in {"partition", "one way", "bridge"}:
                if self._is_cut(fault, sender, receiver):
                    self.dropped += 1
                    return []
            elif fault.what == "loss" and random() < 0.1 + 0.5 * fault.amount:
                self.dropped += 1
                return []
            elif fault.what == "delay" and random() < 0.5:
                delay += 0.4 * fault.amount * random()
                self.delayed += 1
            elif fault.what == "duplicate" and random() < 0.5:
                copies += 1
                self.doubled += 1
        return [delay + (0.3 * random() if copy else 0) for copy in range(copies)]

    def _is_cut(self, fault: Step, sender: int, receiver: int) -> bool:
        """Return whether a partition separates two ends; clients have numbers above the nodes.

        A partition cuts a node off from the others; the clients stay with it, or with the others,
        or reach both sides. One way: the node receives nothing from other nodes. A bridge: the two
        others do not reach each other, but both reach it.
        """
        ends = {sender, receiver}
        if fault.what == "bridge":
            return fault.who not in ends and max(ends) <= 3
        if fault.what == "one way":
            return receiver == fault.who and sender <= 3
        if max(ends) <= 3:
            return fault.who in ends
        if fault.amount < 0.25:
            return fault.who not in ends
        return fault.amount < 0.5 and fault.who in ends
