"""Requests of a vhost-user-blk server (docs/bugs.md).

These bugs are in code that NBD never reaches, so their target is ``reference-vhost-user``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from blockio.layers import Command
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant
from mutants.patching import replace
from reference_backend.vhost_user import block_requests
from reference_backend.vhost_user.block_requests import Answer, BlockRequests
from reference_backend.vhost_user.device_ring import Chain
from reference_backend.vhost_user.requests import ID_BYTES, RANGE, Kind, Status

_SEGMENTS = 8
_TABLE = 8
_USED_TWICE = 50


class VirtioMutant(Mutant):
    """A bug of the vhost-user server: it needs a target that has one."""

    takes = ALWAYS
    base = "reference-vhost-user"


class VirtioStatusInLastOfOne(VirtioMutant):
    """The status is expected in a descriptor of its own."""

    id = "virtio-status-in-last-of-one"
    shows = ("altered", "unknown", "misplaced data")
    says = r"UNWRITTEN|status 0x"
    source = "class known from devices that assume a layout (VIRTIO 1.2, Message Framing)"
    breaks = "where data and status share a descriptor, the status overwrites the first data"

    def install(self) -> None:
        """Write the status at the beginning of the last descriptor."""

        def make(real: Any) -> Any:
            def scatter(views: Sequence[memoryview], start: int, data: bytes) -> None:
                last = sum(map(len, views)) - 1
                if start == last and len(views[-1]) > 1 and self.strikes():
                    start -= len(views[-1]) - 1
                real(views, start, data)

            return scatter

        replace(block_requests, "_scatter", make)


class VirtioSegmentLost(VirtioMutant):
    """An array of segments has too few places."""

    id = "virtio-segment-lost"
    shows = ("lost write", "misplaced data", "unknown", "altered")
    source = "class known from arrays of segments of a fixed size"
    breaks = "what a read of more than eight segments has for the last one is not written"

    def install(self) -> None:
        """Leave out the last segment of data."""

        def make(real: Any) -> Any:
            def execute(requests: BlockRequests, chain: Chain) -> int:
                if len(chain.writes) <= _SEGMENTS or not self.strikes():
                    return int(real(requests, chain))
                last = chain.writes[-2]
                kept = bytes(last)
                written = int(real(requests, chain))
                last[:] = kept
                return written

            return execute

        replace(BlockRequests, "execute", make)


class VirtioRangeCheckWraps(VirtioMutant):
    """The offset is computed in 64 bits before it is checked."""

    id = "virtio-range-check-wraps"
    shows = ("lost write", "misplaced data")
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from range checks (flexnbd-c 0.5.0, findings.md)"
    breaks = "sector 2^55 and those after it are taken for the first ones"

    def install(self) -> None:
        """Cut the sector to what 64 bits of an offset hold."""

        def make(real: Any) -> Any:
            def answer(
                requests: BlockRequests, kind: int, sector: int, payload: bytes, room: int
            ) -> Answer:
                if sector >> 55 and self.strikes():
                    sector &= (1 << 55) - 1
                found: Answer = real(requests, kind, sector, payload, room)
                return found

            return answer

        replace(BlockRequests, "_answer", make)


class VirtioUnknownTypeOk(VirtioMutant):
    """An unknown request does nothing, successfully."""

    id = "virtio-unknown-type-ok"
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from default branches without a status (VIRTIO 1.2, 5.2.6)"
    breaks = "a request of an unknown type succeeds"

    def install(self) -> None:
        """Answer OK where the type is unknown."""

        def make(real: Any) -> Any:
            def answer(
                requests: BlockRequests, kind: int, sector: int, payload: bytes, room: int
            ) -> Answer:
                found: Answer = real(requests, kind, sector, payload, room)
                unknown = kind not in set(Kind)
                return Answer(Status.OK) if unknown and self.strikes() else found

            return answer

        replace(BlockRequests, "_answer", make)


class VirtioUnknownFlagOk(VirtioMutant):
    """Flags of a range are not checked."""

    id = "virtio-unknown-flag-ok"
    shows = ("lost write", "zeroed")
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from flags that nobody reads (VIRTIO 1.2, 5.2.6)"
    breaks = "a discard with UNMAP, and ranges with unknown flags, are carried out"

    def install(self) -> None:
        """Clear the flags."""

        def make(real: Any) -> Any:
            def ranges(requests: BlockRequests, payload: bytes, *rest: Any, **more: Any) -> Answer:
                if not len(payload) % RANGE.size and self.strikes():
                    parts = RANGE.iter_unpack(payload)
                    payload = b"".join(
                        RANGE.pack(at, count, flags & 0) for at, count, flags in parts
                    )
                found: Answer = real(requests, payload, *rest, **more)
                return found

            return ranges

        replace(BlockRequests, "_ranges", make)


class VirtioFirstRangeOnly(VirtioMutant):
    """Only one range was expected."""

    id = "virtio-first-range-only"
    shows = ("missing zeroes", "stale", "never written")
    source = "class known from devices that read one range"
    breaks = "of a request with several ranges, only the first one is zeroed"

    def install(self) -> None:
        """Cut the table."""

        def make(real: Any) -> Any:
            def ranges(requests: BlockRequests, payload: bytes, *rest: Any, **more: Any) -> Answer:
                if len(payload) > RANGE.size and self.strikes():
                    payload = payload[: RANGE.size]
                found: Answer = real(requests, payload, *rest, **more)
                return found

            return ranges

        replace(BlockRequests, "_ranges", make)


class VirtioRangesMerged(VirtioMutant):
    """Ranges are merged although there is something between them."""

    id = "virtio-ranges-merged"
    shows = ("zeroed", "lost write")
    source = "class known from the merging of discards"
    breaks = "several ranges of one request become one, with all that lies between them"

    def install(self) -> None:
        """Build one range from the first to the last sector."""

        def make(real: Any) -> Any:
            def ranges(requests: BlockRequests, payload: bytes, *rest: Any, **more: Any) -> Answer:
                if len(payload) > RANGE.size and not len(payload) % RANGE.size and self.strikes():
                    parts = list(RANGE.iter_unpack(payload))
                    first = min(at for at, _, _ in parts)
                    end = max(at + count for at, count, _ in parts)
                    payload = RANGE.pack(first, end - first, parts[0][2])
                found: Answer = real(requests, payload, *rest, **more)
                return found

            return ranges

        replace(BlockRequests, "_ranges", make)


class VirtioWritesPastSegment(VirtioMutant):
    """A copy has a length that is rounded up."""

    id = "virtio-writes-past-segment"
    says = r"outside of its segments"
    source = "class known from bounce buffers"
    breaks = "each segment of a read is followed by eight bytes that do not belong to it"

    def install(self) -> None:
        """Write behind each segment of at least a sector."""

        def make(real: Any) -> Any:
            def execute(requests: BlockRequests, chain: Chain) -> int:
                written = int(real(requests, chain))
                for view in chain.writes:
                    if len(view) >= 512 and self.strikes():
                        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
                        ctypes.memset(start + len(view), 0, 8)
                return written

            return execute

        replace(BlockRequests, "execute", make)


class VirtioReadOnlyZeroes(VirtioMutant):
    """Only writes are checked against read-only."""

    id = "virtio-read-only-zeroes"
    shows = ("zeroed", "lost write")
    says = r"VIRTIO_BLK_S_OK"
    source = "class known from read-only checks of each command (variant of read-only-not-enforced)"
    breaks = "a read-only server executes write zeroes"

    def install(self) -> None:
        """Let write zeroes pass as if they changed nothing."""

        def make(real: Any) -> Any:
            def ranges(
                requests: BlockRequests, payload: bytes, command: Command, **more: Any
            ) -> Any:
                device = requests._device  # noqa: SLF001  # a mutant changes code
                if command is Command.WRITE_ZEROES and device.read_only and self.strikes():
                    return Answer(Status.OK)
                return real(requests, payload, command, **more)

            return ranges

        replace(BlockRequests, "_ranges", make)


class VirtioWriteCacheStaysOn(VirtioMutant):
    """The field `writeback` is stored, and not used."""

    id = "virtio-write-cache-stays-on"
    shows = ("lost write",)
    source = "class known from CONFIG_WCE (VIRTIO 1.2, 5.2.5)"
    breaks = "writes are not durable at their end although the driver has switched the cache off"

    def install(self) -> None:
        """Skip the flush after a change."""

        def make(real: Any) -> Any:
            def after(requests: BlockRequests) -> None:
                if not self.strikes():
                    real(requests)

            return after

        replace(BlockRequests, "_after_change", make)


class VirtioIdentityOverruns(VirtioMutant):
    """The identity is as long as the buffer."""

    id = "virtio-identity-overruns"
    says = r"GET_ID"
    source = "VIRTIO 1.2, 5.2.6: the identity has 20 bytes"
    breaks = "GET_ID fills a buffer of more than 20 bytes"

    def install(self) -> None:
        """Pad the identity to the length of the buffer."""

        def make(real: Any) -> Any:
            def answer(
                requests: BlockRequests, kind: int, sector: int, payload: bytes, room: int
            ) -> Answer:
                found: Answer = real(requests, kind, sector, payload, room)
                if kind == Kind.GET_ID and room > ID_BYTES and self.strikes():
                    return found._replace(data=found.data.ljust(room, b"\0"))
                return found

            return answer

        replace(BlockRequests, "_answer", make)
