"""Requests of a vhost-user-blk server (docs/bugs.md).

These bugs are in code that NBD never reaches, so their target is ``reference-vhost-user``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar

from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant
from mutants.patching import replace
from reference_backend.vhost_user import block_requests
from reference_backend.vhost_user.back_end import Session
from reference_backend.vhost_user.block_requests import Answer, BlockRequests
from reference_backend.vhost_user.device_ring import Chain
from reference_backend.vhost_user.messages import CONFIG_HEAD, Code
from reference_backend.vhost_user.requests import ID_BYTES, RANGE, Kind, Status

_SEGMENTS = 8


class VirtioMutant(Mutant):
    """A bug of the vhost-user server: one function of it that does something else.

    ``where`` is the class or module and the name of the function; `instead` replaces it.
    """

    takes = ALWAYS
    base = "reference-vhost-user"
    where: ClassVar[tuple[Any, str]]

    def install(self) -> None:
        """Replace the function."""

        def make(real: Any) -> Any:
            def patched(*arguments: Any, **options: Any) -> Any:
                return self.instead(real, *arguments, **options)

            return patched

        replace(*self.where, make)

    def instead(self, real: Any, *arguments: Any, **options: Any) -> Any:
        """Do what the function with the bug does; ``real`` is the right one."""
        raise NotImplementedError


class VirtioStatusInLastOfOne(VirtioMutant):
    """The status is expected in a descriptor of its own."""

    id = "virtio-status-in-last-of-one"
    shows = ("altered", "unknown", "misplaced data")
    says = r"UNWRITTEN|status 0x"
    source = "class known from devices that assume a layout (VIRTIO 1.2, Message Framing)"
    breaks = "where data and status share a descriptor, the status overwrites the first data"
    where = (block_requests, "_scatter")

    def instead(self, real: Any, views: Sequence[memoryview], start: int, data: bytes) -> None:
        """Write the status at the beginning of the last descriptor."""
        last = sum(map(len, views)) - 1
        if start == last and len(views[-1]) > 1 and self.strikes():
            start -= len(views[-1]) - 1
        real(views, start, data)


class VirtioSegmentLost(VirtioMutant):
    """An array of segments has too few places."""

    id = "virtio-segment-lost"
    shows = ("lost write", "misplaced data", "unknown", "altered")
    source = "class known from arrays of segments of a fixed size"
    breaks = "what a read of more than eight segments has for the last one is not written"
    where = (BlockRequests, "execute")

    def instead(self, real: Any, requests: BlockRequests, chain: Chain) -> int:
        """Leave out the last segment of data."""
        if len(chain.writes) <= _SEGMENTS or not self.strikes():
            return int(real(requests, chain))
        last = chain.writes[-2]
        kept = bytes(last)
        written = int(real(requests, chain))
        last[:] = kept
        return written


class VirtioRangeCheckWraps(VirtioMutant):
    """The offset is computed in 64 bits before it is checked."""

    id = "virtio-range-check-wraps"
    shows = ("lost write", "misplaced data")
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from range checks (flexnbd-c 0.5.0, findings.md)"
    breaks = "sector 2^55 and those after it are taken for the first ones"
    where = (BlockRequests, "_answer")

    def instead(
        self, real: Any, requests: BlockRequests, kind: int, sector: int, *rest: Any
    ) -> Answer:
        """Cut the sector to what 64 bits of an offset hold."""
        if sector >> 55 and self.strikes():
            sector &= (1 << 55) - 1
        found: Answer = real(requests, kind, sector, *rest)
        return found


class VirtioUnknownTypeOk(VirtioMutant):
    """An unknown request does nothing, successfully."""

    id = "virtio-unknown-type-ok"
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from default branches without a status (VIRTIO 1.2, 5.2.6)"
    breaks = "a request of an unknown type succeeds"
    where = (BlockRequests, "_answer")

    def instead(self, real: Any, requests: BlockRequests, kind: int, *rest: Any) -> Answer:
        """Answer OK where the type is unknown."""
        found: Answer = real(requests, kind, *rest)
        unknown = kind not in set(Kind)
        return Answer(Status.OK) if unknown and self.strikes() else found


class VirtioUnknownFlagOk(VirtioMutant):
    """Flags of a range are not checked."""

    id = "virtio-unknown-flag-ok"
    shows = ("lost write", "zeroed")
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from flags that nobody reads (VIRTIO 1.2, 5.2.6)"
    breaks = "a discard with UNMAP, and ranges with unknown flags, are carried out"
    where = (BlockRequests, "_ranges")

    def instead(
        self, real: Any, requests: BlockRequests, payload: bytes, *rest: Any, **more: Any
    ) -> Answer:
        """Clear the flags."""
        if not len(payload) % RANGE.size and self.strikes():
            parts = RANGE.iter_unpack(payload)
            payload = b"".join(RANGE.pack(at, count, flags & 0) for at, count, flags in parts)
        found: Answer = real(requests, payload, *rest, **more)
        return found


class VirtioFirstRangeOnly(VirtioMutant):
    """Only one range was expected."""

    id = "virtio-first-range-only"
    shows = ("missing zeroes", "stale", "never written")
    source = "class known from devices that read one range"
    breaks = "of a request with several ranges, only the first one is zeroed"
    where = (BlockRequests, "_ranges")

    def instead(
        self, real: Any, requests: BlockRequests, payload: bytes, *rest: Any, **more: Any
    ) -> Answer:
        """Cut the table."""
        if len(payload) > RANGE.size and self.strikes():
            payload = payload[: RANGE.size]
        found: Answer = real(requests, payload, *rest, **more)
        return found


class VirtioRangesMerged(VirtioMutant):
    """Ranges are merged although there is something between them."""

    id = "virtio-ranges-merged"
    shows = ("zeroed", "lost write")
    source = "class known from the merging of discards"
    breaks = "several ranges of one request become one, with all that lies between them"
    where = (BlockRequests, "_ranges")

    def instead(
        self, real: Any, requests: BlockRequests, payload: bytes, *rest: Any, **more: Any
    ) -> Answer:
        """Build one range from the first to the last sector."""
        if len(payload) > RANGE.size and not len(payload) % RANGE.size and self.strikes():
            parts = list(RANGE.iter_unpack(payload))
            first = min(at for at, _, _ in parts)
            end = max(at + count for at, count, _ in parts)
            payload = RANGE.pack(first, end - first, parts[0][2])
        found: Answer = real(requests, payload, *rest, **more)
        return found


class VirtioWritesPastSegment(VirtioMutant):
    """A copy has a length that is rounded up."""

    id = "virtio-writes-past-segment"
    says = r"outside of its segments"
    source = "class known from bounce buffers"
    breaks = "each segment of a read is followed by eight bytes that do not belong to it"
    where = (BlockRequests, "execute")

    def instead(self, real: Any, requests: BlockRequests, chain: Chain) -> int:
        """Write behind each segment of at least a sector."""
        written = int(real(requests, chain))
        for view in chain.writes:
            if len(view) >= 512 and self.strikes():
                start = ctypes.addressof(ctypes.c_char.from_buffer(view))
                ctypes.memset(start + len(view), 0, 8)
        return written


class VirtioReadOnlyZeroes(VirtioMutant):
    """Only writes are checked against read-only."""

    id = "virtio-read-only-zeroes"
    shows = ("zeroed", "lost write")
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from read-only checks of each command (variant of read-only-not-enforced)"
    breaks = "a read-only server executes write zeroes"
    where = (BlockRequests, "_ranges")

    def instead(
        self, real: Any, requests: BlockRequests, payload: bytes, command: Command, **more: Any
    ) -> Any:
        """Let write zeroes pass as if they changed nothing."""
        device = requests._device  # noqa: SLF001  # a mutant changes code
        if command is Command.WRITE_ZEROES and device.read_only and self.strikes():
            return Answer(Status.OK)
        return real(requests, payload, command, **more)


class VirtioWriteCacheStaysOn(VirtioMutant):
    """The field `writeback` is stored, and the cache in memory stays on."""

    id = "virtio-write-cache-stays-on"
    shows = ("lost write",)
    source = "class known from CONFIG_WCE (VIRTIO 1.2, 5.2.5)"
    breaks = "writes are not durable at their end although the driver has switched the cache off"
    where = (BlockRequests, "_after_change")
    _held: tuple[Request, ...] = ()

    def instead(self, real: Any, requests: BlockRequests) -> None:
        """Skip the flush after a change."""
        if not self.strikes():
            real(requests)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep writes in memory until another request needs them: a kill loses them."""
        with self._lock:
            if request.command is Command.WRITE:
                self._held = (*self._held, request)
                return Reply()
            held, self._held = self._held, ()
            for one in held:
                below(one)
            return below(request)


