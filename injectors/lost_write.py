"""``action: drop``: a write, write-zeroes or discard is acknowledged and not done.

    - {event: write_aio, action: drop, count: 3}

The sectors keep what they had. For flushes, see ``lie``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from blockio.layers import Reply
from injectors.rules.events import IoType
from injectors.rules.fault import CHANGING, Call, Fault


@dataclass(frozen=True)
class LostWrite(Fault):
    """Acknowledge and do nothing."""

    action: ClassVar[str] = "drop"
    hurts: ClassVar[frozenset[IoType]] = CHANGING

    def in_words(self) -> str:
        """Say what happens."""
        return "is acknowledged, and not done"

    def inject(self, call: Call) -> Reply:
        """Say that all is well."""
        del call
        return Reply()
