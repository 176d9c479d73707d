"""Sessions of any client with the server: it answers correctly, or ends the connection.

A model of the volume and the strict client check the replies. Each valid request gets exactly one
reply, in the negotiated form, and a read returns the data written before. Only a violation of the
protocol ends a session, and no exception except `NbdProtocolError` is raised.
"""

from __future__ import annotations

from blockio.layers import Command, CommandFlag
from fuzz.choices import Choices
from reference_backend.nbd import client_replies as wire
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_options import parse_option_reply
from reference_backend.nbd.constants import (
    EXTENDED_REQUEST_MAGIC,
    OPTION_MAGIC,
    REQUEST_MAGIC,
    Option,
)
from reference_backend.nbd.errors import NbdProtocolError
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.negotiation import Phase, ServerNegotiation
from reference_backend.nbd.settings import Features, Limits, TlsMode
from reference_backend.nbd.transmission import ServerTransmission
from reference_backend.server import FixedExports
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

SIZE = 64 << 10
BUFFER = 256 << 10
LIMITS = Limits(payload=128 << 10, drain=64 << 10, options=40)
OPTIONS = [*(int(option) for option in Option), 0, 99, 0xFFFFFFFF]
READ, WRITE = int(Command.READ), int(Command.WRITE)
COMMANDS = [READ, WRITE, READ, WRITE, *(int(command) for command in Command), 6, 9, 255, 65535]
CHANGES = {Command.WRITE, Command.WRITE_ZEROES, Command.TRIM}
OFFSETS = [0, 512, 4096, SIZE - 512, SIZE - 1, SIZE, SIZE + 1, 1 << 63, (1 << 64) - 1, 65535]
LENGTHS = [512, 0, 1, 4096, 8192, SIZE, SIZE + 1, LIMITS.payload + 1, (1 << 32) - 1, 1000]
SECTOR = 512


def run(data: bytes) -> str:
    """Run one session; return how far it got: ``refused``, ``handshake`` or ``served``.

    :raise AssertionError: the server sent a wrong reply. Any other exception is a crash.
    """
    choose = Choices(data)
    features = Features(**{name: not choose.rarely() for name in ("structured", "extended", "df")})
    sizes = (choose.pick((1, 512, 4096)), 4096, LIMITS.payload)
    volume = Volume(MemoryStore(SIZE), "vol", block_sizes=sizes)
    read_only = choose.rarely()
    server = ServerNegotiation(
        FixedExports({"vol": volume}), features, LIMITS, TlsMode.OFF, read_only=read_only
    )
    try:
        _handshake(choose, server)
    except NbdProtocolError:
        return "refused"
    if server.phase is not Phase.TRANSMISSION:
        return "handshake"
    executor = Executor(server.agreement, features, LIMITS)
    session = _Session(executor, volume)
    if trailing := server.trailing():
        session.send(trailing)
    for _ in range(40):
        if not choose.left or session.ended:
            break
        session.request(choose)
    session.judge()
    return "served"


def _handshake(choose: Choices, server: ServerNegotiation) -> None:
    assert len(server.greeting()) == m.GREETING.size
    server.receive(m.CLIENT_FLAGS.pack(choose.number(1) if choose.rarely() else 3))
    answers = bytearray()
    for _ in range(choose.below(6)):
        for piece in choose.pieces(_option(choose)):
            answers += server.receive(piece)
    _judge_answers(bytes(answers))
    if server.phase is Phase.OPTIONS:
        for option in choose.pick(_ENTRIES):
            server.receive(option)


_CONTEXTS = m.option(
    Option.SET_META_CONTEXT, m.meta_context_request("vol", ["base:allocation", "qbd:"])
)
_GO = m.option(Option.GO, m.info_request("vol", [3]))
_ENTRIES = [
    [m.option(Option.STRUCTURED_REPLY), _CONTEXTS, _GO],
    [m.option(Option.EXTENDED_HEADERS), _CONTEXTS, _GO],
    [_GO],
    [m.option(Option.EXPORT_NAME, b"vol")],
]


def _option(choose: Choices) -> bytes:
    number = choose.pick(OPTIONS)
    data = choose.pick(
        (
            b"",
            m.info_request("vol", range(choose.below(8))),
            m.meta_context_request("vol", ["base:allocation"] * choose.below(4)),
            m.string("x" * (choose.number(2) % 5000)) + b"\0\0",
            choose.take(choose.below(64)),
        )
    )
    if choose.rarely():
        at = choose.number(2) % (len(data) + 1)
        data = data[:at] + choose.take(choose.below(9)) + data[at + choose.below(9) :]
    length = choose.pick((len(data), choose.number(4))) if choose.rarely() else len(data)
    magic = choose.number(8) if choose.rarely() and choose.rarely() else OPTION_MAGIC
    return m.OPTION.pack(magic, number, length) + data


