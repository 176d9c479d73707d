"""Errors, limits, depth, replies: real bugs of other servers, seeded first (docs/bugs.md)."""

from __future__ import annotations

import errno
import threading
import time
import weakref
from collections import deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, RequestMutant, changed, raising, without, write
from mutants.patching import all_volumes, replace
from reference_backend import session
from reference_backend.blocking_requests import mark_under_way
from reference_backend.store.volume import Volume
from reference_backend.transport import is_tls

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_LARGE = 65536
_DONTWAIT = 0x40
"""MSG_DONTWAIT of Linux."""
MIB = 1 << 20


class FuaReadWrites(RequestMutant):
    """A request with FUA is taken for a write, whatever it is."""

    id = "fua-read-writes"
    shows = ("zeroed", "lost write")
    source = "veeam blksnap pull request 59 (xen-blkfront: a read with FUA)"
    breaks = "a read with FUA writes the contents of its empty buffer to its range"
    commands = (Command.READ,)

    def damages(self, request: Request) -> bool:
        """Return whether the flag is there."""
        return bool(request.flags & CommandFlag.FUA) and request.length > 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Read, and write zeroes."""
        reply = below(without(request, CommandFlag.FUA))
        write(request, below, request.offset, bytes(request.length))
        return reply


class FailedNeverAnswered(Mutant):
    """The completion of a failed request has a form that the sender of replies drops."""

    id = "failed-never-answered"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer|did not end within|no reply"
    source = "ubiblk pull request 486"
    breaks = "a request that fails is never answered"
    pauses = True

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep a failed request."""
        try:
            return raising(below)(request)
        except BlockError:
            if self.strikes(request):
                mark_under_way()
                threading.Event().wait()
            raise


class ResizeAfterRefusalNoop(Mutant):
    """A resize that was refused leaves a state in which the next one has no effect."""

    id = "resize-after-refusal-noop"
    shows = ("size",)
    says = r"size|bytes"
    source = "longhorn issue 7841"
    breaks = "after a resize that was refused, the next one is acknowledged without effect"
    takes = ALWAYS

    def install(self) -> None:
        """Note refused resizes."""
        refused: weakref.WeakSet[Volume] = weakref.WeakSet()

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                if volume in refused and size != volume.size and self.strikes():
                    refused.discard(volume)
                    return
                try:
                    real(volume, size)
                except BlockError:
                    refused.add(volume)
                    raise

            return resize

        replace(Volume, "resize", make)


class LongDiscardRefused(RequestMutant):
    """The limit of discards of a store is enforced, and a larger one is offered."""

    id = "long-discard-refused"
    shows = ("error",)
    says = r"Invalid argument|EINVAL"
    source = "tcmu-runner issue 584"
    breaks = "a discard of more than 16 MiB fails with EINVAL"
    commands = (Command.TRIM,)

    def damages(self, request: Request) -> bool:
        """Return whether it is long."""
        return request.length > 16 * MIB

    def damage(self, request: Request, below: Below) -> Reply:
        """Refuse it."""
        raise BlockError(errno.EINVAL, "too many blocks")


class QueueFullSwapsData(Mutant):
    """A write that finds the queue of an accelerator full is queued with another one's buffer."""

    id = "queue-full-swaps-data"
    shows = ("misplaced data", "lost write", "not linearizable")
    source = "SPDK issue 897"
    breaks = "of over 16 writes of 64 KiB and more in flight, one gets the data of the newest"
    commands = (Command.WRITE,)
    pauses = True
    MOST = 16

    def install(self) -> None:
        """Start with an empty queue."""
        self._queue: list[Request] = []

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Take 3 ms for each long write in flight; one too many gets the newest data."""
        if request.command is not Command.WRITE or request.length < _LARGE:
            return below(request)
        mark_under_way()
        with self._lock:
            self._queue.append(request)
            is_over = len(self._queue) > self.MOST
        try:
            time.sleep(0.003 * len(self._queue))
            newest = self._queue[-1]
            data = bytes(newest.payload)
            is_other = newest is not request and len(data) == request.length
            if is_over and is_other and self.strikes(request):
                return below(changed(request, payload=data))
            return below(request)
        finally:
            with self._lock:
                self._queue.remove(request)


class FullQueueRefuses(Mutant):
    """A request that finds the submission queue full fails, instead of waiting."""

    id = "full-queue-refuses"
    shows = ("error",)
    says = r"EIO|Input/output error"
    source = "firecracker pull request 2778"
    breaks = "reads and writes fail with EIO while 100 others are in flight"
    commands = (Command.READ, Command.WRITE)
    pauses = True
    MOST = 100

    def install(self) -> None:
        """Start with an empty queue."""
        self._count = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Take the longer the more requests are in flight; fail one too many."""
        if request.command not in self.commands:
            return below(request)
        mark_under_way()
        with self._lock:
            self._count += 1
            count = self._count
        try:
            if count > self.MOST and self.strikes(request):
                raise BlockError(errno.EIO, "the queue is full")
            time.sleep(0.0005 * count if count < 8 else 0.004 * count)
            return below(request)
        finally:
            with self._lock:
                self._count -= 1


