"""Flushes, logs, allocation over one and two power cuts: a sixth collection (docs/bugs.md)."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.connections import on_end
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant
from mutants.patching import replace
from mutants.sixth_requests import has_data
from mutants.volume_mutant import Real, Span, VolumeMutant, apart
from reference_backend.blocking_requests import mark_under_way
from reference_backend.store.volume import Volume

_UNIT = 65536
_MOST = 256


def _fits(volume: Volume, offset: int, length: int) -> bool:
    return 0 < length <= _UNIT and offset + length <= volume.size and not volume.read_only


def _restore(volume: Volume, spans: list[Span]) -> None:
    """Restore old contents, newest first, in the store of a volume without power."""
    store = volume._powered  # noqa: SLF001  # a mutant changes code
    for offset, old in reversed(spans):
        if offset + len(old) <= store.size:
            store.write(offset, old)


class _Logging(VolumeMutant):
    """A volume with a log, which is empty after a resize and after a snapshot."""

    forgets_after = ("resize", "snapshot")


class SequenceRestarts(_Logging):
    """After a recovery, a log numbers its entries from 1 again, and old numbers are skipped."""

    id = "sequence-restarts-after-recovery"
    shows = ("lost write", "stale")
    source = "Typhon issue 712 (numbers of a write-ahead log)"
    breaks = "a second power cut takes back as many writes as there were before the first, or all"

    def fresh(self) -> list[Any]:
        """Start with the number 0, without old numbers and entries."""
        return [0, 0, []]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Number the write."""
        state = self.of(volume)
        number, frontier, entries = state
        length = len(data)
        is_old = _fits(volume, offset, length) and number < frontier and len(entries) < 16 * _MOST
        old = volume.read(offset, length) if is_old else b""
        real(offset, data, fua)
        state[0] += 1
        if is_old and self.strikes():
            entries.append((offset, old))
        else:
            state[2] = apart(entries, offset, length)

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Carry it out; it is not in this log."""
        real()
        state = self.of(volume)
        state[2] = apart(state[2], offset, length)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Skip the entries with numbers that have been replayed before."""
        real(seed)
        number, frontier, entries = self.of(volume)
        _restore(volume, entries)
        self.put(volume, [0, max(number, frontier), []])


class SecondCutLosesRecovered(_Logging):
    """A recovery empties the log before what it has replayed can be found in its place."""

    id = "second-cut-loses-recovered"
    shows = ("lost write", "stale")
    source = "Typhon issue 715 (a second crash before the first checkpoint)"
    breaks = (
        "a power cut directly after another one takes back the 256 newest writes, also flushed ones"
    )

    def fresh(self) -> list[Any]:
        """Start with an empty log, not after a recovery."""
        return [[], False]

    def _begin(self, volume: Volume) -> list[Any]:
        state: list[Any] = self.of(volume)
        if state[1]:
            self.put(volume, self.fresh())
            return self.of(volume)  # type: ignore[no-any-return]
        return state

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Log the write; the first one after a recovery comes after a checkpoint."""
        state = self._begin(volume)
        is_logged = _fits(volume, offset, len(data))
        old = volume.read(offset, len(data)) if is_logged else b""
        real(offset, data, fua)
        if is_logged:
            state[0].append((offset, old))
            del state[0][:-_MOST]
        else:
            state[0] = apart(state[0], offset, len(data))

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Carry it out; it is not in this log."""
        state = self._begin(volume)
        real()
        state[0] = apart(state[0], offset, length)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Write a checkpoint after a recovery."""
        real()
        self._begin(volume)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Lose what was recovered if nothing happened since."""
        log, is_recovered = self.of(volume)
        real(seed)
        if is_recovered and log and self.strikes():
            _restore(volume, log)
            log = []
        self.put(volume, [log, True])


class AllocatorForgetsAfterCut(VolumeMutant):
    """A recovery finds the newest unit in the map, and not in the state of the allocator."""

    id = "allocator-forgets-after-cut"
    shows = ("misplaced data", "lost write")
    source = "eBay HomeObject pull request 452"
    breaks = (
        "the first unit that is allocated after a power cut is the last one allocated before it"
    )

    def fresh(self) -> list[int]:
        """Start without a newest unit, and without a forgotten one."""
        return [-1, -1]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note a unit that is allocated; give the forgotten one to it as well."""
        base = offset // _UNIT * _UNIT
        is_new = _fits(volume, offset, len(data)) and not has_data(volume, base, base + _UNIT)
        real(offset, data, fua)
        if not is_new:
            return
        state = self.of(volume)
        forgotten, state[0], state[1] = state[1], base, -1
        at = forgotten + offset - base
        if forgotten not in {-1, base} and at + len(data) <= volume.size and self.strikes():
            volume.store.write(at, data)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Forget the newest unit."""
        real(seed)
        newest, _ = self.of(volume)
        self.put(volume, [-1, newest])