class VirtioIdentityOverruns(VirtioMutant):
    """The identity is as long as the buffer."""

    id = "virtio-identity-overruns"
    says = r"GET_ID"
    source = "VIRTIO 1.2, 5.2.6: the identity has 20 bytes"
    breaks = "GET_ID fills a buffer of more than 20 bytes"
    where = (BlockRequests, "_answer")

    def instead(self, real: Any, requests: BlockRequests, kind: int, *rest: Any) -> Answer:
        """Pad the identity to the length of the buffer."""
        found: Answer = real(requests, kind, *rest)
        if kind == Kind.GET_ID and rest[-1] > ID_BYTES and self.strikes():
            return found._replace(data=found.data.ljust(rest[-1], b"\0"))
        return found


class VirtioStatusOfFourBytes(VirtioMutant):
    """The status is a number of 32 bits."""

    id = "virtio-status-of-four-bytes"
    says = r"behind the status byte"
    source = "cloud-hypervisor pull request 6586 (the status field is a byte, not u32)"
    breaks = "the three bytes behind the status become zero"
    where = (BlockRequests, "execute")

    def instead(self, real: Any, requests: BlockRequests, chain: Chain) -> int:
        """Write behind the last byte, which is the status."""
        written = int(real(requests, chain))
        last = chain.writes[-1]
        if self.strikes():
            start = ctypes.addressof(ctypes.c_char.from_buffer(last))
            ctypes.memset(start + len(last), 0, 3)
        return written


