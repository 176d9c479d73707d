"""Queues and memory of a vhost-user-blk server (docs/bugs.md)."""

from __future__ import annotations

from typing import Any, ClassVar

from mutants.patching import die, replace
from mutants.virtio import VirtioMutant
from reference_backend.vhost_user.back_end import QueueWorker, Session, Vring
from reference_backend.vhost_user.device_ring import BadRing, Chain, DeviceRing, GuestMemory, Region
from reference_backend.vhost_user.inflight import Inflight
from reference_backend.vhost_user.messages import Code, MessageError
from reference_backend.vhost_user.ring import DESCRIPTOR, INDIRECT, NEXT, WRITE

_TABLE = 8
_USED_TWICE = 50


class VirtioIndirectLimit(VirtioMutant):
    """A table of indirect descriptors is read into a buffer of fixed size."""

    id = "virtio-indirect-limit"
    shows = ("hang", "lost write", "misplaced data", "unknown", "altered", "error", "truncated")
    says = r"answers VIRTIO_BLK_S_|ended the connection|not completed"
    source = "class known from buffers of a fixed size for indirect tables"
    breaks = "of an indirect table with more than eight entries, the entries between are skipped"
    where = (DeviceRing, "chain")

    def instead(self, real: Any, ring: DeviceRing, head: int) -> Chain:
        """Drop data segments from the middle of a chain."""
        found: Chain = real(ring, head)
        if len(found.reads) > _TABLE and self.strikes():
            return found._replace(reads=found.reads[:_TABLE])
        if len(found.writes) > _TABLE and self.strikes():
            return found._replace(writes=[*found.writes[: _TABLE - 1], found.writes[-1]])
        return found


class VirtioIndexNotWrapped(VirtioMutant):
    """Indexes are compared as if they never wrapped."""

    id = "virtio-index-not-wrapped"
    shows = ("hang",)
    says = r"completed|no reply|in time"
    source = "class known from 16-bit ring indexes (VIRTIO 1.2, Split Virtqueues)"
    breaks = "requests whose index is 65536 and more are not seen until the index is small again"
    where = (DeviceRing, "take")

    def instead(self, real: Any, ring: DeviceRing) -> Any:
        """Take nothing where the available index is below the next one."""
        if ring._available[1] < ring.next and self.strikes():  # noqa: SLF001  # a mutant
            return []
        return real(ring)


class VirtioInterruptLost(VirtioMutant):
    """The used event is compared without a wrap."""

    id = "virtio-interrupt-lost"
    shows = ("hang",)
    says = r"completed|no reply|in time"
    source = "class known from VIRTIO_F_EVENT_IDX (VIRTIO 1.2, section 2.7.7)"
    breaks = "where the used index wraps to 0, no interrupt is sent"
    where = (DeviceRing, "put")

    def instead(self, real: Any, ring: DeviceRing, head: int, written: int) -> bool:
        """Compare plain numbers."""
        wanted = bool(real(ring, head, written))
        wraps = ring.event_idx and not ring.used_index
        return wanted and not (wraps and self.strikes())


class VirtioUsedTwice(VirtioMutant):
    """A request that is completed by two threads is used by both."""

    id = "virtio-used-twice"
    shows = ("died",)
    says = r"used ring|descriptor \d+ was used|used as"
    source = "class known from completions that two threads report"
    breaks = "every fiftieth request is put into the used ring twice"
    where = (DeviceRing, "put")
    _count = 0

    def instead(self, real: Any, ring: DeviceRing, head: int, written: int) -> bool:
        """Count, and repeat."""
        self._count += 1
        wanted = bool(real(ring, head, written))
        if self._count % _USED_TWICE == 0 and self.strikes():
            return bool(real(ring, head, written)) or wanted
        return wanted


class VirtioFullRingIsEmpty(VirtioMutant):
    """The number of new entries is taken modulo the size of the ring."""

    id = "virtio-full-ring-is-empty"
    shows = ("hang",)
    says = r"completed|no reply|in time"
    source = "class known from counts modulo the size of a ring (VIRTIO 1.2, Split Virtqueues)"
    breaks = "as many new requests as the ring has descriptors are not seen"
    where = (DeviceRing, "take")

    def instead(self, real: Any, ring: DeviceRing) -> Any:
        """Take nothing from a ring that is full of new requests."""
        count = (ring._available[1] - ring.next) % 65536  # noqa: SLF001  # a mutant
        return [] if count == ring.size and self.strikes() else real(ring)


