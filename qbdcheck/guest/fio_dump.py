"""A block that fio found wrong, byte by byte: what fio read, and what it had written there.

With verify_dump=1 fio dumps both if the data of a block is wrong, and only what it read if the
header of a block is wrong (verify.c, dump_verify_buffers and verify_header). A header of which one
bit is flipped is repaired by its checksum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Self

from oracles.damage import Confidence, Content, Damage, Difference, What
from oracles.diagnosis import diagnose
from oracles.finding import SECTOR, SHOWN, Finding
from qbdcheck.guest.fio_block import block_of, header_of, repaired
from qbdcheck.guest.fio_result import VerifyFailure

_OTHER_WRITE = re.compile(r"^verify: bad header (rand_seed|numberio \d+, wanted (?P<number>\d+))")
"""fio counts its writes in 16 bits before version 3.41, so the larger number may be the older."""
_READ = (".received", ".hdr_fail")
_WRITTEN = ".expected"


@dataclass(frozen=True)
class Dump:
    """The bytes that fio read, and those that it had written; ``wanted`` is empty if not known."""

    seen: bytes
    wanted: bytes = b""

    @classmethod
    def of(cls, failure: VerifyFailure, files: Mapping[str, bytes]) -> Self | None:
        """Return the dump of a failure; None without one.

        :param files: contents of the dumps by the name that fio printed.
        """
        parts = {PurePosixPath(name).suffix: files[name] for name in failure.dumps if name in files}
        seen = next((parts[suffix] for suffix in _READ if suffix in parts), b"")
        if not seen or len(seen) != failure.length:
            return None
        wanted = parts.get(_WRITTEN, b"")
        if len(wanted) == len(seen):
            # fio makes the expected block anew, with the time and the number of the read.
            header = header_of(seen)
            return cls(seen, header + wanted[len(header) :])
        return cls(seen, repaired(seen) if not header_of(seen) and any(seen) else b"")

    def findings(self, failure: VerifyFailure) -> Iterator[Finding]:
        """Yield what is wrong in each of its sectors; nothing if the bytes do not show it."""
        if self.wanted:
            for one in diagnose(self.seen, failure.offset, self.wanted):
                yield self._of_fio(one, failure)
            return
        if (old := self._older(failure)) is not None:
            yield old

    def _older(self, failure: VerifyFailure) -> Finding | None:
        """Return that another write to the same place is there; None if it is something else."""
        block = block_of(header_of(self.seen))
        told = _OTHER_WRITE.match(failure.what)
        if block is None or block.offset != failure.offset or told is None:
            return None
        number = told["number"]
        wanted = f"write {number} of fio" if number else "its last write"
        is_newer = number is not None and block.number > int(number)
        return Finding(
            Damage.OTHER_WRITE if is_newer else Damage.STALE,
            failure.offset,
            failure.length,
            expected=Content(What.TEXT, text=wanted),
            seen=Content(What.TEXT, text=str(block)),
            difference=Difference(failure.offset, b"", self.seen[:SHOWN]),
            sector_bytes=Difference(failure.offset, b"", self.seen[:SECTOR]),
            request=f"fio in the guest, {failure.file}",
            remark=f"write {block.number} of fio to this place is there, and {wanted} is expected",
            confidence=Confidence.LIKELY,
        )

    def _of_fio(self, one: Finding, failure: VerifyFailure) -> Finding:
        """Return the finding of a sector with the names that fio gives, and with its bytes."""
        start = max(one.first_difference // SECTOR * SECTOR, failure.offset)
        place = slice(start - failure.offset, start - failure.offset + SECTOR)
        block = block_of(self.wanted)
        text = str(block) if block else f"what fio wrote at offset {failure.offset}"
        expected = one.expected
        if expected is not None and expected.what is What.DATA:
            expected = Content(What.TEXT, text=text)
        return replace(
            one,
            expected=expected,
            sector_bytes=Difference(start, self.wanted[place], self.seen[place]),
            request=f"fio in the guest, {failure.file}",
        )
