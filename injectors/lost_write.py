"""``action: drop``: a write, write-zeroes or discard is acknowledged and not carried out.

    - {event: write_aio, action: drop, count: 3}

The sectors keep their old data. For flushes, see ``lie``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from blockio.layers import Reply
from injectors.rules.events import IoType
from injectors.rules.fault import CHANGING, Call, Fault


@dataclass(frozen=True)
class LostWrite(Fault):
    """Acknowledge a change, and do nothing."""

    action: ClassVar[str] = "drop"
    hurts: ClassVar[frozenset[IoType]] = CHANGING

    def describe(self) -> str:
        """Describe the fault."""
        return "is acknowledged, and not carried out"

    def inject(self, call: Call) -> Reply:
        """Report success."""
        del call
        return Reply()
