"""Sessions of any server with the client: it accepts right replies and refuses all others.

Each reply that the client returns belongs to a request in flight, is the only one for it, and has
the requested length. The client raises no exception except `NbdProtocolError`.
"""

from __future__ import annotations

from blockio.extents import Extent
from blockio.layers import Command
from fuzz.choices import Choices
from reference_backend.nbd import client_replies as wire
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_options import parse_greeting, parse_option_reply
from reference_backend.nbd.constants import (
    EXTENDED_REPLY_MAGIC,
    OPTION_REPLY_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    Chunk,
)
from reference_backend.nbd.errors import NbdProtocolError

MODES = (ReplyMode.STRUCTURED, ReplyMode.SIMPLE, ReplyMode.EXTENDED)
COMMANDS = (Command.READ, Command.BLOCK_STATUS, Command.WRITE, Command.FLUSH)
KINDS = [*(int(kind) for kind in Chunk), 3, 77, 0x8077]
LENGTHS = (4096, 512, 1, 65536, 0)
ERRNOS = (0, 5, 22, 28, 107, 0xFFFFFFFF)


def run(data: bytes) -> str:
    """Run one session; return how far it got: ``refused``, ``answered`` or ``waits``.

    :raise AssertionError: the client accepted a wrong reply. Any other exception is a crash.
    """
    choose = Choices(data)
    try:
        if choose.rarely():
            parse_greeting(choose.take(choose.below(24)))
            parse_option_reply(_option_reply(choose))
        return _session(choose)
    except NbdProtocolError:
        return "refused"


def _option_reply(choose: Choices) -> bytes:
    data = choose.take(choose.below(32))
    length = choose.number(4) if choose.rarely() else len(data)
    magic = choose.number(8) if choose.rarely() else OPTION_REPLY_MAGIC
    return m.OPTION_REPLY.pack(magic, choose.number(4), choose.number(4), length) + data


def _session(choose: Choices) -> str:
    mode = choose.pick(MODES)
    replies = wire.Replies(mode)
    waiting: dict[int, wire.Request] = {}
    for cookie in range(1, 2 + choose.below(6)):
        request = wire.Request(
            cookie, choose.pick(COMMANDS), choose.number(1), choose.number(2), choose.pick(LENGTHS)
        )
        waiting[cookie] = request
        replies.expect(request)
    answered = False
    for _ in range(60):
        if not choose.left or not waiting:
            break
        for piece in choose.pieces(_message(choose, mode, waiting)):
            for reply in replies.receive(piece):
                asked = waiting.pop(reply.cookie, None)
                assert asked is not None, f"a reply to {reply.cookie}, which is not in flight"
                _judge(asked, reply)
                answered = True
    return "answered" if answered else "waits"


def _judge(asked: wire.Request, reply: wire.Reply) -> None:
    if reply.error:
        return
    if asked.command == Command.READ:
        assert len(reply.data) == asked.length, f"{len(reply.data)} bytes for {asked}"
    if asked.command == Command.BLOCK_STATUS:
        assert reply.extents, f"no extents for {asked}"
        for extents in reply.extents.values():
            assert extents and all(length > 0 for length, _flags in extents), f"{extents}"


def _message(choose: Choices, mode: ReplyMode, waiting: dict[int, wire.Request]) -> bytes:
    asked = choose.pick(list(waiting.values()))
    cookie = choose.number(1) if choose.rarely() else asked.cookie
    if mode is ReplyMode.SIMPLE or choose.rarely():
        error = choose.pick(ERRNOS)
        body = b""
        if asked.command == Command.READ and not error:
            body = bytes(asked.length)
        return m.SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, error, cookie) + body
    kind = choose.pick(KINDS) if choose.rarely() else _honest_kind(asked)
    payload = _payload(choose, kind, asked)
    if choose.rarely():
        at = choose.below(len(payload) + 1) if len(payload) < 255 else choose.below(255)
        payload = payload[:at] + choose.take(choose.below(9)) + payload[at + choose.below(9) :]
    flags = choose.number(1) if choose.rarely() else int(not choose.below(3))
    length = choose.number(4) if choose.rarely() and choose.rarely() else len(payload)
    if mode is ReplyMode.EXTENDED:
        head = m.EXTENDED_REPLY.pack(
            EXTENDED_REPLY_MAGIC, flags, kind, cookie, asked.offset, length
        )
    else:
        head = m.STRUCTURED_REPLY.pack(STRUCTURED_REPLY_MAGIC, flags, kind, cookie, length)
    return head + payload


def _honest_kind(asked: wire.Request) -> int:
    if asked.command == Command.READ:
        return int(Chunk.OFFSET_DATA)
    return int(Chunk.BLOCK_STATUS if asked.command == Command.BLOCK_STATUS else Chunk.NONE)


def _payload(choose: Choices, kind: int, asked: wire.Request) -> bytes:
    """Build the payload of a kind of chunk, for a part of the request."""
    begin = min(choose.number(2) if choose.rarely() else 0, asked.length)
    length = choose.number(2) if choose.rarely() else asked.length - begin
    offset = choose.number(8) if choose.rarely() else asked.offset + begin
    if kind == Chunk.OFFSET_DATA:
        return m.U64.pack(offset) + bytes(length)
    if kind == Chunk.OFFSET_HOLE:
        return m.OFFSET_HOLE.pack(offset, length)
    if kind in {Chunk.ERROR, Chunk.ERROR_OFFSET}:
        text = choose.take(choose.below(20))
        tail = m.U64.pack(offset) if kind == Chunk.ERROR_OFFSET else b""
        return m.ERROR.pack(choose.pick(ERRNOS), len(text)) + text + tail
    if kind in {Chunk.BLOCK_STATUS, Chunk.BLOCK_STATUS_EXT}:
        extents = [Extent(choose.number(2), choose.number(1)) for _ in range(choose.below(5))]
        return m.status_payload(7, extents, extended=kind == Chunk.BLOCK_STATUS_EXT)
    return b"" if kind == Chunk.NONE else choose.take(choose.below(16))