class VirtioTableOnlyFirst(VirtioMutant):
    """Only the first descriptor of a chain may refer to a table."""

    id = "virtio-table-only-first"
    shows = ("lost write", "misplaced data", "error", "died", "hang", "unknown")
    says = r"answers|ended the connection"
    source = "QEMU 7.2.22, libvhost-user (docs/findings.md)"
    breaks = "a table behind other descriptors is taken for the data of the request"
    where = (DeviceRing, "chain")

    def instead(self, real: Any, ring: DeviceRing, head: int) -> Chain:
        """Take the table itself for a part of the chain."""
        found: Chain = real(ring, head)
        _, _, flags, _ = DESCRIPTOR.unpack_from(ring._descriptors, 16 * head)  # noqa: SLF001
        at, flags = head, int(flags)
        while flags & NEXT:
            _, _, flags, at = DESCRIPTOR.unpack_from(ring._descriptors, 16 * at)  # noqa: SLF001
            if flags & INDIRECT and self.strikes():
                return found._replace(writes=[])
        return found


class VirtioStopDoesNotWait(VirtioMutant):
    """A queue that is stopped gives up what it has taken."""

    id = "virtio-stop-does-not-wait"
    says = r"GET_VRING_BASE"
    source = "class known from queues that stop under requests (QEMU block/export, SPDK vhost)"
    breaks = "GET_VRING_BASE does not wait for requests in flight, which are never completed"

    def install(self) -> None:
        """Complete nothing after a stop, and make the requests last long enough."""

        def make(real: Any) -> Any:
            def execute(worker: QueueWorker, chain: Chain) -> None:
                if getattr(worker, "is_stopped", False) and self.strikes():
                    return
                real(worker, chain)

            return execute

        def stop_make(real: Any) -> Any:
            def stop(worker: Any) -> None:
                worker.is_stopped = True
                real(worker)

            return stop

        replace(QueueWorker, "_execute", make)
        replace(QueueWorker, "stop", stop_make)


class VirtioFeaturesKept(VirtioMutant):
    """The features of the first front end are kept for the daemon's life."""

    id = "virtio-features-kept"
    shows = ("hang",)
    says = r"completed|no reply|in time"
    source = "class known from state that a reset forgets"
    breaks = "a front end that does not accept a feature gets it if the first one did"

    def install(self) -> None:
        """Add the features of the first front end to those of all others."""
        self._first: int | None = None

        def make(real: Any) -> Any:
            def set_features(session: Session, payload: bytes, fds: list[int]) -> None:
                real(session, payload, fds)
                if self._first is None:
                    self._first = session._features  # noqa: SLF001  # a mutant changes code
                elif self.strikes():
                    session._features |= self._first  # noqa: SLF001

            return set_features

        handlers = Session._handlers  # noqa: SLF001
        handlers[Code.SET_FEATURES] = make(handlers[Code.SET_FEATURES])


class VirtioBaseNotReturned(VirtioMutant):
    """A stopped queue forgets where it was."""

    id = "virtio-base-not-returned"
    says = r"GET_VRING_BASE"
    source = "class known from GET_VRING_BASE (vhost-user.rst, Starting and stopping rings)"
    breaks = "a stopped queue says that it is where it was started"

    def install(self) -> None:
        """Return the index at which the queue was started."""

        def make(real: Any) -> Any:
            def stop(vring: Any) -> None:
                base = vring.base
                real(vring)
                if vring.base != base and self.strikes():
                    vring.base = base

            return staticmethod(stop)

        Session._stop = make(Session._stop)  # type: ignore[method-assign]  # noqa: SLF001


class _Dies(VirtioMutant):
    """What a server checks is not checked, so that it dies."""

    shows = ("died",)
    says = r"died|not served|ended"
    where = (DeviceRing, "chain")
    error: ClassVar[str] = ""
    """Part of the message of the check that is not made."""

    def instead(self, real: Any, ring: DeviceRing, head: int) -> Any:
        """Die where the ring is found to be wrong."""
        try:
            return real(ring, head)
        except BadRing as error:
            if self.error in str(error) and self.strikes():
                die()
            raise


class VirtioChainLoopUnchecked(_Dies):
    """A chain is followed until it ends."""

    id = "virtio-chain-loop-unchecked"
    source = "class known from what libvhost-user checks ('Looped descriptor')"
    breaks = "a chain of descriptors with a loop ends the daemon"
    error = "a chain of more than"