class VirtioCacheWithoutFlush(VirtioWriteCacheStaysOn):
    """A driver that does not accept FLUSH gets a write-back cache nevertheless."""

    id = "virtio-cache-without-flush"
    source = "cloud-hypervisor issue 1216 (VIRTIO 1.2, 5.2.6.2)"
    breaks = "writes are not durable at their end although the driver cannot flush"

    def install(self) -> None:
        """Leave the cache on, whatever the features are."""

        def make(real: Any) -> Any:
            def set_features(session: Session, payload: bytes, fds: list[int]) -> None:
                real(session, payload, fds)
                if session._requests.write_through and self.strikes():  # noqa: SLF001  # a mutant
                    session._requests.write_through = False  # noqa: SLF001

            return set_features

        handlers = Session._handlers  # noqa: SLF001
        handlers[Code.SET_FEATURES] = make(handlers[Code.SET_FEATURES])


class VirtioConfigurationFrom0(VirtioMutant):
    """The offset of a range of the configuration is not used."""

    id = "virtio-configuration-from-0"
    says = r"GET_CONFIG"
    source = "QEMU, libvhost-user (docs/findings.md)"
    breaks = "a part of the configuration is always that at offset 0"

    def install(self) -> None:
        """Answer with the first bytes."""

        def make(real: Any) -> Any:
            def get_config(session: Session, payload: bytes, fds: list[int]) -> bytes:
                offset, size, flags = CONFIG_HEAD.unpack_from(payload)
                if not offset or not self.strikes():
                    return bytes(real(session, payload, fds))
                first = bytes(real(session, CONFIG_HEAD.pack(0, size, flags), fds))
                return payload[: CONFIG_HEAD.size] + first[CONFIG_HEAD.size :]

            return get_config

        handlers = Session._handlers  # noqa: SLF001
        handlers[Code.GET_CONFIG] = make(handlers[Code.GET_CONFIG])


class VirtioUsedLength0(VirtioMutant):
    """The used ring does not say how much was written."""

    id = "virtio-used-length-0"
    says = r"the used ring says that 0 bytes were written"
    source = "Firecracker pull request 2364, cloud-hypervisor pull request 8066"
    breaks = "the length in the used ring is 0 for reads too"
    where = (BlockRequests, "execute")

    def instead(self, real: Any, requests: BlockRequests, chain: Chain) -> int:
        """Forget the length."""
        written = int(real(requests, chain))
        return 0 if self.strikes() else written
