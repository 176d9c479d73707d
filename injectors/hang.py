"""``action: hang``: a request is held until ``rule-resume``, or until its rule is removed.

    - {event: flush_to_disk, action: hang, once: true}

``when: before`` (the default): the request is carried out when it is resumed.
``when: after``: the request is carried out at once, and its reply is held.
``errno``: the request fails with this errno when it is resumed; 0 (the default) answers normally.

Other requests of the same connection continue. If the client leaves, the held request is dropped:
it must not overwrite what that client writes later on another connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from blockio.layers import Reply
from injectors.rules.fault import NO_ERROR, Call, Errno, Fault, failing


@dataclass(frozen=True)
class Hang(Fault):
    """Hold a request until it is resumed."""

    action: ClassVar[str] = "hang"
    waits: ClassVar[bool] = True
    when: Literal["before", "after"] = "before"
    errno: Errno = NO_ERROR

    def describe(self) -> str:
        """Describe the fault."""
        what = "is" if self.when == "before" else "is carried out, and its reply is"
        return f"{what} held until rule-resume{failing(self.errno)}"

    def inject(self, call: Call) -> Reply:
        """Hold the request, and answer."""
        if self.when == "before":
            call.hold()
            return Reply(error=self.errno) if self.errno else call.below(call.request)
        reply = call.below(call.request)
        call.hold()
        return Reply(error=self.errno) if self.errno else reply
