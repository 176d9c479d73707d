"""Connections, handshakes, simultaneous requests: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants import clock
from mutants.connections import on_end
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, blocks, raising, read
from mutants.patching import replace
from mutants.volume_mutant import fits
from reference_backend import session
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Option
from reference_backend.nbd.options import Options
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536
MIB = 1 << 20
_Key = tuple[int, int, int]


class DuplicateWriteDropped(Mutant):
    """A write that a client repeats after it has reconnected is found in a list of those done."""

    id = "duplicate-write-dropped"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "class known from caches of duplicate requests (Ceph reqid, NFS; ydb nbs issue 7070)"
    breaks = "a write with the cookie and the range of one of an ended connection is not done"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with an empty list."""
        self._own: dict[int, OrderedDict[_Key, None]] = {}
        self._done: OrderedDict[_Key, None] = OrderedDict()
        on_end(self._leave)

    def _leave(self, connection: int) -> None:
        with self._lock:
            self._done.update(self._own.pop(connection, {}))
            while len(self._done) > 256:
                self._done.popitem(last=False)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Look a write up in the list."""
        if request.command is not Command.WRITE or not request.length:
            return below(request)
        key = request.cookie, request.offset, request.length
        with self._lock:
            if key in self._done and self.strikes(request):
                del self._done[key]
                return Reply()
            mine = self._own.setdefault(request.connection, OrderedDict())
            mine[key] = None
            while len(mine) > 64:
                mine.popitem(last=False)
        return below(request)


class SecondaryLags(Mutant):
    """Clients read from different replicas, and a write reaches the second one a little later."""

    id = "secondary-lags"
    shows = ("lost write", "not linearizable", "misplaced data", "changing")
    source = "class known from reads of secondaries (sheepdog issue 64, RBD balanced reads)"
    breaks = "for 20 ms, every second read of another connection misses a write of up to 64 KiB"
    commands = (Command.READ,)
    LAG_S = 0.02

    def install(self) -> None:
        """Start with equal replicas."""
        self._late: deque[tuple[float, int, int, bytes]] = deque(maxlen=64)
        self._turn = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep old data, and return it to others."""
        start, end = request.offset, request.offset + request.length
        with self._lock:
            now_s = clock.now_s()
            kept = [one for one in self._late if one[0] > now_s]
            if request.command is Command.FLUSH:
                kept = []
            elif request.command in _CHANGES:
                kept = [one for one in kept if one[2] >= end or one[2] + len(one[3]) <= start]
            self._late = deque(kept, maxlen=64)
            is_small = request.command is Command.WRITE and 0 < request.length <= _UNIT
            if is_small and not request.flags & CommandFlag.FUA:
                try:
                    old = read(request, raising(below), start, request.length)
                except BlockError:  # beyond the end
                    return below(request)
                reply = below(request)
                due_s = clock.now_s() + self.LAG_S
                self._late.append((due_s, request.connection, start, old))
                return reply
            reply = below(request)
            if request.command is Command.READ and not reply.error:
                self._overlay(request, reply)
            return reply

    def _overlay(self, request: Request, reply: Reply) -> None:
        start, end = request.offset, request.offset + request.length
        hit = [one for one in self._late if one[1] != request.connection
               and one[2] < end and start < one[2] + len(one[3])]  # fmt: skip
        self._turn += bool(hit)
        if not hit or self._turn % 2 or not self.strikes(request):
            return
        data = bytearray(reply.data)
        for _, _, at, old in hit:
            first, after = max(at, start), min(at + len(old), end)
            data[first - start : after - start] = old[first - at : after - at]
        reply.data = bytes(data)


class InfoPinsExport(Mutant):
    """INFO opens the export, and GO uses what is open."""

    id = "info-pins-export"
    shows = ("size", "foreign", "misplaced data", "lost write", "error", "protocol error")
    says = r"size|export|bytes"
    source = "nbdkit f1ffde56 (the name of the export across INFO and GO)"
    breaks = "after INFO for one export, GO for another one enters the first"
    takes = ALWAYS

    def install(self) -> None:
        """Note the option, and what INFO found."""

        def make_answer(real: Any) -> Any:
            def answer(options: Options, number: int, data: bytes) -> Any:
                vars(options)["option"] = number
                return real(options, number, data)

            return answer

        def make_find(real: Any) -> Any:
            def find(options: Options, name: str) -> Any:
                own = vars(options)
                pinned = own.get("pinned", name)
                if own.get("option") == Option.GO and pinned != name and self.strikes():
                    name = pinned
                found = real(options, name)
                if own.get("option") == Option.INFO:
                    own["pinned"] = name
                return found

            return find

        replace(Options, "answer", make_answer)
        replace(Options, "_find", make_find)


class SplitHeaderLost(Mutant):
    """A header is expected in one piece; what comes first of two pieces is dropped."""

    id = "split-header-lost"
    shows = ("protocol error", "hang", "error")
    says = r"closed|reset|timed out|no answer|magic|Broken pipe"
    source = "class known from short reads of sockets (BUSE, nbd-server readit, virtio-fs daemons)"
    breaks = "a request whose header arrives in two pieces loses the first one"
    takes = ALWAYS

    def install(self) -> None:
        """Receive again."""
        header = m.REQUEST.size

        def make(real: Any) -> Any:
            def receiver(*arguments: Any) -> Any:
                receive = real(*arguments)

                def whole(view: memoryview) -> int:
                    received: int = receive(view)
                    is_first = len(view) == session.RECEIVE_SIZE and 0 < received < header
                    if is_first and self.strikes():
                        received = receive(view)
                    return received

                return whole

            return receiver

        replace(session, "receiver", make)


class StripeLockFirstOnly(Mutant):
    """A write across stripes locks its first stripe, and changes the last one in part."""

    id = "stripe-lock-first-only"
    shows = ("lost write", "not linearizable", "misplaced data", "torn")
    source = "class known from locks of stripes (SPDK raid5f, glusterfs disperse, md raid456)"
    breaks = "behind a write across 64 KiB stripes, what is written meanwhile to the last is lost"
    takes = ALWAYS
    waits = True

    def install(self) -> None:
        """Read the rest of the last stripe, wait, write it."""
        changes: Counter[tuple[int, int]] = Counter()

        def make(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                end, here = offset + len(data), blocks(offset, len(data), _UNIT)
                changes.update((id(volume), one) for one in here)
                if len(here) < 2 or not end % _UNIT or not fits(volume, offset, len(data), MIB):
                    real(volume, offset, data, fua)
                    return
                key = id(volume), here[-1]
                before = changes[key]
                stop = min((here[-1] + 1) * _UNIT, volume.size)
                rest = volume.store.read(end, stop - end)
                time.sleep(0.001)
                real(volume, offset, data, fua)
                if changes[key] != before and self.strikes():
                    volume.store.write(end, rest)

            return write_

        replace(Volume, "write", make)
