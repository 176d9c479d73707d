"""The result of a handshake."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.settings import Device


class ReplyMode(enum.IntEnum):
    """Kinds of headers and replies in the transmission phase; each extends the one before."""

    SIMPLE = 0
    STRUCTURED = 1
    EXTENDED = 2


class Agreement:
    """The result of a handshake. ``contexts`` are metadata contexts by their id."""

    __slots__ = ("context_export", "contexts", "device", "export", "flags", "mode", "tls")

    def __init__(self, *, tls: bool = False) -> None:
        self.export = ""
        self.device: Device | None = None
        self.mode = ReplyMode.SIMPLE
        self.flags = TransmissionFlag.HAS_FLAGS
        self.contexts: dict[int, str] = {}
        self.context_export = ""
        self.tls = tls

    def enter(self, export: str, device: Device, flags: TransmissionFlag) -> None:
        """Choose an export; forget contexts that were set for another one.

        "Metadata querying": the same name must be used.
        """
        self.export, self.device, self.flags = export, device, flags
        if self.context_export != export:
            self.contexts = {}


def match_contexts(
    queries: Sequence[str], offered: Sequence[str], *, listing: bool
) -> dict[int, str]:
    """Return the contexts that match the queries, by id.

    "Metadata querying": an empty leaf (``base:``, ``qbd:``) is a wildcard when listing, and so is
    an empty list of queries. SET accepts exact names only. Unknown names are ignored.
    """
    numbered = dict(enumerate(offered, start=1))
    if listing and not queries:
        return numbered
    wanted = set(queries)
    return {
        key: name
        for key, name in numbered.items()
        if name in wanted or (listing and name.partition(":")[0] + ":" in wanted)
    }
