"""A second read of a block that fio in a guest found wrong, past the guest.

qemu-img reads the block from the target over a connection of its own. If that returns what fio saw,
the stored data is wrong. If it returns a block of fio, the read of the guest was wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from oracles.damage import Content, Damage, What
from oracles.finding import READ_WAS_WRONG, SECTOR, Finding
from oracles.sector_damage import content_of
from qbdcheck.catalogue.capability_words import IMAGE_FORMATS
from qbdcheck.errors import ProgramError
from qbdcheck.guest.fio_result import VerifyFailure
from qbdcheck.guest.guest import GuestDisk
from qbdcheck.programs.blockdev import Blockdev, json_filename, over
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qemu_img import QemuImg

_MOST = 3
"""Blocks that are read again."""
_WITHIN_S = 10.0
_ZEROES = re.compile(r"^verify: bad magic header 0,")
_MAGIC = (0xACCA).to_bytes(2, "little")
"""Begins each block that fio verifies (``verify_header`` of fio's verify.h)."""
_FIO = Content(What.TEXT, text="a block of fio")


def findings_of(
    failures: Sequence[VerifyFailure],
    guest_disks: Sequence[GuestDisk],
    programs: Programs,
    directory: Path,
) -> Iterator[Finding]:
    """Yield a finding for each wrong block on one of the disks; the first ones are read again.

    :param directory: for a file with the data of the second read, which is removed.
    """
    disks = {disk.path: disk for disk in guest_disks}
    for place, failure in enumerate(failures):
        disk = disks.get(failure.file)
        if disk is None or failure.offset < 0 or not failure.length:
            continue
        reads_zeroes = bool(_ZEROES.match(failure.what))
        yield Finding(
            Damage.ZEROED if reads_zeroes else Damage.UNKNOWN,
            failure.offset,
            failure.length,
            expected=_FIO,
            seen=Content(What.ZEROES if reads_zeroes else What.DATA),
            request=f"fio in the guest, {failure.file}",
            remark="" if reads_zeroes else failure.what,
            evidence=_again(disk, failure, programs, directory) if place < _MOST else (),
        )


def _again(
    disk: GuestDisk, failure: VerifyFailure, programs: Programs, directory: Path
) -> tuple[str, ...]:
    """Return what the second read shows, as a line; () where the block cannot be read again."""
    if (
        disk.blockdev is None
        or _has_format(disk.blockdev)
        or failure.offset % SECTOR
        or failure.length % SECTOR
    ):
        return ()
    copy = directory / f"{disk.identity}.again"
    block = over("raw", disk.blockdev, offset=failure.offset, size=failure.length)
    try:
        QemuImg(programs, directory)(
            "dd", "-U", f"if={json_filename(block)}", f"of={copy}", f"bs={SECTOR}",
            timeout_s=_WITHIN_S,
        )  # fmt: skip
        data = copy.read_bytes()
    except (ProgramError, OSError) as error:
        return (f"read again: {(str(error).splitlines() or [''])[0]}",)
    finally:
        with suppress(OSError):
            copy.unlink()
    return (f"read again over a new connection: {_says(data, failure)}",)


def _says(data: bytes, failure: VerifyFailure) -> str:
    seen = content_of(data)
    if data.startswith(_MAGIC):
        if "magic" in failure.what:
            return f"a block of fio, {READ_WAS_WRONG}"
        return "it begins as a block of fio; its other bytes were not compared"
    what = "zeroes" if seen.what is What.ZEROES else "no block of fio either"
    return f"{what}, so the stored data is wrong"


def _has_format(blockdev: Blockdev) -> bool:
    """Whether its offsets are not those of the volume, or only one program may open it."""
    driver = blockdev.get("driver")
    return driver != "raw" and driver in IMAGE_FORMATS
