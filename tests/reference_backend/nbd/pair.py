"""A client and a server of the protocol, joined in memory: no socket, no thread, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from blockio.layers import Layer
from reference_backend.nbd import client_replies as wire
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_options import OptionReplyMessage, parse_option_reply
from reference_backend.nbd.constants import ClientFlag, Option
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.negotiation import Phase, ServerNegotiation
from reference_backend.nbd.settings import Features, Limits, TlsMode
from reference_backend.nbd.transmission import ServerTransmission
from reference_backend.server import FixedExports
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

SIZE = 1 << 20
CONTEXTS = ("base:allocation", "qbd:dirty")
ENTER = {
    ReplyMode.SIMPLE: b"",
    ReplyMode.STRUCTURED: m.option(Option.STRUCTURED_REPLY),
    ReplyMode.EXTENDED: m.option(Option.EXTENDED_HEADERS),
}


def volume(size: int = SIZE, **options: object) -> Volume:
    """Return an empty volume in memory."""
    return Volume(MemoryStore(size), "vol", **options)  # type: ignore[arg-type]


def negotiation(
    *volumes: tuple[str, Volume],
    features: Features | None = None,
    limits: Limits | None = None,
    tls: TlsMode = TlsMode.OFF,
    flags: int | None = ClientFlag.FIXED_NEWSTYLE | ClientFlag.NO_ZEROES,
    read_only: bool = False,
) -> ServerNegotiation:
    """Return a server's handshake, past the client flags unless ``flags`` is None."""
    named = dict(volumes) if volumes else {"vol": volume()}
    server = ServerNegotiation(FixedExports(named), features, limits, tls, read_only=read_only)
    if flags is not None:
        assert server.receive(m.CLIENT_FLAGS.pack(flags)) == b""
    return server


def replies(data: bytes) -> list[OptionReplyMessage]:
    """Parse option replies, all of them."""
    found = []
    while data:
        parsed = parse_option_reply(data)
        assert parsed is not None, f"half a reply: {data!r}"
        found.append(parsed[0])
        data = data[parsed[1] :]
    return found


class Pair:
    """Both sides, past the handshake.

    :param step: how many bytes the server gets at once; 0: all.
    """

    def __init__(
        self,
        mode: ReplyMode,
        device: Volume | None = None,
        *,
        features: Features | None = None,
        limits: Limits | None = None,
        layers: Sequence[Layer] = (),
        contexts: Sequence[str] = CONTEXTS,
        read_only: bool = False,
        step: int = 0,
    ) -> None:
        self.device = device or volume()
        self.mode = mode
        self.step = step
        server = negotiation(
            ("vol", self.device), features=features, limits=limits, read_only=read_only
        )
        asked = ENTER[mode]
        if contexts and mode is not ReplyMode.SIMPLE:
            asked += m.option(Option.SET_META_CONTEXT, m.meta_context_request("vol", contexts))
        server.receive(asked + m.option(Option.GO, m.info_request("vol")))
        assert server.phase is Phase.TRANSMISSION
        self.agreement = server.agreement
        self.executor = Executor(
            server.agreement, features or Features(), limits or Limits(), layers=layers
        )
        self.buffer = bytearray(1 << 21)
        self.server = ServerTransmission(self.executor, self.buffer)
        self.client = wire.Replies(mode)
        self._start = self._end = 0
        self._cookie = 0x1122334455667788

    def feed(self, data: bytes) -> bytes:
        """Give the server bytes, in steps; return what it sends."""
        sent = bytearray()
        step = self.step or len(data) or 1
        for at in range(0, len(data), step):
            self._take(data[at : at + step])
            sent += self._work()
        return bytes(sent)

    def _take(self, part: bytes) -> None:
        dropped = min(self.server.drain, len(part))
        self.server.drain -= dropped
        part = part[dropped:]
        self.buffer[self._end : self._end + len(part)] = part
        self._end += len(part)

    def _work(self) -> bytes:
        sent = bytearray()
        while True:
            self._start = self.server.run(self._start, self._end)
            sent += b"".join(self.server.out)
            self.server.out.clear()
            if not self.server.more:
                break
        rest = self.buffer[self._start : self._end]
        self.buffer[: len(rest)] = rest
        self._start, self._end = 0, len(rest)
        return bytes(sent)

    def header(self, command: int, offset: int, length: int, flags: int = 0) -> bytes:
        """Build a request's header and expect its reply."""
        self._cookie += 1
        self.client.expect(wire.Request(self._cookie, command, flags, offset, length))
        return wire.request(self.mode, flags, command, self._cookie, offset, length)

    def call(
        self, command: int, offset: int = 0, length: int = 0, flags: int = 0, payload: bytes = b""
    ) -> wire.Reply:
        """Send one request; return its reply."""
        sent = self.feed(self.header(command, offset, length, flags) + payload)
        found = list(self.client.receive(sent))
        assert len(found) == 1, f"{len(found)} replies to one request: {sent!r}"
        return found[0]