def _judge_answers(answers: bytes) -> None:
    while answers:
        parsed = parse_option_reply(answers)
        if parsed is None:  # the reply to EXPORT_NAME has no header
            assert len(answers) in {m.EXPORT.size, m.EXPORT.size + 124}, f"{answers[:40].hex()}"
            return
        answers = answers[parsed[1] :]
        if len(answers) in {m.EXPORT.size, m.EXPORT.size + 124}:
            return


def _place(choose: Choices) -> tuple[int, int]:
    """Choose a range, mostly in a small area, so that requests overlap."""
    offset, length = SECTOR * choose.below(24), SECTOR * (1 + choose.below(16))
    unusual = choose.below(8)
    if unusual in {5, 7}:
        offset = choose.pick(OFFSETS) if choose.below(4) else choose.number(8)
    if unusual in {6, 7}:
        length = choose.pick(LENGTHS) if choose.below(4) else choose.number(2)
    return offset, length


class _Session:
    """A connection in the transmission phase, a model of the volume, and a strict client."""

    def __init__(self, executor: Executor, volume: Volume) -> None:
        self._mode = executor.replies.mode
        self._buffer = bytearray(BUFFER)
        self._server = ServerTransmission(executor, self._buffer)
        self._end = 0
        self._sent = bytearray()
        self._client = wire.Replies(self._mode)
        self._asked: dict[int, wire.Request] = {}
        self._payloads: dict[int, bytes] = {}
        self._volume = volume
        self.ended = False

    def request(self, choose: Choices) -> None:
        """Send one request, mostly a valid one."""
        extended = self._mode is ReplyMode.EXTENDED
        command = choose.pick(COMMANDS)
        offset, length = _place(choose)
        flags = 0
        if choose.below(4) == 3:
            flags = choose.pick((1, 2, 4, 8, 16, 32, 3)) if choose.below(8) else choose.number(2)
        cookie = len(self._asked) + 1
        payload = b""
        if command == Command.WRITE or (extended and flags & CommandFlag.PAYLOAD_LEN):
            length = min(length, LIMITS.payload + 100)
            payload = (choose.take(4) * (length // 4 + 1))[:length]
        if extended and command == Command.WRITE and not choose.rarely():
            flags |= CommandFlag.PAYLOAD_LEN
        if command != Command.DISC:
            self._asked[cookie] = wire.Request(cookie, command, flags, offset, length)
            self._payloads[cookie] = payload
        layout = m.EXTENDED_REQUEST if extended else m.REQUEST
        magic = EXTENDED_REQUEST_MAGIC if extended else REQUEST_MAGIC
        if choose.rarely() and choose.rarely():
            magic = choose.number(4)
        header = layout.pack(magic, flags, command, cookie, offset, length)
        for piece in choose.pieces(header + payload):
            if not self.ended:
                self.send(piece)

    def send(self, piece: bytes) -> None:
        """Send bytes to the server, and collect its replies."""
        dropped = min(self._server.drain, len(piece))
        self._server.drain -= dropped
        piece = piece[dropped:]
        self._buffer[self._end : self._end + len(piece)] = piece
        self._end += len(piece)
        start = 0
        try:
            while True:
                start = self._server.run(start, self._end)
                self._sent += b"".join(self._server.out)
                self._server.out.clear()
                if not self._server.more:
                    break
        except NbdProtocolError:
            self.ended = True
        rest = self._buffer[start : self._end]
        self._buffer[: len(rest)] = rest
        self._end = len(rest)
        self.ended = self.ended or self._server.closed

    def judge(self) -> None:
        """Compare the replies with the model; they are in the order of the requests."""
        assert self._volume.size == SIZE
        model = bytearray(SIZE)
        known = bytearray([1]) * SIZE
        for request in self._asked.values():
            self._client.expect(request)
        answered = set()
        for reply in self._client.receive(bytes(self._sent)):
            assert reply.cookie in self._asked, f"a reply to unknown cookie {reply.cookie}"
            assert reply.cookie not in answered, f"two replies to cookie {reply.cookie}"
            answered.add(reply.cookie)
            if not reply.error:
                self._follow(self._asked[reply.cookie], reply, model, known)
        if not self.ended and not self._end and not self._server.drain:
            missing = self._asked.keys() - answered
            assert not missing, f"no reply to {[self._asked[cookie] for cookie in missing]}"

    def _follow(
        self, asked: wire.Request, reply: wire.Reply, model: bytearray, known: bytearray
    ) -> None:
        here = slice(asked.offset, asked.offset + asked.length)
        if asked.command in CHANGES or asked.command == Command.READ:
            assert here.stop <= SIZE, f"beyond the end: {asked}"
        if asked.command == Command.READ:
            assert len(reply.data) == asked.length
            if all(known[here]):
                assert reply.data == model[here], f"wrong data for {asked}"
        elif asked.command == Command.WRITE:
            model[here] = self._payloads[asked.cookie]
            known[here] = b"\1" * asked.length
        elif asked.command == Command.WRITE_ZEROES:
            model[here] = bytes(asked.length)
            known[here] = b"\1" * asked.length
        elif asked.command == Command.TRIM:
            known[here] = bytes(asked.length)
