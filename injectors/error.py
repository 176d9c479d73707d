"""``action: error`` (the default): a request fails with an errno.

    - {event: write_aio, errno: ENOSPC, once: true}
    - {event: write_aio, errno: EIO, when: after}

``errno``: a name or a number, EIO by default. A rule with errno 0 matches and does nothing: it
hides the rules after it.
``when: before`` (the default): the request is not carried out at all, as in QEMU's blkdebug.
``when: after``: the request is carried out, and then reported as failed, so that the client cannot
know whether it was.
``immediately``: in blkdebug, fail without a turn of the event loop. It has no effect here; it is
kept for conversion to blkdebug.
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
        """Return True for errno 0, which does nothing."""
        return self.errno == 0

    def describe(self) -> str:
        """Describe the fault."""
        if self.errno <= 0:
            return "passes, and later rules are ignored"
        how = "" if self.when == "before" else "is carried out, but "
        return f"{how}fails with {errno_words(self.errno)}"

    def inject(self, call: Call) -> Reply:
        """Fail the request; a negative errno is accepted and does nothing, as in blkdebug."""
        if self.when == "after" or self.errno < 0:
            reply = call.below(call.request)
            if self.errno < 0:
                return reply
        return Reply(error=self.errno)
