"""A second read of a block that fio in a guest found wrong, past the guest.

qemu-img reads the block from the target over a connection of its own. If that returns what fio saw,
the stored data is wrong. If it returns the block of fio for this place, the read of the guest was
wrong. A block for another place, or this one at another place, names a misdirected write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from oracles.damage import Confidence, Content, Damage, Difference, What
from oracles.finding import READ_WAS_WRONG, SECTOR, SHOWN, Finding
from oracles.sector_damage import content_of
from qbdcheck.catalogue.capability_words import IMAGE_FORMATS
from qbdcheck.errors import ProgramError
from qbdcheck.guest.fio_block import block_of
from qbdcheck.guest.fio_dump import Dump
from qbdcheck.guest.fio_result import VerifyFailure
from qbdcheck.guest.guest import GuestDisk
from qbdcheck.programs.blockdev import Blockdev, json_filename, over
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qemu_img import QemuImg

_MOST = 3
"""Blocks that are read again."""
_WITHIN_S = 10.0
_AROUND = 64 << 10
"""Bytes on both sides that are searched for the block that is missing."""
_OFFSET = re.compile(r"^verify: bad header offset (\d+), wanted \d+")
_ZEROES = re.compile(r"^verify: bad magic header 0,")


def findings_of(
    failures: Sequence[VerifyFailure],
    guest_disks: Sequence[GuestDisk],
    programs: Programs,
    directory: Path,
    dumps: Mapping[str, bytes] | None = None,
) -> Iterator[Finding]:
    """Yield findings for each wrong block on one of the disks; the first ones are read again.

    :param directory: for a file with the data of the second read, which is removed.
    :param dumps: contents of fio's dumps, as far as they were fetched, by the name that it printed.
    """
    disks = {disk.path: disk for disk in guest_disks}
    for place, failure in enumerate(failures):
        disk = disks.get(failure.file)
        if disk is None or failure.offset < 0 or not failure.length:
            continue
        again = place < _MOST and _is_readable(disk, failure)
        reader = _Reader(disk, programs, directory) if again else None
        dump = Dump.of(failure, dumps or {})
        compared = list(dump.findings(failure)) if dump is not None else []
        if dump is not None and compared:
            evidence = () if reader is None else (_compared_again(dump, failure, reader),)
            yield from (replace(one, evidence=(*one.evidence, *evidence)) for one in compared)
            continue
        first = _of_fio(failure, dump)
        yield first if reader is None else _looked_at(first, failure, reader)


def _of_fio(failure: VerifyFailure, dump: Dump | None) -> Finding:
    """Return what fio itself says, with the bytes that it read."""
    first = _said(failure)
    if dump is None:
        return first
    return replace(
        first,
        difference=Difference(failure.offset, b"", dump.seen[:SHOWN]),
        sector_bytes=Difference(failure.offset, b"", dump.seen[:SECTOR]),
    )


def _said(failure: VerifyFailure) -> Finding:
    reads_zeroes = bool(_ZEROES.match(failure.what))
    expected = f"a block of fio for offset {failure.offset}"
    if (other := _OFFSET.search(failure.what)) is not None:
        return Finding(
            Damage.MISDIRECTED,
            failure.offset,
            failure.length,
            expected=Content(What.TEXT, text=expected),
            seen=Content(What.TEXT, text=f"a block of fio for offset {other[1]}"),
            request=f"fio in the guest, {failure.file}",
            moved=failure.offset - int(other[1]),
            remark=f"misdirected: fio read a block for offset {other[1]} there",
            confidence=Confidence.LIKELY,
        )
    return Finding(
        Damage.ZEROED if reads_zeroes else Damage.UNKNOWN,
        failure.offset,
        failure.length,
        expected=Content(What.TEXT, text=expected),
        seen=Content(What.ZEROES if reads_zeroes else What.DATA),
        request=f"fio in the guest, {failure.file}",
        remark="" if reads_zeroes else failure.what,
        confidence=Confidence.CERTAIN if reads_zeroes else Confidence.UNKNOWN,
    )


class _Reader:
    """Reads a guest's disk from the host, over a connection of its own."""

    def __init__(self, disk: GuestDisk, programs: Programs, directory: Path) -> None:
        self._disk = disk
        self._programs = programs
        self._directory = directory

    def size(self) -> int:
        """Return the size of the disk in bytes.

        :raise ProgramError: qemu-img cannot open it.
        """
        assert self._disk.blockdev is not None
        img = QemuImg(self._programs, self._directory)
        found = img.json("info", "-U", json_filename(self._disk.blockdev))
        return int(found["virtual-size"])

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the disk.

        :raise ProgramError: qemu-img cannot read there. :raise OSError: as well.
        """
        assert self._disk.blockdev is not None
        copy = self._directory / f"{self._disk.identity}.again"
        block = over("raw", self._disk.blockdev, offset=offset, size=length)
        try:
            QemuImg(self._programs, self._directory)(
                "dd", "-U", f"if={json_filename(block)}", f"of={copy}", f"bs={SECTOR}",
                timeout_s=_WITHIN_S,
            )  # fmt: skip
            return copy.read_bytes()
        finally:
            with suppress(OSError):
                copy.unlink()


def _compared_again(dump: Dump, failure: VerifyFailure, reader: _Reader) -> str:
    """Return what the second read of a block shows whose bytes are known."""
    try:
        data = reader.read(failure.offset, failure.length)
    except (ProgramError, OSError) as error:
        return f"read again: {(str(error).splitlines() or [''])[0]}"
    says = "other bytes than those that fio read"
    if data == dump.seen:
        says = "the same bytes, so the stored data is wrong"
    elif data == dump.wanted:
        says = f"the data is right, {READ_WAS_WRONG}"
    return f"read again over a new connection: {says}"


def _looked_at(first: Finding, failure: VerifyFailure, reader: _Reader) -> Finding:
    """Return the finding with what the second read of its block shows."""
    try:
        data = reader.read(failure.offset, failure.length)
    except (ProgramError, OSError) as error:
        text = (str(error).splitlines() or [""])[0]
        return replace(first, evidence=(f"read again: {text}",))
    found = replace(
        first,
        difference=Difference(failure.offset, b"", data[:SHOWN]),
        sector_bytes=Difference(failure.offset, b"", data[:SECTOR]),
    )
    block = block_of(data)
    line = "read again over a new connection:"
    if block is not None and block.offset == failure.offset:
        if "magic" in failure.what or _OFFSET.search(failure.what):
            told = f"{line} {block}, {READ_WAS_WRONG}"
        else:
            told = f"{line} it begins as {block}; its other bytes were not compared"
        return replace(found, evidence=(told,))
    if block is not None:
        return replace(
            found,
            damage=Damage.MISDIRECTED,
            seen=Content(What.TEXT, text=str(block)),
            moved=failure.offset - block.offset,
            remark=f"misdirected: {block} is at offset {failure.offset}",
            confidence=Confidence.CERTAIN,
            evidence=(f"{line} {block}, so the stored data is wrong",),
        )
    seen = content_of(data)
    what = "zeroes" if seen.what is What.ZEROES else "no block of fio either"
    elsewhere = _elsewhere(failure, reader)
    return replace(
        found,
        seen=seen,
        found_at=elsewhere,
        evidence=(f"{line} {what}, so the stored data is wrong",),
    )


def _elsewhere(failure: VerifyFailure, reader: _Reader) -> int | None:
    """Return where near its place the block is that is missing; None: nowhere."""
    start = max(0, failure.offset - _AROUND)
    end = failure.offset + failure.length + _AROUND
    try:
        data = reader.read(start, min(end, reader.size()) - start)
    except (ProgramError, OSError):  # the second read of the block itself has succeeded
        return None
    for at in range(0, len(data), SECTOR):
        block = block_of(data[at : at + SECTOR])
        if block is not None and block.offset == failure.offset:
            return start + at
    return None


def _is_readable(disk: GuestDisk, failure: VerifyFailure) -> bool:
    return (
        disk.blockdev is not None
        and not _has_format(disk.blockdev)
        and failure.offset % SECTOR == 0
        and failure.length % SECTOR == 0
    )


def _has_format(blockdev: Blockdev) -> bool:
    """Whether its offsets are not those of the volume, or only one program may open it."""
    driver = blockdev.get("driver")
    return driver != "raw" and driver in IMAGE_FORMATS
