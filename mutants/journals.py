"""Logs that are replayed after a power cut, and what they forget (docs/bugs.md)."""

from __future__ import annotations

from collections import deque
from typing import Any

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.barriers import keep_pending
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant
from mutants.patching import replace
from reference_backend.store.volume import Volume
from reference_backend.store.write_cache import WriteCache

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_LONGEST = 1 << 20
Entry = tuple[int, bytes]


class _Replayed(Mutant):
    """A log of durable changes, of which some are carried out again after a power cut."""

    takes = ALWAYS
    MOST = 16

    def install(self) -> None:
        """Replay the log after each power cut."""
        self._pending: list[tuple[bool, int, bytes]] = []
        self._log: deque[tuple[bool, int, bytes]] = deque(maxlen=self.MOST)

        def make(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                again = self.replayed(list(self._log))
                for offset, data in again if again and self.strikes() else ():
                    if offset + len(data) <= volume.size:
                        volume._powered.write(offset, data)  # noqa: SLF001  # a mutant changes code
                self._pending.clear()
                self._log.clear()

            return power_cut

        replace(Volume, "power_cut", make)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Log changes; they are durable after a flush."""
        if request.command is Command.FLUSH:
            noted = list(self._pending)
            reply = below(request)
            self._log.extend(noted)
            del self._pending[: len(noted)]
            return reply
        reply = below(request)
        if request.command in _CHANGES and request.length > _LONGEST:
            self._pending.clear()
            self._log.clear()
        elif request.command in _CHANGES:
            is_write = request.command is Command.WRITE
            data = bytes(request.payload) if is_write else bytes(request.length)
            self._pending.append((is_write, request.offset, data))
            if request.flags & CommandFlag.FUA:  # nothing that is pending may be replayed over it
                self._pending.clear()
                self._log.clear()
        return reply

    def replayed(self, log: list[tuple[bool, int, bytes]]) -> list[Entry]:
        """Return what is written again, in order."""
        raise NotImplementedError


class ReplayInOffsetOrder(_Replayed):
    """A log is sorted by offset before it is replayed."""

    id = "replay-in-offset-order"
    shows = ("lost write", "misplaced data")
    source = "class known from recovery of write logs (ceph PR 41354, PR 43127)"
    breaks = (
        "after a power cut, the last 16 changes are replayed by offset; the older of two may win"
    )

    def replayed(self, log: list[tuple[bool, int, bytes]]) -> list[Entry]:
        """Return all, if nothing was changed since the last flush."""
        if self._pending:
            return []
        return [(offset, data) for _, offset, data in sorted(log, key=lambda one: one[1])]


class JournalMissesZeroes(_Replayed):
    """Zeroes are not in the log."""

    id = "journal-misses-zeroes"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "class known from journals of writes (ceph PR 23594: writeback after a discard)"
    breaks = "after a power cut, writes are replayed over the zeroes that came after them"

    def replayed(self, log: list[tuple[bool, int, bytes]]) -> list[Entry]:
        """Return the writes, if nothing was changed since the last flush."""
        if self._pending or all(is_write for is_write, *_ in log):
            return []
        return [(offset, data) for is_write, offset, data in log if is_write]


class DiscardsReplayedOverWrites(_Replayed):
    """Discards are replayed from a list of their own, after everything else."""

    id = "discards-replayed-over-writes"
    shows = ("zeroed", "lost write")
    source = (
        "class known from recovery of discards (ZFS zil replay of TX_TRUNCATE, vitastor d32edf6c)"
    )
    breaks = "after a power cut, zeroes and discards are replayed over the writes after them"

    def replayed(self, log: list[tuple[bool, int, bytes]]) -> list[Entry]:
        """Return the zeroes, if nothing was changed since the last flush."""
        if self._pending or not any(is_write for is_write, *_ in log):
            return []
        return [(offset, data) for is_write, offset, data in log if not is_write]


class LogWrapsOverUnflushed(Mutant):
    """A log that wraps forgets its oldest entries."""

    id = "log-wraps-over-unflushed"
    shows = ("lost write",)
    source = "ceph PR 42883, PR 41490"
    breaks = "a flush makes only the last 64 changes durable"
    takes = ALWAYS
    MOST = 64

    def install(self) -> None:
        """Keep the older entries pending."""

        def make(real: Any) -> Any:
            def settle(cache: WriteCache, mark: int) -> None:
                count = mark - cache._fallen  # noqa: SLF001  # a mutant changes code
                old = list(cache._entries)[: max(count - self.MOST, 0)]  # noqa: SLF001
                real(cache, mark)
                if old and self.strikes():
                    keep_pending(cache, old)

            return settle

        replace(WriteCache, "settle", make)


class GrowNotDurable(Mutant):
    """The new size is in memory only."""

    id = "grow-not-durable"
    shows = ("size", "lost write", "error")
    says = r"size"
    source = "class known from size records that no flush covers (DRBD ab2a7cab7: resize and crash)"
    breaks = "a power cut takes back the last growth of a volume, flushed or not"
    takes = ALWAYS

    def install(self) -> None:
        """Remember the size before a growth, and restore it."""
        before: dict[int, int] = {}

        def make_resize(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                if size > volume.size:
                    before[id(volume)] = volume.size
                real(volume, size)

            return resize

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                old = before.pop(id(volume), volume.size)
                if old < volume.size and self.strikes():
                    volume._powered.resize(old)  # noqa: SLF001  # a mutant changes code
                    volume.size = old

            return power_cut

        replace(Volume, "resize", make_resize)
        replace(Volume, "power_cut", make_cut)


class FlushAfterRecoverySkipped(Mutant):
    """The counters of a log are wrong after a recovery."""

    id = "flush-after-recovery-skipped"
    shows = ("lost write",)
    source = "ceph PR 42883 (counts of a log after it is opened again)"
    breaks = "the first flush after a power cut makes nothing durable"
    takes = ALWAYS

    def install(self) -> None:
        """Note power cuts, and skip the next flush."""
        cut: set[int] = set()

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                cut.add(id(volume))

            return power_cut

        def make_flush(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                if id(volume) in cut:
                    cut.discard(id(volume))
                    if self.strikes():
                        return
                real(volume)

            return flush

        replace(Volume, "power_cut", make_cut)
        replace(Volume, "flush", make_flush)
