"""Messages between processes."""

from __future__ import annotations

import pytest

from reference_backend.cluster import messages as m
from reference_backend.cluster.codec import decode, encode

RECORD = m.Record((1, 2), ((9, 1),), bytes(range(256)))


@pytest.mark.parametrize(
    "message",
    [
        m.Put(1, 2, RECORD), m.Vote(3, m.State(1, True, False, ((0, 0), (5, 1)))),
        m.Request(1, 2, m.Kind.WRITE, 0, 5, b"\n\0"), m.Reply(1, 2, b""),
        m.HeartbeatAck(1, 2, False, 0.25), m.Fetch(1, (1, 2)),
    ],
)  # fmt: skip
def test_a_message_survives(message: m.Message) -> None:
    line = encode(3, message)
    assert line.count(b"\n") == 1
    assert decode(line) == (3, message)
    assert type(decode(line)[1]) is type(message)


@pytest.mark.parametrize("line", [b"", b"1", b"[1]", b'[1,{"t":"os","v":[]}]', b"{", b"\xff"])
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)