class FlushCommitsUnfinished(Mutant):
    """A flush makes the map of a write durable whose data is not there yet."""

    id = "flush-commits-unfinished"
    shows = ("misplaced data", "lost write")
    source = "Linux aa9509209c5a (dm writecache: incorrect flush sequence)"
    breaks = "a write in flight at a flush holds another write's data after a power cut"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Take 0.5 ms for a write."""
        flushes: weakref.WeakKeyDictionary[Volume, int] = weakref.WeakKeyDictionary()
        open_: weakref.WeakKeyDictionary[Volume, list[Span]] = weakref.WeakKeyDictionary()

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                before = flushes.get(volume, 0)
                mark_under_way()
                time.sleep(0.0005)
                real(volume, offset, data, fua)
                spans = apart(open_.get(volume, []), offset, len(data))
                if flushes.get(volume, 0) != before and not fua and _fits(volume, 0, len(data)):
                    spans.append((offset, bytes(data)))
                open_[volume] = spans[-_MOST:]

            return write

        def make_flush(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                real(volume)
                flushes[volume] = flushes.get(volume, 0) + 1
                open_.pop(volume, None)

            return flush

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                spans = open_.pop(volume, [])
                store = volume._powered  # noqa: SLF001  # a mutant changes code
                for offset, data in spans:
                    if offset + len(data) <= store.size and self.strikes():
                        other = (offset + _UNIT) % max(store.size - len(data), 1)
                        store.write(offset, store.read(other, len(data)))

            return power_cut

        def make_forget(real: Any) -> Any:
            def act(volume: Volume, *arguments: Any, **named: Any) -> Any:
                open_.pop(volume, None)
                return real(volume, *arguments, **named)

            return act

        replace(Volume, "write", make_write)
        replace(Volume, "flush", make_flush)
        replace(Volume, "power_cut", make_cut)
        for name in ("write_zeroes", "discard", "resize", "snapshot"):
            replace(Volume, name, make_forget)


class FlushMissesClosedConnection(Mutant):
    """What a connection wrote is destaged when it has been cleaned up, by nobody's flush."""

    id = "flush-misses-closed-connection"
    shows = ("lost write", "stale")
    source = "class known from caches of connections (variant of multi-conn-incoherent)"
    breaks = "a flush does not cover the writes of a connection that ended in the last 0.1 s"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Note which connection wrote what."""
        self._thread = threading.local()
        self._own: dict[int, list[tuple[Volume, int, bytes]]] = {}
        self._left: list[tuple[float, Volume, int, bytes]] = []
        on_end(self._end)

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                connection = getattr(self._thread, "connection", 0)
                length = len(data)
                is_noted = bool(connection) and not fua and _fits(volume, offset, length)
                with self._lock:
                    old = volume.read(offset, length) if is_noted else b""
                    real(volume, offset, data, fua)
                    self._left = [one for one in self._left if one[1] is not volume
                                  or one[2] + len(one[3]) <= offset
                                  or one[2] >= offset + length]  # fmt: skip
                    if is_noted:
                        own = self._own.setdefault(connection, [])
                        own.append((volume, offset, old))
                        del own[:-_MOST]

            return write

        def make_flush(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                real(volume)
                now_s = clock.now_s()
                with self._lock:
                    self._own.clear()
                    self._left = [one for one in self._left if now_s - one[0] < 0.1]

            return flush

        def make_forget(real: Any) -> Any:
            def act(volume: Volume, *arguments: Any, **named: Any) -> Any:
                with self._lock:
                    self._own.clear()
                    self._left.clear()
                return real(volume, *arguments, **named)

            return act

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                with self._lock:
                    spans = [(at, old) for _, one, at, old in self._left if one is volume]
                    self._own.clear()
                    self._left.clear()
                if spans and self.strikes():
                    _restore(volume, spans)

            return power_cut

        replace(Volume, "write", make_write)
        replace(Volume, "flush", make_flush)
        replace(Volume, "power_cut", make_cut)
        for name in ("write_zeroes", "discard", "resize", "snapshot"):
            replace(Volume, name, make_forget)

    def _end(self, connection: int) -> None:
        now_s = clock.now_s()
        with self._lock:
            self._left += [(now_s, *one) for one in self._own.pop(connection, [])]

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Tell the volume whose request it is."""
        self._thread.connection = request.connection
        return below(request)
