"""QEMU's own comparisons of two disks: block/blkverify.c, and block/quorum.c with blkverify=on.

Both end the process at the first difference, with one line on stderr.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oracles.workload import Batch, Kind, Request
from qbdcheck.errors import ProgramError
from qbdcheck.programs.blockdev import Blockdev, node, over
from qbdcheck.programs.qemu_io import IoFailed, QemuIo

_LINE = re.compile(
    r"(?:blkverify: (?P<verb>\w+) |quorum: )offset=(?P<offset>\d+) bytes=(?P<length>\d+) "
    r"(?P<what>contents mismatch at offset (?P<at>-?\d+)|return value mismatch \S+ != \S+)"
)
_PATTERNS = 255


@dataclass(frozen=True)
class Verdict:
    """The outcome of QEMU's comparison.

    ``what`` is ``""`` (no mismatch), ``contents``, ``return value``, ``died`` or ``error`` (QEMU
    does not open the disk, or a request failed). ``at`` is the first byte of a mismatch of
    contents, -1 otherwise. ``text`` is QEMU's message. ``requests`` is the number of requests that
    were answered before.
    """

    what: str
    at: int = -1
    text: str = ""
    requests: int = 0

    def must_be(
        self, what: str, subject: str, *, at: int | None = None, requests: int | None = None
    ) -> None:
        """Raise AssertionError unless the comparison ended like this.

        :param subject: what was compared, for the message. :param at: None: any.
            :param requests: None: any.
        """
        seen = (self.what, self.at, self.requests)
        wanted = (
            what,
            self.at if at is None else at,
            self.requests if requests is None else requests,
        )
        if seen != wanted:
            raise AssertionError(
                f"{subject}: ended {wanted[0] or 'clean'!r} at byte {wanted[1]} after {wanted[2]} "
                f"requests expected; seen {seen[0] or 'clean'!r} at byte {seen[1]} after {seen[2]} "
                f"requests: {self.text}"
            )


def blkverify_node(raw: Blockdev, test: Blockdev) -> Blockdev:
    """Return blkverify of two disks, below a raw node that accepts requests of any alignment."""
    return over("raw", node("blkverify", None, raw=raw, test=test))


def quorum_node(raw: Blockdev, test: Blockdev) -> Blockdev:
    """Return a quorum of two disks with blkverify=on (exactly two, and both must agree)."""
    children = [raw, test]
    return over("raw", node("quorum", None, blkverify=True, vote_threshold=2, children=children))


DRIVERS: dict[str, Callable[[Blockdev, Blockdev], Blockdev]] = {
    "blkverify": blkverify_node,
    "quorum": quorum_node,
}


def verdict_of(open_io: Callable[[], QemuIo], batches: Sequence[Batch]) -> Verdict:
    """Send a workload to a comparison of QEMU, one request at a time; return the verdict."""
    done = 0
    try:
        io = open_io()
    except ProgramError as error:
        return Verdict("error", text=str(error))
    try:
        for request in (request for batch in batches for request in batch):
            _ask(io, request)
            done += 1
        io.close()
    except IoFailed as error:
        return Verdict("error", text=error.reason, requests=done)
    except ProgramError as error:
        return _died(error, done)
    finally:
        io.abandon()
    return Verdict("", requests=done)


def _ask(io: QemuIo, request: Request) -> None:
    place = f"{request.offset} {request.length}"
    fua = "f" * request.fua
    match request.kind:
        case Kind.READ:
            io.request(f"read {place}")
        case Kind.WRITE:
            io.request(f"write {'-f ' * request.fua}-P {request.number % _PATTERNS + 1} {place}")
        case Kind.ZERO:
            io.request(f"write -z{'u' * (not request.no_hole)}{fua} {place}")
        case Kind.DISCARD:
            io.request(f"discard {place}")
        case Kind.FLUSH:
            io.flush()
        case _:
            raise ValueError(f"qemu-io has no command for this request: {request}")


def _died(error: ProgramError, done: int) -> Verdict:
    found = _LINE.search(error.stdout)
    if found is None:
        return Verdict("died", text=str(error), requests=done)
    if found["at"] is None:
        return Verdict("return value", text=found[0], requests=done)
    return Verdict("contents", int(found["at"]), found[0], done)
