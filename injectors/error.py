"""``action: error`` (the default): a request fails with an errno.

    - {event: write_aio, errno: ENOSPC, once: true}
    - {event: write_aio, errno: EIO, when: after}

``errno``: by name or number; EIO if not given. 0 matches and does nothing, which masks the rules
after it.
``when: before`` (the default): nothing of the request is carried out, as in QEMU's blkdebug.
``when: after``: it is carried out and then reported as failed, so that the client cannot know.
``immediately``: blkdebug's word for "without a turn of the event loop first". It changes nothing
here, where nobody waits for a turn; it is kept for blkdebug.
"""

from __future__ import annotations

import errno as numbers
from dataclasses import dataclass
from typing import ClassVar, Literal

from blockio.layers import Reply
from injectors.rules.fault import Call, Errno, Fault, errno_words

EIO = Errno(numbers.EIO)


@dataclass(frozen=True)
class Error(Fault):
    """Fail a request with ``errno``, ``before`` or ``after`` it is carried out."""

    action: ClassVar[str] = "error"
    errno: Errno = EIO
    when: Literal["before", "after"] = "before"
    immediately: bool = False

    @property
    def idle(self) -> bool:
        """errno 0 does nothing."""
        return self.errno == 0

    def in_words(self) -> str:
        """Say what happens."""
        if self.errno <= 0:
            return "is let through, and rules after this one are not asked"
        how = "" if self.when == "before" else "is carried out, and all the same "
        return f"{how}fails with {errno_words(self.errno)}"

    def inject(self, call: Call) -> Reply:
        """Fail. A negative errno, which blkdebug takes, is no failure there either."""
        if self.when == "after" or self.errno < 0:
            reply = call.below(call.request)
            if self.errno < 0:
                return reply
        return Reply(error=self.errno)
