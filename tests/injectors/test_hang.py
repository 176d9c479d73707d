"""Hanging requests, with a hold that is handed in."""

from __future__ import annotations

import errno

from blockio.layers import Command, Reply, Request
from injectors.error import EIO
from injectors.hang import Hang
from injectors.rules.fault import Call


def story(fault: Hang) -> list[object]:
    seen: list[object] = []

    def below(_: Request) -> Reply:
        seen.append("disk")
        return Reply()

    request = Request(Command.FLUSH, 0, 0, 0, 1)
    reply = fault.inject(Call(request, below, lambda _: 0, hold=lambda: seen.append("held")))
    return [*seen, reply.error]


def test_a_request_is_held_before_or_after_the_disk() -> None:
    assert story(Hang()) == ["held", "disk", 0]
    assert story(Hang(when="after")) == ["disk", "held", 0]


def test_a_held_request_may_fail_in_the_end() -> None:
    assert story(Hang(errno=EIO)) == ["held", errno.EIO]
    assert story(Hang(when="after", errno=EIO)) == ["disk", "held", errno.EIO]