class VirtioAddressUnchecked(_Dies):
    """A guest address outside of the memory becomes a pointer."""

    id = "virtio-address-unchecked"
    source = "class known from checks of libvhost-user ('Invalid address for buffers')"
    breaks = "a descriptor with an address outside of the memory ends the daemon"
    error = "is in no region"


class VirtioQueueIndexUnchecked(VirtioMutant):
    """The number of a queue is an index without a check."""

    id = "virtio-queue-index-unchecked"
    shows = ("died",)
    says = r"died|not served|ended"
    source = "QEMU 7.2.22, libvhost-user (docs/findings.md)"
    breaks = "a message about a queue that does not exist ends the daemon"
    where = (Session, "_vring")

    def instead(self, real: Any, session: Session, index: int) -> Any:
        """Die where the queue does not exist."""
        try:
            return real(session, index)
        except MessageError:
            if self.strikes():
                die()
            raise


class VirtioRegionOffsetIgnored(VirtioMutant):
    """A region that is added is taken from the beginning of its file."""

    id = "virtio-region-offset-ignored"
    shows = ("lost write", "misplaced data", "unknown")
    source = "class known from mmap offsets (vhost-user.rst, single memory region description)"
    breaks = "a region that is added while queues run begins at byte 0 of its file"
    where = (GuestMemory, "add")

    def instead(self, real: Any, memory: GuestMemory, region: Region) -> None:
        """Drop the offset."""
        real(memory, region._replace(offset=0) if self.strikes() else region)


class VirtioSecondRegionLost(VirtioMutant):
    """A buffer is taken to be in one region."""

    id = "virtio-second-region-lost"
    shows = ("lost write", "misplaced data", "unknown")
    source = "class known from translations of guest addresses (vhost-user.rst, memory regions)"
    breaks = "what a buffer has behind the border of two regions of memory is another part of it"
    where = (GuestMemory, "ranges")

    def instead(
        self, real: Any, memory: GuestMemory, address: int, length: int
    ) -> list[memoryview]:
        """Take the second part of a buffer from its beginning."""
        found: list[memoryview] = real(memory, address, length)
        if len(found) == 2 and len(found[0]) == len(found[1]) and self.strikes():
            return [found[0], found[0]]
        return found


class VirtioInflightForgotten(VirtioMutant):
    """A server that starts again trusts the rings alone."""

    id = "virtio-inflight-forgotten"
    shows = ("hang",)
    says = r"completed|no reply|in time"
    source = "class known from restarts (vhost-user.rst, Inflight I/O tracking)"
    breaks = "requests that were in flight when the server died are never completed"

    def install(self) -> None:
        """Find nothing in flight, and go on behind what the driver made available."""

        def make(real: Any) -> Any:
            def recover(region: Inflight, used_index: int) -> list[int]:
                found: list[int] = real(region, used_index)
                return found[:1] if len(found) > 1 and self.strikes() else found

            return recover

        def make_init(real: Any) -> Any:
            def init(ring: DeviceRing, *arguments: Any, **options: Any) -> None:
                real(ring, *arguments, **options)
                if ring._again and self.strikes():  # noqa: SLF001  # a mutant changes code
                    ring.next = ring._available[1]  # noqa: SLF001

            return init

        replace(Inflight, "recover", make)
        replace(DeviceRing, "__init__", make_init)


class VirtioLastBatchDoneAgain(VirtioMutant):
    """The used index of the region is not compared with that of the ring."""

    id = "virtio-last-batch-done-again"
    says = r"used ring|was used|used as|were used|ended the connection"
    source = "class known from restarts (vhost-user.rst, Inflight I/O tracking)"
    breaks = "the last request before the server died is completed again"
    where = (Inflight, "recover")

    def instead(self, real: Any, region: Inflight, used_index: int) -> list[int]:
        """Take the flags of the region as they are."""
        if not region.is_settled(used_index) and self.strikes():
            region._put(14, used_index)  # noqa: SLF001  # a mutant changes code
        found: list[int] = real(region, used_index)
        return found


