"""Errors before and after a request."""

from __future__ import annotations

import errno

from blockio.layers import Command, Reply, Request
from injectors.error import Error
from injectors.rules.fault import Call

WRITE = Request(Command.WRITE, 0, 0, 512, 1, bytes(512))


def injected(fault, *, below=lambda _: Reply()):
    asked = []

    def counted(request):
        asked.append(request)
        return below(request)

    return fault.inject(Call(WRITE, counted, lambda _: 0)).error, len(asked)


def test_an_error_before_leaves_the_disk_alone_and_one_after_does_not() -> None:
    assert injected(Error(errno.ENOSPC)) == (errno.ENOSPC, 0)
    assert injected(Error(errno.ENOSPC, when="after")) == (errno.ENOSPC, 1)


def test_errno_zero_is_idle_and_a_negative_one_is_a_success() -> None:
    assert Error(0).idle
    assert not Error().idle
    assert injected(Error(-5)) == (0, 1)
