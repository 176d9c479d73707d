"""Delays, counted in a sleep that is handed in."""

from __future__ import annotations

import errno

import pytest

from blockio.layers import Command, Reply, Request
from injectors.delay import Delay
from injectors.rules.fault import Call, Errno

READ = Request(Command.READ, 0, 0, 512, 1)


def story(fault: Delay, draw: int = 0) -> tuple[int, list[object]]:
    seen: list[object] = []

    def below(_: Request) -> Reply:
        seen.append("disk")
        return Reply(data=bytes(512))

    call = Call(READ, below, lambda _: draw, sleep=seen.append)
    return fault.inject(call).error, seen


def test_a_delay_comes_before_or_after_the_disk() -> None:
    assert story(Delay(200))[1][:2] == [0.2, "disk"]
    assert story(Delay(200, when="after"))[1][:2] == ["disk", 0.2]


def test_a_delayed_failure_does_not_reach_the_disk() -> None:
    assert story(Delay(1, errno=Errno(errno.EIO))) == (errno.EIO, [0.001])


def test_jitter_is_drawn() -> None:
    assert story(Delay(100, jitter=50, errno=Errno(5)), draw=1 << 19)[1] == [pytest.approx(0.125)]


def test_a_wait_is_not_negative() -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        Delay(-1)