class VirtioTableInOrder(VirtioMutant):
    """An indirect table is read from its beginning to its end."""

    id = "virtio-table-in-order"
    shows = ("unknown", "altered", "misplaced data", "zeroed", "lost write")
    source = "class known from devices that expect what Linux builds (VIRTIO 1.2, 2.7.5.3)"
    breaks = "the links of a table are not followed, so in another order they lead to other buffers"
    where = (DeviceRing, "chain")

    def instead(self, real: Any, ring: DeviceRing, head: int) -> Any:
        """Take the descriptors as they are, up to one without a link."""
        descriptors = ring._descriptors  # noqa: SLF001  # a mutant changes code
        address, length, flags, _ = DESCRIPTOR.unpack_from(descriptors, 16 * head)
        if not flags & INDIRECT or length % 16:
            return real(ring, head)
        parts = list(DESCRIPTOR.iter_unpack(b"".join(ring.memory.ranges(address, length))))
        linked = [part for part in enumerate(parts, 1) if part[1][2] & NEXT]
        if all(following == at for at, (_, _, _, following) in linked) or not self.strikes():
            return real(ring, head)
        chain = Chain(head, [], [])
        for address, length, flags, _ in parts:
            some = chain.writes if flags & WRITE else chain.reads
            some += ring.memory.ranges(address, length)
            if not flags & NEXT:
                break
        return chain


class VirtioOldMemoryKept(VirtioMutant):
    """Translations of guest addresses are remembered beyond a new table of memory."""

    id = "virtio-old-memory-kept"
    shows = ("hang", "unknown", "lost write", "misplaced data", "zeroed")
    says = r"after another file became the memory"
    source = "SPDK issue 3132"
    breaks = "where a new region has the addresses of an old one, buffers are in the old one"

    def install(self) -> None:
        """Keep the regions of the last table for buffers, not for rings."""

        def make(real: Any) -> Any:
            def set_mem_table(session: Session, payload: bytes, fds: list[int]) -> None:
                old = {(one.guest, one.size): one for one in session._memory.regions}  # noqa: SLF001
                real(session, payload, fds)
                session._memory.old = old  # type: ignore[attr-defined]  # noqa: SLF001

            return set_mem_table

        def make_ranges(real: Any) -> Any:
            def ranges(memory: GuestMemory, address: int, length: int) -> Any:
                old = getattr(memory, "old", {})
                kept = [old.get((one.guest, one.size), one) for one in memory.regions]
                if kept != list(memory.regions) and self.strikes():
                    return real(GuestMemory(kept), address, length)
                return real(memory, address, length)

            return ranges

        handlers = Session._handlers  # noqa: SLF001
        handlers[Code.SET_MEM_TABLE] = make(handlers[Code.SET_MEM_TABLE])
        replace(GuestMemory, "ranges", make_ranges)


class VirtioInflightOfFirstQueue(VirtioMutant):
    """Only the requests of the first queue are remembered."""

    id = "virtio-inflight-of-first-queue"
    shows = ("hang",)
    says = r"on queue 1"
    source = "class known from restarts (vhost-user.rst, Inflight I/O tracking)"
    breaks = "requests of other queues that were in flight when the server died are lost"

    def install(self) -> None:
        """Have no region for other queues, and go on behind what the driver made available."""

        def make(real: Any) -> Any:
            def region_of(session: Session, vring: Vring) -> Inflight | None:
                found: Inflight | None = real(session, vring)
                other = session._vrings.index(vring) > 0  # noqa: SLF001  # a mutant changes code
                return None if found and other and self.strikes() else found

            return region_of

        def make_start(real: Any) -> Any:
            def start(session: Session, vring: Vring) -> None:
                if session._inflight and vring.addresses and vring is not session._vrings[0]:  # noqa: SLF001
                    at = session._memory.user(vring.addresses[2] + 2, 2)  # noqa: SLF001
                    vring.base = int.from_bytes(at, "little")
                real(session, vring)

            return start

        replace(Session, "_region_of", make)
        replace(Session, "_start", make_start)


class VirtioBrokenChainKept(VirtioMutant):
    """A chain that cannot be parsed is skipped."""

    id = "virtio-broken-chain-kept"
    says = r"was not used, and the request behind it"
    source = "cloud-hypervisor pull request 8401"
    breaks = "a broken chain is never used, although the queue continues"

    def install(self) -> None:
        """Take an empty chain for a broken one, and forget it."""

        def make(real: Any) -> Any:
            def chain(ring: DeviceRing, head: int) -> Any:
                try:
                    return real(ring, head)
                except BadRing:
                    if self.strikes():
                        return Chain(head, [], [])
                    raise

            return chain

        def make_execute(real: Any) -> Any:
            def execute(worker: QueueWorker, chain: Chain) -> None:
                if chain.reads or chain.writes:
                    real(worker, chain)

            return execute

        replace(DeviceRing, "chain", make)
        replace(QueueWorker, "_execute", make_execute)
