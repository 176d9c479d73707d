"""The raw NBD client on a disk whose contents are known: writes are stamped, reads are judged.

`NbdIo` is for NBD what `qbdcheck.targets.disk_io.DiskIo` is for qemu-io. It reports each request
to the shadow automatically, so a case cannot forget it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from blockio.layers import Command, CommandFlag
from oracles.damage import Damage
from oracles.damage import error as outcome
from oracles.finding import Finding, Findings
from oracles.shadow import Shadow
from oracles.stamps import Data
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.expectations import errno_name, wrong_errno
from qbdcheck.programs.requests_sent import OK, Sent, note
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import judge
from qbdcheck.targets.second_read import ReadAgain
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client
from reference_backend.nbd.client_replies import Reply
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError

CLOSED = -1
"""Returned in place of an errno: the server closed the connection."""
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_Act = Callable[[], None]


class RequestFailed(NbdError):  # noqa: N818  # as IoFailed of qemu-io
    """The server answered a request with an error; ``request`` describes the request.

    :ivar findings: the error; who knows of damaged data beside it adds that.
    """

    def __init__(self, request: str, error: NbdError) -> None:
        super().__init__(error.errno or 0, error.strerror or "", error.offset)
        self.request = request
        wrong = Finding(Damage.ERROR, expected=outcome(0), seen=outcome(self.errno or 0))
        self.findings = Findings([replace(wrong, remark=str(self))])

    def __str__(self) -> str:
        return f"{self.request} failed: {self.strerror} (errno {self.errno})"


class RequestLost(ConnectionError):  # noqa: N818
    """A request has no reply: the connection ended, or the time limit passed (`RequestHangs`)."""


class RequestHangs(RequestLost, TimeoutError):  # noqa: N818  # as RequestLost
    """A request has no reply within the time limit."""


def _lost(request: object, error: OSError | EOFError) -> RequestLost:
    """Return the error of a request without a reply: the connection has ended, or it hangs."""
    if isinstance(error, TimeoutError):
        return RequestHangs(f"{request}: no reply within the time limit")
    if isinstance(error, ConnectionError | EOFError):
        return RequestLost(f"{request}: the server ended the connection without a reply")
    return RequestLost(f"{request}: {error.strerror or error}")


@dataclass(frozen=True)
class _Sent:
    """A request, the data that it writes, and the name of the connection."""

    command: int
    offset: int
    length: int
    flags: int
    data: bytes
    client: str

    def overlaps(self, other: _Sent) -> bool:
        """Return whether the result of one of the two depends on the other."""
        together = self.offset < other.offset + other.length
        together = together and other.offset < self.offset + self.length
        return together and (self.command in _CHANGES or other.command in _CHANGES)

    def report(self, shadow: Shadow, *, maybe: bool) -> None:
        """Report the change to the shadow; ``maybe``: the sectors are old or new from now on."""
        if self.length == 0 or self.command not in _CHANGES:
            return
        fua = bool(self.flags & CommandFlag.FUA) and not maybe
        if self.command == Command.TRIM:
            shadow.discard(self.offset, self.length)
        elif self.command == Command.WRITE_ZEROES:
            shadow.zero(self.offset, self.length, fua=fua, maybe=maybe)
        elif maybe:
            shadow.maybe_write(self.offset, self.data)
        else:
            shadow.write(self.offset, self.data, fua=fua)

    def __str__(self) -> str:
        return f"{describe(self.command, self.offset, self.length, self.flags)} on {self.client}"


def describe(command: int, offset: int = 0, length: int = 0, flags: int = 0) -> str:
    """Return a request in words: ``WRITE of 512 bytes at 4096 (FUA)``."""
    known = command in list(Command)
    name = Command(command).name if known else f"command {command}"
    text = name if command == Command.FLUSH else f"{name} of {length} bytes at {offset}"
    return f"{text} ({flag_names(flags)})" if flags else text


def flag_names(flags: int) -> str:
    """Return the names of command flags: ``FUA, NO_HOLE``; unknown bits as a number."""
    names = [flag.name or "" for flag in CommandFlag if flag & flags]
    rest = flags & ~sum(CommandFlag)
    return ", ".join([*names, hex(rest)] if rest else names)


class NbdIo:
    """An NBD client whose writes the shadow follows. All offsets and lengths are in bytes.

    What the shadow expects after a change: the new contents if the request succeeded; the old or
    the new contents if it failed, if its reply never came, or while it is in flight.

    :param client: connected, in the transmission phase; for all that breaks rules use it directly.
    :param shadow: of the disk behind the export.
    :param name: how messages call the connection.
    :param again: reads what was wrong again, as `Disk.again`.
    """

    def __init__(
        self,
        client: Client,
        shadow: Shadow,
        name: str = "the NBD connection",
        again: ReadAgain | None = None,
    ) -> None:
        self.client = client
        self.name = name
        self._expected = shadow
        self._lane = shadow.history.new_lane("NBD connection")
        self._again = again
        self._in_flight: dict[int, _Sent] = {}
        self._noted: dict[int, Sent] = {}

    @property
    def _shadow(self) -> Shadow:
        """The shadow; what it records next is of this connection."""
        self._expected.history.lane = self._lane
        return self._expected

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection by DISC. Requests still in flight are old or new from now on."""
        self._in_flight.clear()
        self.client.close()

    # What the export offers ----------------------------------------------------------------------

    @property
    def block_sizes(self) -> tuple[int, int, int]:
        """Minimum, preferred and maximum; 1, 4096 and 2^32-1 where the server advertises none."""
        return self.client.block_sizes or (1, 4096, 0xFFFFFFFF)

    def offers(self, flag: TransmissionFlag) -> bool:
        """Return whether the export has a transmission flag, such as ``SEND_TRIM``."""
        return bool(self.client.flags & flag)

    # One at a time -------------------------------------------------------------------------------

    def write(
        self, offset: int, length: int, flags: int = 0, *, data: bytes | None = None
    ) -> bytes:
        """Write stamped data, or ``data``; return what was written.

        :raise RequestFailed: the server answers with an error. :raise RequestLost: there is no
            answer. In both cases the sectors are old or new from now on.
        """
        sent = self._made(Command.WRITE, offset, length, flags, data)
        self._change(sent, lambda: self.client.write(offset, sent.data, flags))
        return sent.data

    def write_zeroes(self, offset: int, length: int, flags: int = 0) -> None:
        """Write zeroes. Raises as `write` does."""
        sent = self._made(Command.WRITE_ZEROES, offset, length, flags)
        self._change(sent, lambda: self.client.write_zeroes(offset, length, flags))

    def discard(self, offset: int, length: int, flags: int = 0) -> None:
        """Discard (TRIM): the range is as it was, or zeroes. Raises as `write` does."""
        sent = self._made(Command.TRIM, offset, length, flags)
        self._change(sent, lambda: self.client.trim(offset, length, flags))

    def flush(self, flags: int = 0) -> None:
        """Flush: what was acknowledged is durable. Raises as `write` does.

        Where the export does not offer FLUSH, no request is sent and nothing becomes durable.
        """
        if not self.offers(TransmissionFlag.SEND_FLUSH):
            return
        sent = self._made(Command.FLUSH, 0, 0, flags)
        self._ask(sent, lambda: self.client.flush(flags))
        self._shadow.flush()

    def read(self, offset: int, length: int, flags: int = 0) -> bytes:
        """Read, compare with the shadow, and return the bytes.

        :raise RequestFailed: the server answers with an error. :raise RequestLost: there is no
            answer. :raise WrongData: the bytes are none of the permitted contents.
        """
        sent = self._made(Command.READ, offset, length, flags)
        data = b""

        def read() -> None:
            nonlocal data
            data = bytes(self.client.read(offset, length, flags))

        self._ask(sent, read)
        self._judge(sent, data)
        return data

    def attempt(
        self,
        command: int,
        offset: int,
        length: int,
        flags: int = 0,
        *,
        data: bytes | None = None,
    ) -> int:
        """Send a request that may be refused; return 0, the errno, or `CLOSED`.

        After success the change must be there; after an error or a lost connection nothing of the
        request may be there. A write carries stamped data, or ``data``.

        :raise RequestLost: there is no answer within the time limit.
        """
        sent = self._made(command, offset, length, flags, data)
        noted = note(str(sent))
        try:
            self.client.call(command, offset, length, flags=flags, payload=sent.data)
        except NbdError as error:
            noted.result = OK  # an error is an answer: the server lived
            return error.errno or 0
        except TimeoutError:
            raise RequestHangs(f"{sent}: no reply within the time limit") from None
        except (OSError, EOFError):
            return CLOSED
        noted.result = OK
        sent.report(self._shadow, maybe=False)
        return 0

    def must_refuse(
        self,
        command: int,
        offset: int,
        length: int,
        flags: int = 0,
        *,
        data: bytes | None = None,
        errnos: Sequence[int] = (),
    ) -> int:
        """Send a request that the server must refuse; return the errno, or `CLOSED`.

        The shadow expects no change. A write carries zeroes, or ``data``.

        :param errnos: the errnos that are allowed; by default any, and a closed connection.
        :raise WrongAnswer: the request succeeds, or fails with another errno.
        :raise RequestLost: the server closes the connection, though ``errnos`` are given.
        """
        payload = data if data is not None else bytes(length if command == Command.WRITE else 0)
        sent = _Sent(command, offset, length, flags, payload, self.name)
        noted = note(str(sent))
        try:
            self.client.call(command, offset, length, flags=flags, payload=payload)
        except NbdError as error:
            noted.result = OK
            number = error.errno or 0
        except TimeoutError:
            raise RequestHangs(f"{sent}: no reply within the time limit") from None
        except (OSError, EOFError):
            number = CLOSED
        else:
            raise wrong_errno(str(sent), 0, *errnos)
        if errnos and number == CLOSED:
            wanted = " or ".join(map(errno_name, errnos))
            raise RequestLost(f"{sent}: expected {wanted}, but the server closed the connection")
        if errnos and number not in errnos:
            raise wrong_errno(str(sent), number, *errnos)
        return number

    # In flight together --------------------------------------------------------------------------

    def send(
        self,
        command: int,
        offset: int = 0,
        length: int = 0,
        flags: int = 0,
        *,
        data: bytes | None = None,
    ) -> int:
        """Send a request without waiting; return its cookie, for `finish`.

        :raise CaseBroken: it overlaps a request in flight here, so that the result depends on the
            order. The dual write and the model judge such requests.
        """
        sent = self._made(command, offset, length, flags, data)
        for other in self._in_flight.values():
            if sent.overlaps(other):
                raise CaseBroken(f"{sent} overlaps {other}, which is in flight")
        sent.report(self._shadow, maybe=True)
        noted = note(str(sent))
        try:
            cookie = self.client.send_request(
                command, offset, length, flags=flags, payload=sent.data
            )
        except (OSError, EOFError) as error:
            raise _lost(sent, error) from None
        self._in_flight[cookie] = sent
        self._noted[cookie] = noted
        return cookie

    def finish(self, cookie: int | None = None) -> Reply:
        """Wait for the reply to ``cookie``, or for the next one; judge a read; return the reply.

        :raise RequestFailed: the reply is an error. :raise RequestLost: there is no reply.
            :raise WrongData: a read returned what is not permitted.
        """
        waiting = [self._in_flight[cookie]] if cookie else list(self._in_flight.values())
        try:
            reply = self.client.receive_reply(cookie)
        except (OSError, EOFError) as error:
            raise _lost(waiting[0], error) from None
        sent = self._in_flight.pop(reply.cookie, None)
        if sent is not None:
            self._noted.pop(reply.cookie).result = OK
        if sent is None:
            raise AssertionError(f"a reply to cookie {reply.cookie:#x}, which is not in flight")
        if reply.error:
            raise RequestFailed(str(sent), NbdError(reply.error, reply.message))
        sent.report(self._shadow, maybe=False)
        if sent.command == Command.READ:
            self._judge(sent, bytes(reply.data))
        elif sent.command == Command.FLUSH:
            self._shadow.flush()
        return reply

    def finish_all(self) -> None:
        """Wait for the replies to all requests in flight. Raises as `finish` does."""
        while self._in_flight:
            self.finish()

    @property
    def in_flight(self) -> int:
        """Number of requests without a reply."""
        return len(self._in_flight)

    # Inside --------------------------------------------------------------------------------------

    def _made(
        self, command: int, offset: int, length: int, flags: int, data: bytes | None = None
    ) -> _Sent:
        if command == Command.WRITE and data is None:
            data = self._shadow.stamped(offset, length)
        return _Sent(command, offset, length, flags, data or b"", self.name)

    def _change(self, sent: _Sent, act: _Act) -> None:
        try:
            self._ask(sent, act)
        except (RequestFailed, RequestLost):
            sent.report(self._shadow, maybe=True)
            raise
        sent.report(self._shadow, maybe=False)

    @staticmethod
    def _ask(sent: _Sent, act: _Act) -> None:
        noted = note(str(sent))
        try:
            act()
            noted.result = OK
        except NbdError as error:
            noted.result = OK  # an error is an answer: the server lived
            raise RequestFailed(str(sent), error) from None
        except (OSError, EOFError) as error:
            raise _lost(sent, error) from None

    def _judge(self, sent: _Sent, data: Data) -> None:
        same = None if self._in_flight else self.client.read
        judge(self._shadow, sent.offset, data, str(sent), again=self._again, same=same)


def minimum_block(disk: Disk) -> int:
    """Return the minimum block that the server advertises, in bytes; 1 without a server or value.

    :raise OptionRefused: the server refuses the export.
    """
    if disk.backend.uri is None:
        return 1
    with Client.connect(disk.uri) as client:
        return client.block_sizes[0] if client.block_sizes else 1


def connect(
    session: TargetSession, disk: Disk | str, shadow: Shadow | None = None, **options: Any
) -> NbdIo:
    """Connect to a disk, or to a URI behind which a disk lies.

    :param shadow: of that disk; by default that of ``disk``.
    :param options: of `TargetSession.nbd`.
    :raise CaseBroken: a URI without a shadow. :raise NotRun: the target has no NBD URI.
    """
    if isinstance(disk, Disk):
        shadow = shadow or disk.shadow
    elif shadow is None:
        raise CaseBroken(f"nbd_io({disk!r}): a URI needs shadow=")
    name = disk.name if isinstance(disk, Disk) else disk
    again = disk.again if isinstance(disk, Disk) else None
    return NbdIo(session.nbd(disk, **options), shadow, f"the connection to {name}", again)
