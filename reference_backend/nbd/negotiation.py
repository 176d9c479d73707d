"""The server's side of the handshake: bytes in, bytes out, a phase.

NBD document, "Handshake": fixed newstyle. The table ``PHASES`` has the allowed events of each phase
and the next phase. Any other event is a violation and ends the session.
"""

from __future__ import annotations

import enum

from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import Agreement
from reference_backend.nbd.constants import Option
from reference_backend.nbd.errors import LocalProtocolError, RemoteProtocolError
from reference_backend.nbd.options import Options
from reference_backend.nbd.settings import Exports, Features, Limits, TlsMode


class Phase(enum.Enum):
    """The phases of a server's handshake."""

    CLIENT_FLAGS = "client flags"
    OPTIONS = "options"
    TLS = "TLS upgrade"
    TRANSMISSION = "transmission"
    CLOSED = "closed"


class Event(enum.Enum):
    """The events of a handshake."""

    FLAGS = "the client's flags"
    ANSWERED = "an option after which the handshake continues"
    EXPORT_CHOSEN = "EXPORT_NAME or GO"
    STARTTLS = "STARTTLS"
    TLS_ESTABLISHED = "the TLS handshake is over"
    ABORT = "ABORT"


PHASES: dict[tuple[Phase, Event], Phase] = {
    (Phase.CLIENT_FLAGS, Event.FLAGS): Phase.OPTIONS,
    (Phase.OPTIONS, Event.ANSWERED): Phase.OPTIONS,
    (Phase.OPTIONS, Event.EXPORT_CHOSEN): Phase.TRANSMISSION,
    (Phase.OPTIONS, Event.STARTTLS): Phase.TLS,
    (Phase.OPTIONS, Event.ABORT): Phase.CLOSED,
    (Phase.TLS, Event.TLS_ESTABLISHED): Phase.OPTIONS,
}
_EVENT = {
    None: Event.ANSWERED,
    Option.GO: Event.EXPORT_CHOSEN,
    Option.EXPORT_NAME: Event.EXPORT_CHOSEN,
    Option.STARTTLS: Event.STARTTLS,
    Option.ABORT: Event.ABORT,
}


class ServerNegotiation:
    """A server's handshake.

    Send ``greeting()`` first. Then ``receive(data)`` returns the bytes to send. When ``phase`` is
    TRANSMISSION, ``agreement`` has the result, and ``trailing()`` returns the bytes after the
    handshake.
    """

    def __init__(
        self,
        exports: Exports,
        features: Features | None = None,
        limits: Limits | None = None,
        tls: TlsMode = TlsMode.OFF,
        *,
        read_only: bool = False,
    ) -> None:
        self.phase = Phase.CLIENT_FLAGS
        self._features = features or Features()
        self._limits = limits or Limits()
        self._options = Options(exports, self._features, self._limits, tls, read_only=read_only)
        self._buffer = bytearray()
        self._skip = 0
        self._seen = 0
        self._fixed = False
        self._no_zeroes = False

    @property
    def agreement(self) -> Agreement:
        """Return the result so far."""
        return self._options.agreement

    def greeting(self) -> bytes:
        """Return the server's first bytes ("Newstyle negotiation")."""
        return m.GREETING.pack(c.INIT_MAGIC, c.OPTION_MAGIC, self._handshake_flags())

    def _handshake_flags(self) -> int:
        flags = c.HandshakeFlag(0)
        if self._features.fixed_newstyle:
            flags |= c.HandshakeFlag.FIXED_NEWSTYLE
        if self._features.no_zeroes:
            flags |= c.HandshakeFlag.NO_ZEROES
        return int(flags)

    def receive(self, data: bytes) -> bytes:
        """Handle received bytes; return the bytes to send.

        :raise RemoteProtocolError: a violation without an error reply; close the connection.
        """
        self._buffer += data
        out: list[bytes] = []
        while self._step(out):
            pass
        return b"".join(out)

    def trailing(self) -> bytes:
        """Return the bytes after the handshake: they belong to the transmission phase."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def tls_established(self) -> None:
        """Continue after the TLS handshake and forget all earlier options ("STARTTLS").

        :raise LocalProtocolError: the client did not send STARTTLS.
        """
        if self.phase is not Phase.TLS:
            msg = f"TLS was established in phase {self.phase.value}"
            raise LocalProtocolError(msg)
        self._move(Event.TLS_ESTABLISHED)
        self._options.agreement = Agreement(tls=True)
        self._options.outcome = None

    def _move(self, event: Event) -> None:
        self.phase = PHASES[self.phase, event]

    # -- one message at a time; False means that it is not complete

    def _step(self, out: list[bytes]) -> bool:
        if self.phase is Phase.CLIENT_FLAGS:
            return self._take_flags()
        if self.phase is Phase.OPTIONS:
            return self._drop_skipped() and self._take_option(out)
        if self.phase is Phase.TLS and self._buffer:
            msg = "plaintext after STARTTLS, before the TLS handshake"
            raise RemoteProtocolError(msg)
        return False

    def _take_flags(self) -> bool:
        if len(self._buffer) < m.CLIENT_FLAGS.size:
            return False
        (flags,) = m.CLIENT_FLAGS.unpack_from(self._buffer)
        del self._buffer[: m.CLIENT_FLAGS.size]
        if flags & ~self._handshake_flags():
            msg = f"client flags {flags:#x} were not offered"
            raise RemoteProtocolError(msg)
        self._fixed = bool(flags & c.ClientFlag.FIXED_NEWSTYLE)
        self._no_zeroes = bool(flags & c.ClientFlag.NO_ZEROES)
        self._move(Event.FLAGS)
        return True

    def _drop_skipped(self) -> bool:
        """Discard data of an option that was too long; return whether all of it is discarded."""
        dropped = min(self._skip, len(self._buffer))
        del self._buffer[:dropped]
        self._skip -= dropped
        return not self._skip

    def _take_option(self, out: list[bytes]) -> bool:
        if len(self._buffer) < m.OPTION.size:
            return False
        magic, number, length = m.OPTION.unpack_from(self._buffer)
        if magic != c.OPTION_MAGIC:
            msg = f"option magic is {magic:#x}"
            raise RemoteProtocolError(msg)
        if not self._fixed and number != Option.EXPORT_NAME:
            msg = f"option {number} needs fixed newstyle, which the client did not agree to"
            raise RemoteProtocolError(msg)
        if length > self._limits.option_length:
            self._skip_option(number, length, out)
            return True
        if len(self._buffer) < m.OPTION.size + length:
            return False
        self._count_option()
        data = bytes(self._buffer[m.OPTION.size : m.OPTION.size + length])
        del self._buffer[: m.OPTION.size + length]
        if number == Option.EXPORT_NAME:
            out.append(self._options.export_name(data, no_zeroes=self._no_zeroes))
        else:
            out.extend(self._options.answer(number, data))
        self._move(_EVENT[self._options.outcome])
        return True

    def _count_option(self) -> None:
        self._seen += 1
        if self._seen > self._limits.options:
            msg = f"more than {self._limits.options} options"
            raise RemoteProtocolError(msg)

    def _skip_option(self, number: int, length: int, out: list[bytes]) -> None:
        """Refuse an option that is too long; discard its data when it arrives."""
        self._count_option()
        if number == Option.EXPORT_NAME or length > self._limits.option_skip:
            msg = f"option {number} declares {length} bytes"
            raise RemoteProtocolError(msg)
        del self._buffer[: m.OPTION.size]
        self._skip = length
        out.append(self._options.too_big(number, length))