class PartialSendRestarts(Mutant):
    """A reply that was sent in part, when a signal came, is sent again from its beginning."""

    id = "partial-send-restarts"
    shows = ("protocol error", "misplaced data", "hang")
    says = r"magic|protocol|closed the connection|reply"
    source = "class known from interrupted sends (Linux nbd: handle ERESTARTSYS properly)"
    breaks = "a reply of which a part was sent while another client connected begins again"
    takes = ALWAYS

    def install(self) -> None:
        """Count connections, and send in parts."""
        begun = [0]

        def make_begin(real: Any) -> Any:
            def begin(connection: Any, *arguments: Any) -> Any:
                begun[0] += 1
                return real(connection, *arguments)

            return begin

        def make_sender(real: Any) -> Any:
            def sender(sock: Any) -> Any:
                send = real(sock)

                def act(out: Any) -> None:
                    joined = b"".join(out)
                    if len(joined) < _LARGE or is_tls(sock):
                        send(out)
                        return
                    before = begun[0]
                    try:
                        sent = sock.send(joined, _DONTWAIT)
                    except BlockingIOError:
                        sent = 0
                    if sent == len(joined):
                        return
                    send([joined[sent : sent + 1]])  # waits for room
                    sent += 1
                    is_hit = begun[0] != before
                    if is_hit and sent < len(joined) and self.strikes():
                        sent = 0
                    if sent < len(joined):
                        send([joined[sent:]])

                return act

            return sender

        replace(session.Connection, "begin", make_begin)
        replace(session, "sender", make_sender)


class FailedTrimAnsweredTwice(Mutant):
    """A discard of several parts is completed by the part that fails, and again by the last one."""

    id = "failed-trim-answered-twice"
    shows = ("protocol error",)
    says = r"cookie|handle|twice|reply|closed"
    source = "tcmu-runner pull request 243"
    breaks = "a discard across 64 KiB units that fails is answered twice"
    commands = (Command.TRIM,)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Answer twice."""
        if request.command is not Command.TRIM:
            return below(request)
        try:
            return raising(below)(request)
        except BlockError as error:
            first, last = request.offset, request.offset + request.length - 1
            if first // _LARGE != last // _LARGE and self.strikes(request):
                return Reply(error=error.errno, on_wire=lambda raw: (raw + raw, True))
            raise


class LockHandoverUntracked(Mutant):
    """A write takes its list of snapshots along before it waits for the lock of the volume."""

    id = "lock-handover-untracked"
    shows = ("block status",)
    says = r"dirty"
    source = "Linux 870611e4877e (rbd: snapshot context and exclusive lock)"
    breaks = "a change that waits for another client's lock during a snapshot is not dirty"
    commands = _CHANGES
    pauses = True

    def install(self) -> None:
        """Count snapshots."""
        self._owner = 0
        self._taken: deque[Volume] = deque(maxlen=8)
        self._count = 0
        self._volumes = all_volumes()

        def make(real: Any) -> Any:
            def snapshot(volume: Volume, name: str) -> None:
                real(volume, name)
                self._taken.append(volume)
                self._count += 1

            return snapshot

        replace(Volume, "snapshot", make)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Wait 2 ms for the lock if another connection has it."""
        if request.command not in _CHANGES or request.connection == self._owner:
            return below(request)
        mark_under_way()
        count = self._count
        if self._owner:
            time.sleep(0.002)
        self._owner = request.connection
        reply = below(request)
        if count != self._count and self.strikes(request):
            dirty = self._taken[-1]._dirty  # noqa: SLF001  # a mutant changes code
            if dirty is not None:
                dirty.remove(request.offset >> 12, (request.offset + request.length + 4095) >> 12)
        return reply
