"""Errors before and after a request."""

from __future__ import annotations

import errno

from blockio.layers import Command, Reply, Request
from injectors.error import Error
from injectors.rules.fault import Call, Errno

ENOSPC = Errno(errno.ENOSPC)
WRITE = Request(Command.WRITE, 0, 0, 512, 1, bytes(512))


def injected(fault: Error) -> tuple[int, int]:
    asked: list[Request] = []

    def counted(request: Request) -> Reply:
        asked.append(request)
        return Reply()

    return fault.inject(Call(WRITE, counted, lambda _: 0)).error, len(asked)


def test_a_request_reaches_the_disk_only_with_when_after() -> None:
    assert injected(Error(ENOSPC)) == (errno.ENOSPC, 0)
    assert injected(Error(ENOSPC, when="after")) == (errno.ENOSPC, 1)


def test_errno_0_is_idle_and_a_negative_errno_succeeds() -> None:
    assert Error(Errno(0)).idle
    assert not Error().idle
    assert injected(Error(Errno(-5))) == (0, 1)
