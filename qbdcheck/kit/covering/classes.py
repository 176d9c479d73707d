"""The dimensions of a request in its surroundings, and what of them a target can do.

A row of the covering array has a class of each dimension: what was in the range before (`GROUND`,
`EARLIER` at a `RELATION`), the request itself (`COMMAND`, `FUA`, size, offset, `CONTENTS`,
`CONNECTION`, `DEPTH`), and what comes after it (`AFTERWARDS`, `READER`, a course of events).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qbdcheck.kit.covering.places import LARGE, LARGE_AT
from qbdcheck.kit.nbd_io import NbdIo
from reference_backend.nbd.constants import TransmissionFlag

COMMAND = (
    "write",
    "zero",
    "zero NO_HOLE",
    "zero FAST_ZERO",
    "discard",
    "read",
    "cache",
    "status",
)
CHANGES = COMMAND[:5]
"""Commands that change contents."""
FUA = ("", "FUA")
GROUND = ("data", "never written", "zeroed", "discarded", "equal blocks")
"""What the surroundings hold before the earlier request."""
EARLIER = (
    "nothing",
    "written",
    "written, flushed",
    "written with FUA",
    "written in pieces",
    "written twice",
    "zeroed",
    "zeroed, NO_HOLE",
    "discarded",
    "zeroed, discarded",
    "discarded twice",
    "written, discarded",
    "read",
    "read up to it",
    "hinted",
)
CONTENTS = (
    "stamps",
    "zeroes",
    "equal blocks",
    "as there",
    "one byte differs",
    "as elsewhere",
    "resembling",
    "ending in zeroes",
    "runs",
    "words that cancel",
    "a magic number",
    "a word repeated",
)
"""What a write contains."""
CONNECTION = ("the same", "another", "a new one")
"""Who sends the request, and who reads it, as seen from the sender before."""
DEPTH = ("alone", "with neighbours", "with many")
"""What else is in flight; none of it overlaps."""
ELSEWHERE = "its contents elsewhere"
STREAM = "a stream over it"
"""Adjacent writes from far before the place to its end: servers treat streams in another way. It is
for large volumes only, because a stream replaces MiBs around the place."""
AFTERWARDS = (
    "nothing",
    "the same again",
    "the same again with FUA",
    "a small write inside",
    "zeroes inside",
    "a discard inside",
    "all written",
    "all zeroed",
    "all discarded",
    "the next one",
    ELSEWHERE,
    "a hint",
)
"""A further request after the main one."""
ERRNO = ("EIO", "ENOSPC", "ENOMEM", "ETIMEDOUT")
"""With what the storage fails a request once."""

_NEEDS: Mapping[TransmissionFlag, tuple[str, ...]] = {
    TransmissionFlag.SEND_WRITE_ZEROES: (
        *("zero", "zero NO_HOLE", "zero FAST_ZERO", "zeroes inside", "all zeroed"),
        *("zeroed", "zeroed, NO_HOLE", "zeroed, discarded"),
    ),
    TransmissionFlag.SEND_TRIM: (
        *("discard", "a discard inside", "all discarded"),
        *("discarded", "zeroed, discarded", "discarded twice", "written, discarded"),
    ),
    TransmissionFlag.SEND_FAST_ZERO: ("zero FAST_ZERO",),
    TransmissionFlag.SEND_FUA: ("FUA", "written with FUA", "the same again with FUA"),
    TransmissionFlag.SEND_CACHE: ("cache", "hinted", "a hint"),
    TransmissionFlag.SEND_FLUSH: ("written, flushed",),
}
"""Classes that need a command or a flag of the export."""


@dataclass(frozen=True)
class Offer:
    """What a target can do: the transmission flags of its export, and more."""

    flags: int
    has_status: bool
    is_coherent: bool
    """All connections see the same data (the transmission flag CAN_MULTI_CONN)."""

    @classmethod
    def of(cls, io: NbdIo, *, is_coherent: bool) -> Offer:
        """Return what an export offers."""
        has_status = "base:allocation" in io.client.contexts.values()
        return cls(io.client.flags, has_status, is_coherent)

    def of_classes(self, dimensions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return the dimensions with those of their classes that the target can do."""
        lacking = {one for flag, names in _NEEDS.items() if not self.flags & flag for one in names}
        if not self.has_status:
            lacking.add("status")
        if not self.is_coherent:
            lacking.add("another")
        return {
            name: [one for one in classes if one not in lacking] or list(classes[:1])
            for name, classes in dimensions.items()
        }


_ALONE = ("zero FAST_ZERO", "cache", "status")
_CLASHES: Mapping[tuple[str, str], Callable[[str, str], bool]] = {
    ("command", "fua"): lambda command, fua: bool(fua) and command not in CHANGES,
    ("command", "contents"): lambda command, data: command != "write" and data != "stamps",
    ("command", "depth"): lambda command, depth: depth != "alone" and command in _ALONE,
    ("command", "afterwards"): lambda command, after: command != "write" and after == ELSEWHERE,
    ("earlier", "relation"): lambda earlier, where: earlier == "nothing" and where != "same",
    ("command", "size"): lambda command, size: command == "write" and size == "over 64M",
    ("size", "offset"): lambda size, at: size in LARGE and at not in LARGE_AT,
    ("depth", "size"): lambda depth, size: depth != "alone" and size in LARGE,
}


def clash(one: str, value: str, other: str, beside: str) -> bool:
    """Return whether two classes cannot be in one row (see `qbdcheck.kit.covering.array.Clash`)."""
    rule = _CLASHES.get((one, other))
    return rule is not None and rule(value, beside)
