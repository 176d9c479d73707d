"""``action: delay``: a request is delayed.

    - {event: write_aio, action: delay, milliseconds: 200, after: 10}
    - {event: read_aio, action: delay, milliseconds: 5, jitter: 20, errno: EIO}

``milliseconds``: the least delay, 100 by default.
``jitter``: the largest additional delay in milliseconds, drawn from the seed; 0 by default.
``when: before`` (the default): the request waits, and is then carried out.
``when: after``: the request is carried out at once, and its reply waits.
``errno``: the request then fails with this errno; 0 (the default) answers normally. With
``when: before``, a request that fails is not carried out.

Removing the rule ends the delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from blockio.layers import Reply
from injectors.rules.fault import NO_ERROR, Call, Errno, Fault, failing

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Delay(Fault):
    """Delay a request by ``milliseconds``, and up to ``jitter`` more."""

    action: ClassVar[str] = "delay"
    waits: ClassVar[bool] = True
    milliseconds: float = 100
    jitter: float = 0
    when: Literal["before", "after"] = "before"
    errno: Errno = NO_ERROR

    def __post_init__(self) -> None:
        if not (0 <= self.milliseconds <= DAY_MS and 0 <= self.jitter <= DAY_MS):
            raise ValueError("milliseconds and jitter must be from 0 to a day (86400000)")

    def describe(self) -> str:
        """Describe the fault."""
        more = f", and up to {self.jitter:g} ms more," if self.jitter else ""
        what = "is" if self.when == "before" else "is carried out, and its reply is"
        return f"{what} delayed by {self.milliseconds:g} ms{more}{failing(self.errno)}"

    def inject(self, call: Call) -> Reply:
        """Wait, and answer."""
        wait_s = self.milliseconds / 1000
        if self.jitter:
            wait_s += self.jitter / 1000 * call.draw(1 << 20) / (1 << 20)
        if self.when == "before":
            call.sleep(wait_s)
            return Reply(error=self.errno) if self.errno else call.below(call.request)
        reply = call.below(call.request)
        call.sleep(wait_s)
        return Reply(error=self.errno) if self.errno else reply
