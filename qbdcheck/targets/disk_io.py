"""qemu-io on a disk with known contents: writes are stamped, reads are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oracles.damage import Damage
from oracles.finding import Finding, Findings
from oracles.shadow import NotPermitted, Shadow
from oracles.stamps import SECTOR, Data, Identity, as_array, stamp
from qbdcheck.errors import CaseBroken, ProgramError
from qbdcheck.programs.qemu_io import QemuIo
from qbdcheck.targets.second_read import ReadAgain, ReadSame, looked_again

FLUSHING_MODES = frozenset({"writethrough", "directsync"})
"""Cache modes (-t) in which QEMU flushes after every write."""
_PATTERNS = 255


class WrongData(AssertionError):  # noqa: N818  # the verdict on a target
    """A read returned data that is not permitted. ``findings``: what is wrong in each sector."""

    def __init__(self, what: str, findings: Sequence[Finding]) -> None:
        self.findings = Findings(findings, about=what)
        super().__init__(str(self.findings))


def judge(
    shadow: Shadow,
    offset: int,
    data: Data,
    what: str,
    *,
    again: ReadAgain | None = None,
    same: ReadSame | None = None,
) -> None:
    """Compare the data of a read with the shadow. From then on the shadow permits only this data.

    QEMU rounds sizes up to 512 bytes. Data beyond the end of the disk must be zeroes.

    :param again: reads again if the data is wrong: whether the damage is still there, and what
        is around it, tells a wrong read from a lost or misdirected write.
    :param same: as `again`, over the connection that read.
    :raise WrongData: the data is not one of the permitted contents.
    """
    shadow.history.note("read", offset, len(data), text=what)
    seen = as_array(data)
    inside = max(0, min(len(seen), shadow.size - offset))
    if seen[inside:].any():
        remark = f"data beyond the end of {shadow.size} bytes"
        beyond = Finding(Damage.BEYOND_END, shadow.size, len(seen) - inside, remark=remark)
        raise WrongData(what, [beyond])
    data = seen[:inside]
    offset = min(offset, shadow.size)
    try:
        shadow.settle(offset, data)
    except NotPermitted as error:
        findings = error.findings
        if again is not None:
            findings = looked_again(shadow, findings, again, same)
        raise WrongData(what, findings) from None


class DiskIo(QemuIo):
    """A long-lived qemu-io that records its writes in the shadow.

    All offsets and lengths are in bytes.

    :param shadow: the shadow of the disk; None for a file without one.
    :param cache: the cache mode of qemu-io; decides when data is durable.
    :param again: reads what was wrong again, see `judge`.
    :param block: minimum block of the target in bytes.
    """

    def __init__(
        self,
        argv: Sequence[str],
        directory: Path,
        name: str,
        *,
        shadow: Shadow | None,
        cache: str,
        timeout_s: float,
        again: ReadAgain | None = None,
        block: int = 1,
    ) -> None:
        self._block = block
        self._expected = shadow
        self._lane = name
        self._again = again
        self._cache = cache
        self._data_file = directory / f"{name}.data"
        self._pending: list[tuple[int, bytes]] = []
        self._reads_pending = 0
        self._next_pattern = 0
        self._generation = 0
        super().__init__(argv, directory, name, timeout_s)
        self.history = None if shadow is None else shadow.history

    @property
    def _shadow(self) -> Shadow | None:
        """The shadow; what it records next is of this qemu-io."""
        if self._expected is not None:
            self._expected.history.lane = self._lane
        return self._expected

    def close(self) -> None:
        """End qemu-io, as `QemuIo.close`; the life of the volume has the end of its connection."""
        was_open = not self.closed
        super().close()
        if was_open and self._shadow is not None:
            self._shadow.history.note("close")

    # Writes --------------------------------------------------------------------------------------

    def write(
        self, offset: int, length: int, fua: bool = False, pattern: int | None = None
    ) -> None:
        """Write stamped data, or a pattern byte (0 to 255).

        :raise IoFailed: the write failed; from then on its sectors may be old or new.
        """
        flags = " -f" if fua else ""
        if pattern is None and length > 0:
            data = self._stamped(offset, length)
            self._data_file.write_bytes(data)
            command = f"write{flags} -s {self._data_file.name} {offset} {length}"
        else:
            byte = 0xCD if pattern is None else pattern
            data = bytes([byte]) * length
            command = f"write{flags} -P {byte} {offset} {length}"
        self._change(command, offset, length, data, fua)

    def _stamped(self, offset: int, length: int) -> bytes:
        if self._shadow is not None:
            return self._shadow.stamped(offset, length)
        self._generation += 1
        return stamp(offset, length, Identity(0, 0), self._generation).tobytes()

    def _change(self, command: str, offset: int, length: int, data: bytes, fua: bool) -> None:
        """Run a write and record its result in the shadow."""
        shadow = self._shadow
        inside = shadow is not None and offset + length <= shadow.size
        try:
            self.request(command)
        except ProgramError:
            # QEMU refuses a write beyond the end as a whole, so nothing may change.
            if shadow is not None and inside:
                shadow.maybe_write(offset, data)
            raise
        if shadow is None:
            return
        if not inside:
            text = f"a write beyond the end of {shadow.size} bytes succeeded: {command}"
            raise AssertionError(text)
        if self._pending:
            self._pending.append((offset, data))
        else:
            shadow.write(offset, data, fua=fua)
            self._flush_with_the_write()

    def _flush_with_the_write(self) -> None:
        if self._shadow is not None and self._cache in FLUSHING_MODES:
            self._shadow.flush()

    def write_zeroes(
        self,
        offset: int,
        length: int,
        unmap: bool = False,
        no_fallback: bool = False,
        fua: bool = False,
    ) -> None:
        """Write zeroes. ``no_fallback``: fail instead of writing zeroes as data.

        :raise IoFailed: the request failed; from then on its sectors may be old or zero.
        """
        flags = "z" + "u" * unmap + "n" * no_fallback + "f" * fua
        try:
            self.request(f"write -{flags} {offset} {length}")
        except ProgramError:
            if self._shadow is not None and offset + length <= self._shadow.size:
                self._shadow.zero(offset, length, maybe=True)
            raise
        if self._shadow is not None:
            self._shadow.zero(offset, length, fua=fua)
            self._flush_with_the_write()

    def discard(self, offset: int, length: int) -> None:
        """Discard whole minimum blocks. From then on they may be unchanged or zero.

        QEMU reads and writes around a write that is not aligned. It cannot do so for a discard, and
        up to version 9.0 it reports the EINVAL of the server (block/io.c, bdrv_co_pdiscard).

        :raise IoFailed: the request failed.
        """
        if self._block > SECTOR:
            end = -(-(offset + length) // self._block) * self._block
            if self._shadow is not None and offset + length <= self._shadow.size:
                end = min(end, self._shadow.size)
            offset = offset // self._block * self._block
            length = end - offset
        try:
            self.request(f"discard {offset} {length}")
        finally:
            if self._shadow is not None and offset + length <= self._shadow.size:
                self._shadow.discard(offset, length)

    def flush(self) -> None:
        """Flush. Only `close` reports a failure (see there)."""
        super().flush()
        if self._shadow is not None and self._cache != "unsafe":
            self._shadow.flush()

    # Reads ---------------------------------------------------------------------------------------

    def read(self, offset: int, length: int) -> bytes:
        """Read, compare with the shadow, and return the bytes.

        :raise IoFailed: the read failed.
        :raise WrongData: the data is not permitted there.
        """
        report = self.request(f"read -v {offset} {length}")
        if len(report.data) != length:
            raise CaseBroken(f"qemu-io printed {len(report.data)} of {length} bytes read")
        if self._shadow is not None and not self._overlaps_pending(offset, length):
            what = f"read {length} bytes at {offset}"
            same = None if self._pending else self._read_same
            judge(self._shadow, offset, report.data, what, again=self._again, same=same)
        return report.data

    def _read_same(self, offset: int, length: int) -> bytes:
        return self.request(f"read -v {offset} {length}").data

    def _overlaps_pending(self, offset: int, length: int) -> bool:
        return any(
            start < offset + length and offset < start + len(data) for start, data in self._pending
        )

    # Concurrent requests -------------------------------------------------------------------------

    def aio_write(self, offset: int, length: int, pattern: int | None = None) -> None:
        """Start a write of a pattern byte, by default a new one each time. `drain` waits for it.

        There are no stamps, because aio_write of qemu-io cannot take data from a file.
        """
        if pattern is None:
            pattern = self._next_pattern % _PATTERNS + 1
            self._next_pattern += 1
        self._pending.append((offset, bytes([pattern]) * length))
        try:
            self.submit(f"aio_write -P {pattern} {offset} {length}")
        except ProgramError:
            self._pending.pop()
            raise

    def aio_read(self, offset: int, length: int) -> None:
        """Start a read. `drain` waits for it and compares the data."""
        self.submit(f"aio_read -v {offset} {length}")
        self._reads_pending += 1

    def drain(self) -> list[tuple[int, bytes]]:
        """Wait for all requests in flight. Return (offset, data) of each read.

        :raise IoFailed: a request failed; from then on all written sectors may be old or new.
        :raise WrongData: the data of a read is not permitted there.
        """
        try:
            reports = self.drain_reports()
        except ProgramError:
            self._settle_pending(failed=True)
            raise
        errors = [report.error for report in reports if report.error]
        reads = [(report.offset, report.data) for report in reports if report.verb == "read"]
        self._judge_reads(reads)
        self._settle_pending(failed=bool(errors))
        expected, self._reads_pending = self._reads_pending, 0
        if errors:
            self._fail("aio_flush", errors[0], "\n".join(errors))
        if len(reads) != expected:
            raise CaseBroken(f"{expected} reads were started, {len(reads)} ended")
        return reads

    def _judge_reads(self, reads: Sequence[tuple[int, bytes]]) -> None:
        """Compare the reads that overlap with no concurrent write."""
        for offset, data in reads:
            if self._shadow is not None and not self._overlaps_pending(offset, len(data)):
                what = f"aio_read {len(data)} bytes at {offset}"
                judge(self._shadow, offset, data, what, again=self._again)

    def _settle_pending(self, *, failed: bool) -> None:
        pending, self._pending = self._pending, []
        if self._shadow is None or not pending:
            return
        if failed:
            for offset, data in pending:
                if offset + len(data) <= self._shadow.size:
                    self._shadow.maybe_write(offset, data)
        else:
            self._shadow.concurrent(pending)
            self._flush_with_the_write()
