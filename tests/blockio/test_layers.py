"""Layers, and the layer that checks other layers; extents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from blockio.extents import Extent, merged
from blockio.layers import Checked, Command, Reply, Request, stack


def request(command: Command, length: int = 8, payload: bytes = b"") -> Request:
    return Request(command, 0, 0, length, 7, payload, 3)


def checked(asked: Request, answer: Callable[[Request], Reply]) -> Reply:
    return stack([Checked()], answer)(asked)


def test_requests_and_replies_describe_themselves() -> None:
    assert repr(request(Command.READ)) == (
        "Request(READ, flags=0x0, offset=0, length=8, cookie=7, connection=3)"
    )
    assert repr(Reply(5, b"ab")) == "Reply(error=5, 2 bytes, extents={})"


def test_right_answers_and_errors_pass_the_check() -> None:
    assert checked(request(Command.READ), lambda _: Reply(data=bytes(8))).data == bytes(8)
    assert checked(request(Command.READ), lambda _: Reply(error=5)).error == 5
    extents: dict[str, Sequence[Extent]] = {"base:allocation": [Extent(8, 0)]}
    assert checked(request(Command.BLOCK_STATUS), lambda _: Reply(extents=extents)).extents


@pytest.mark.parametrize(
    ("asked", "reply", "message"),
    [
        (request(Command.READ), Reply(data=bytes(7)), "READ returned wrong data"),
        (request(Command.WRITE), Reply(), "WRITE with a wrong payload"),
        (request(Command.FLUSH), Reply(extents={"a": [Extent(1, 0)]}), "FLUSH with extents"),
        (request(Command.BLOCK_STATUS), Reply(extents={"a": []}), "no extent of a"),
        (request(Command.BLOCK_STATUS), Reply(extents={"a": [Extent(0, 0)]}), "an empty extent"),
        (
            request(Command.BLOCK_STATUS),
            Reply(extents={"a": [Extent(8, 0), Extent(1, 1)]}),
            "continue after the range",
        ),
    ],
)
def test_wrong_requests_and_answers_fail_the_check(
    asked: Request, reply: Reply, message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        checked(asked, lambda _: reply)


def test_a_layer_that_changes_its_request_fails_the_check() -> None:
    def change(asked: Request) -> Reply:
        asked.offset = 512
        return Reply(data=bytes(8))

    with pytest.raises(AssertionError, match="changed the request"):
        checked(request(Command.READ), change)


def test_neighbours_with_equal_flags_are_joined_and_empty_extents_dropped() -> None:
    assert list(merged([])) == []
    assert list(merged([Extent(0, 1)])) == []
    found = list(merged([Extent(1, 0), Extent(2, 0), Extent(0, 5), Extent(4, 1)]))
    assert found == [Extent(3, 0), Extent(4, 1)]
