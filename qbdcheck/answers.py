"""Count the answers that a case gets: the runner can tell a slow target from one that hangs.

The counter lies in memory that the runner shares with the process of the case. A case whose time is
over, but that still gets answers, is not stuck: its target is too slow for the limit.

What counts as an answer: data on a connection of the kit's NBD client, a reply of qemu-io, the end
of a program such as qemu-img. Replies of QMP do not count: a loop that polls a job gets them also
if the job hangs.
"""

from __future__ import annotations

import mmap
import struct

_COUNT = struct.Struct("=Q")


class Answers:
    """A counter that a process and its children share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size)

    @property
    def count(self) -> int:
        """The answers until now."""
        number: int = _COUNT.unpack_from(self._memory)[0]
        return number

    def add_one(self) -> None:
        """Count an answer. Threads may lose some to each other, but never all."""
        _COUNT.pack_into(self._memory, 0, self.count + 1)


class _Now:
    """The counter of the case that this process runs; None in the runner."""

    answers: Answers | None = None


def begin_case(answers: Answers) -> None:
    """Count the answers of this process in ``answers`` from now on."""
    # Here, because the doctor starts programs, and works without the packages of the server.
    from reference_backend.client_handshake import ClientHandshake

    _Now.answers = answers

    def heard(self: ClientHandshake) -> None:
        del self
        answers.add_one()

    ClientHandshake.heard = heard  # type: ignore[method-assign]


def came() -> None:
    """Count an answer of the target."""
    if _Now.answers is not None:
        _Now.answers.add_one()
