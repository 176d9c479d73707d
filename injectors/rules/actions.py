"""All kinds of fault by the value of ``action`` in a rules file."""

from __future__ import annotations

from injectors.bit_flip import BitFlip
from injectors.delay import Delay
from injectors.disconnect import Disconnect
from injectors.duplicate import Duplicate
from injectors.error import Error
from injectors.garbage import Garbage
from injectors.hang import Hang
from injectors.lost_write import LostWrite
from injectors.lying_flush import LyingFlush
from injectors.misdirected_write import MisdirectedWrite
from injectors.reorder import Reorder
from injectors.rules.fault import Fault
from injectors.short_reply import ShortReply
from injectors.stale_read import StaleRead
from injectors.torn_write import TornWrite

ACTIONS: dict[str, type[Fault]] = {
    kind.action: kind
    for kind in (
        Error, Delay, Hang, BitFlip, TornWrite, ShortReply, MisdirectedWrite, LostWrite, LyingFlush,
        StaleRead, Reorder, Duplicate, Disconnect, Garbage,
    )
}  # fmt: skip
