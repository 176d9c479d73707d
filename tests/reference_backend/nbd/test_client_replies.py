"""How the client parses a server's replies, and detects a server that breaks the protocol."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockio.extents import Extent
from blockio.layers import Command
from reference_backend.nbd import client_replies as wire
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_options import parse_greeting, parse_option_reply
from reference_backend.nbd.constants import OptionReply
from reference_backend.nbd.errors import NbdProtocolError, OptionRefused, RemoteProtocolError

COOKIE = 0xABCDEF
DONE = 1
NONE, DATA, HOLE, STATUS, STATUS_EXT, ERROR, ERROR_OFFSET = 0, 1, 2, 5, 6, 0x8001, 0x8002


def waiting(command: int = Command.READ, length: int = 100, offset: int = 1000) -> wire.Replies:
    """Return a client in structured mode with one request in flight."""
    client = wire.Replies(ReplyMode.STRUCTURED)
    client.expect(wire.Request(COOKIE, command, 0, offset, length))
    return client


def chunk(kind: int, payload: bytes = b"", flags: int = DONE, cookie: int = COOKIE) -> bytes:
    return m.STRUCTURED_REPLY.pack(0x668E33EF, flags, kind, cookie, len(payload)) + payload


def data(offset: int, content: bytes, flags: int = DONE) -> bytes:
    return chunk(DATA, m.U64.pack(offset) + content, flags)


def test_chunks_in_any_order_make_one_reply() -> None:
    hole = chunk(HOLE, m.OFFSET_HOLE.pack(1000, 60), 0)
    sent = data(1080, b"c" * 20, 0) + hole + data(1060, b"b" * 20, 0) + chunk(NONE)
    for step in (1, 5, len(sent)):
        client = waiting()
        found = [
            reply
            for at in range(0, len(sent), step)
            for reply in client.receive(sent[at : at + step])
        ]
        assert [reply.data for reply in found] == [bytes(60) + b"b" * 20 + b"c" * 20]
        assert found[0].chunks == [(1080, 20, False), (1000, 60, True), (1060, 20, False)]
        assert not client.waiting


def test_an_error_chunk_with_offset_is_reported() -> None:
    payload = m.ERROR.pack(5, 3) + b"bad" + m.U64.pack(1033)
    [reply] = waiting().receive(data(1000, b"x" * 50, 0) + chunk(ERROR_OFFSET, payload))
    assert (reply.error, reply.message, reply.error_offset) == (5, "bad", 1033)


def test_unknown_error_chunks_are_errors_of_their_request_only() -> None:
    [reply] = waiting().receive(chunk(0x8BAD, m.ERROR.pack(28, 0) + b"extra"))
    assert reply.error == 28


def test_status_chunks_are_kept_by_context() -> None:
    client = waiting(Command.BLOCK_STATUS)
    sent = chunk(STATUS, m.status_payload(7, [Extent(50, 3), Extent(60, 0)], extended=False))
    [reply] = client.receive(sent)
    assert reply.extents == {7: [Extent(50, 3), Extent(60, 0)]}


VIOLATIONS = {
    "wrong magic": struct.pack(">I", 0x12345678),
    "extended magic in structured mode": struct.pack(">I", 0x6E8A278C),
    "unknown cookie": chunk(NONE, cookie=1),
    "simple reply to a structured read": m.SIMPLE_REPLY.pack(0x67446698, 0, COOKIE),
    "too little data": data(1000, b"x" * 99),
    "no data": chunk(NONE),
    "data before the request": data(999, b"x" * 100),
    "data after the request": data(1001, b"x" * 100),
    "overlap": data(1000, b"x" * 60, 0) + data(1059, b"y" * 41),
    "the same twice": data(1000, b"x" * 100, 0) + data(1000, b"x" * 100),
    "empty data": chunk(DATA, m.U64.pack(1000)),
    "data without offset": chunk(DATA, b"1234"),
    "empty hole": chunk(HOLE, m.OFFSET_HOLE.pack(1000, 0)),
    "hole of a wrong length": chunk(HOLE, bytes(13)),
    "none with payload": chunk(NONE, b"x"),
    "none that is not done": chunk(NONE, flags=0),
    "status for a read": chunk(STATUS, bytes(12)),
    "unknown chunk": chunk(99),
    "error 0": chunk(ERROR, m.ERROR.pack(0, 0)),
    "short error": chunk(ERROR, b"\0\0\0\5"),
    "error message that does not fit": chunk(ERROR, m.ERROR.pack(5, 10) + b"short"),
    "error offset without offset": chunk(ERROR_OFFSET, m.ERROR.pack(5, 0)),
    "huge length": m.STRUCTURED_REPLY.pack(0x668E33EF, 1, DATA, COOKIE, 0xFFFFFFFF),
}


@pytest.mark.parametrize("sent", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_server_that_breaks_the_protocol_is_detected(sent: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(waiting().receive(sent))


@pytest.mark.parametrize(
    ("cookies", "said"),
    [
        (
            (0xEFCD_AB00_0000_0000,),
            ": it is cookie 0xefcdab0000000000 with its bytes in reverse order",
        ),
        ((0x1_00AB_CDEF, 7), ": it is cookie 0x0000000100abcdef without its upper 32 bits"),
        ((3, 7), "; in flight: 0x0000000000000003, 0x0000000000000007"),
        ((1, 2, 3, 4, 5), ", 0x0000000000000004, ..."),
        ((), "; no request is"),
    ],
)
def test_a_reply_to_no_request_is_compared_with_those_in_flight(
    cookies: tuple[int, ...], said: str
) -> None:
    client = wire.Replies(ReplyMode.STRUCTURED)
    for cookie in cookies:
        client.expect(wire.Request(cookie, Command.WRITE, 0, 0, 512))
    with pytest.raises(RemoteProtocolError, match="which is not in flight") as found:
        list(client.receive(chunk(NONE)))
    assert said in str(found.value)


@pytest.mark.parametrize(("error", "said"), [(0, "it succeeded"), (5, "it failed with EIO")])
def test_a_second_reply_names_the_request_and_its_first_reply(error: int, said: str) -> None:
    client = wire.Replies(ReplyMode.STRUCTURED)
    client.expect(wire.Request(COOKIE, Command.TRIM, 0, 4096, 512))
    reply = m.SIMPLE_REPLY.pack(c.SIMPLE_REPLY_MAGIC, error, COOKIE)
    with pytest.raises(RemoteProtocolError, match="a second reply to TRIM of 512 bytes") as found:
        list(client.receive(reply + reply))
    assert said in str(found.value)
    assert client.meant is not None


def test_the_message_that_broke_the_protocol_and_its_request_are_kept() -> None:
    """The broken message is not the first one of what was received."""
    client = wire.Replies(ReplyMode.STRUCTURED)
    for cookie in (COOKIE, 0x11, 0x22):
        client.expect(wire.Request(cookie, Command.WRITE, 0, cookie, 512))
    right = m.SIMPLE_REPLY.pack(c.SIMPLE_REPLY_MAGIC, 0, COOKIE)
    broken = m.SIMPLE_REPLY.pack(c.SIMPLE_REPLY_MAGIC, 5, 0x22 << 56)
    with pytest.raises(RemoteProtocolError, match="reverse order"):
        list(client.receive(right + broken + bytes(8)))
    assert client.head.startswith(broken)
    assert client.meant is not None
    assert client.meant.cookie == 0x22
    assert list(client.chunks.lines(last_is_wrong=True)) == []  # those of other replies are gone


def test_a_chunk_to_no_request_is_in_the_table_and_no_chunk_of_another_reply() -> None:
    client = waiting()
    with pytest.raises(RemoteProtocolError, match="not in flight"):
        list(client.receive(data(1000, b"12345678", 0) + chunk(NONE, cookie=99)))
    assert list(client.chunks.lines(last_is_wrong=True)) == ["chunk 1: NONE; -; 0; DONE; -; wrong"]
    assert client.meant is None


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0\0\0\1", m.U32.pack(1) + bytes(7), m.U32.pack(1) + m.STATUS.pack(0, 3)],
)
def test_malformed_status_is_detected(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(waiting(Command.BLOCK_STATUS).receive(chunk(STATUS, payload)))


def test_a_context_answered_twice_is_detected() -> None:
    payload = m.status_payload(1, [Extent(100, 0)], extended=False)
    client = waiting(Command.BLOCK_STATUS)
    with pytest.raises(RemoteProtocolError, match="twice"):
        list(client.receive(chunk(STATUS, payload, 0) + chunk(STATUS, payload)))


def test_extended_replies_must_repeat_the_offset_and_count_right() -> None:
    def client() -> wire.Replies:
        replies = wire.Replies(ReplyMode.EXTENDED)
        replies.expect(wire.Request(COOKIE, Command.BLOCK_STATUS, 0, 1000, 100))
        return replies

    def extended(payload: bytes, offset: int = 1000, kind: int = STATUS_EXT) -> bytes:
        head = m.EXTENDED_REPLY.pack(0x6E8A278C, DONE, kind, COOKIE, offset, len(payload))
        return head + payload

    good = m.status_payload(1, [Extent(1 << 40, 3)], extended=True)
    [reply] = client().receive(extended(good))
    assert reply.extents == {1: [Extent(1 << 40, 3)]}
    compact = m.status_payload(1, [Extent(100, 3)], extended=False)
    [reply] = client().receive(extended(compact, kind=STATUS))
    assert reply.extents == {1: [Extent(100, 3)]}
    with pytest.raises(RemoteProtocolError, match="offset"):
        list(client().receive(extended(good, offset=0)))
    with pytest.raises(RemoteProtocolError, match="count"):
        list(client().receive(extended(m.STATUS_EXT_HEAD.pack(1, 2) + good[8:])))
    with pytest.raises(RemoteProtocolError, match="magic"):
        list(client().receive(m.SIMPLE_REPLY.pack(0x67446698, 0, COOKIE)))


def test_greeting_and_option_replies_wait_for_their_bytes() -> None:
    greeting = b"NBDMAGICIHAVEOPT\0\3"
    assert [parse_greeting(greeting[:n]) for n in (0, 17)] == [None, None]
    assert parse_greeting(greeting) == 3
    with pytest.raises(RemoteProtocolError):
        parse_greeting(b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\0\0")
    reply = m.option_reply(7, OptionReply.INFO, b"1234")
    assert [parse_option_reply(reply[:n]) for n in range(len(reply))] == [None] * len(reply)
    assert parse_option_reply(reply + b"more") is not None
    with pytest.raises(RemoteProtocolError):
        parse_option_reply(b"x" * 20)
    with pytest.raises(RemoteProtocolError):
        parse_option_reply(m.OPTION_REPLY.pack(0x3E889045565A9, 7, 3, 0xFFFFFFFF))


def test_refusals_name_the_reply_type_even_if_it_is_unknown() -> None:
    assert "ERR_UNSUP: no" in str(OptionRefused(9, OptionReply.ERR_UNSUP, "no"))
    assert "0x80000063" in str(OptionRefused(9, 0x80000063))


extents = st.lists(st.builds(Extent, st.integers(1, 0xFFFFFFFF), st.integers(0, 3)), min_size=1)


@given(st.integers(0, 0xFFFFFFFF), extents, st.booleans())
def test_status_payloads_survive_the_round_trip(
    context: int, found: list[Extent], extended: bool
) -> None:
    payload = m.status_payload(context, found, extended=extended)
    assert wire.parse_status(payload, extended=extended) == (context, found)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=1000))
def test_strings_survive_the_round_trip(text: str) -> None:
    assert m.take_string(b"ab" + m.string(text) + b"c", 2) == (text, 6 + len(text.encode()))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(list(ReplyMode)),
    st.sampled_from([0x67446698, 0x668E33EF, 0x6E8A278C]),
    st.binary(max_size=200),
)
def test_garbage_raises_protocol_errors_only(mode: ReplyMode, magic: int, garbage: bytes) -> None:
    client = wire.Replies(mode)
    for cookie in range(4):
        client.expect(wire.Request(cookie, cookie, 0, 0, 64))
    with contextlib.suppress(NbdProtocolError):
        list(client.receive(m.U32.pack(magic) + garbage))


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from([NONE, DATA, HOLE, STATUS, STATUS_EXT, ERROR, ERROR_OFFSET, 77]),
    payload=st.binary(max_size=60),
    command=st.sampled_from(list(Command)),
    flags=st.integers(0, 3),
)
def test_any_chunk_is_accepted_or_a_protocol_error(
    kind: int, payload: bytes, command: int, flags: int
) -> None:
    with contextlib.suppress(NbdProtocolError):
        list(waiting(command).receive(chunk(kind, payload, flags)))
