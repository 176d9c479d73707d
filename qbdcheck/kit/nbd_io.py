"""The raw NBD client on a disk whose contents are known: writes are stamped, reads are judged.

`NbdIo` is for NBD what `qbdcheck.targets.disk_io.DiskIo` is for qemu-io. It reports each request
to the shadow automatically, so a case cannot forget it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet

from blockio.layers import Command, CommandFlag
from oracles.shadow import Shadow
from oracles.stamps import Data
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.expectations import errno_name, recommended, wrong_errno
from qbdcheck.kit.nbd_requests import in_blocks
from qbdcheck.kit.request_errors import RequestFailed, RequestHangs, RequestLost, lost
from qbdcheck.kit.sent_request import SentRequest, laid_over
from qbdcheck.programs.requests_sent import OK, Sent, belongs
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import judge
from qbdcheck.targets.second_read import ReadAgain
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client
from reference_backend.nbd.client_replies import Reply
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError

TOO_LONG = (errno.EINVAL, errno.EOVERFLOW)
"""Answers to a command without payload beyond the maximum ("Block size constraints")."""
_DEFAULT_SIZES = 1, 4096, 32 << 20  # longer payloads may end the connection
CLOSED = -errno.ECONNRESET
"""Returned in place of an errno: the server closed the connection."""
_Act = Callable[[], None]
_U32 = 0xFFFFFFFF
"""The longest request without extended headers, in bytes."""
_COARSE, _UNREAD = 4096, 65536
"""With a minimum block above the first, fewer bytes of reads than the second are left unread while
a long payload is sent; all in bytes."""


_OPEN: WeakKeyDictionary[Shadow, WeakSet[NbdIo]] = WeakKeyDictionary()
"""The connections to each disk."""


class NbdIo:
    """An NBD client whose writes the shadow follows. All offsets and lengths are in bytes.

    It keeps to the minimum block, as QEMU does: where a request is not aligned to it, the whole
    blocks are read, written, zeroed or discarded, and the shadow follows that. Requests that are to
    be in flight together, and overlap only because of this, wait for each other. A request that
    breaks the rule on purpose is ``exact``.

    What the shadow expects after a change: the new contents if the request succeeded; the old or
    the new contents if it failed, if its reply never came, or while it is in flight.

    :param client: connected, in the transmission phase; for all that breaks rules use it directly.
    :param shadow: of the disk behind the export.
    :param name: how messages call the connection.
    :param again: reads what was wrong again, as `Disk.again`.
    :param sizes: the minimum, preferred and maximum block if the handshake does not tell them.
    """

    def __init__(
        self,
        client: Client,
        shadow: Shadow,
        name: str = "the NBD connection",
        again: ReadAgain | None = None,
        sizes: tuple[int, int, int] | None = None,
    ) -> None:
        self.client = client
        self.name = name
        self._sizes = client.block_sizes or sizes
        self._expected = shadow
        self.history = shadow.history
        self._lane = shadow.history.new_lane("NBD connection")
        belongs(client, shadow.history, self._lane)
        self._again = again
        self._is_closed = False
        self._ended: SentRequest | None = None
        """The request at which the server closed the connection, where a case accepted that."""
        self._in_flight: dict[int, SentRequest] = {}
        self._noted: dict[int, Sent] = {}
        self._early: dict[int, Reply | RequestFailed] = {}
        """Replies for which a later request had to wait; `finish` returns them."""
        self._beside = _OPEN.setdefault(shadow, WeakSet())
        self._beside.add(self)

    @property
    def _shadow(self) -> Shadow:
        """The shadow; what it records next is of this connection."""
        self._expected.history.lane = self._lane
        return self._expected

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection by DISC. Requests still in flight are old or new from now on."""
        self._in_flight.clear()
        self._early.clear()
        if not self._is_closed:
            self._is_closed = True
            self._shadow.history.note("close")
        self.client.close()

    # What the export offers ----------------------------------------------------------------------

    @property
    def block_sizes(self) -> tuple[int, int, int]:
        """Minimum, preferred and maximum; the defaults where the server advertises none."""
        return self._sizes or _DEFAULT_SIZES

    @property
    def longest_sure(self) -> int:
        """Bytes of the longest range that no server may refuse for its length alone."""
        minimum, _preferred, maximum = self.block_sizes
        return maximum // minimum * minimum

    def offers(self, flag: TransmissionFlag) -> bool:
        """Return whether the export has a transmission flag, such as ``SEND_TRIM``."""
        return bool(self.client.flags & flag)

    def _offered(self, flags: int) -> int:
        return flags if self.offers(TransmissionFlag.SEND_FUA) else flags & ~CommandFlag.FUA

    # One at a time -------------------------------------------------------------------------------

    def write(
        self, offset: int, length: int, flags: int = 0, *, data: bytes | None = None
    ) -> bytes:
        """Write stamped data, or ``data``; return what was written of the range.

        FUA is left out where the export does not offer it; then the write is not durable.

        :raise RequestFailed: the server answers with an error. :raise RequestLost: there is no
            answer. In both cases the sectors are old or new from now on.
        """
        flags = self._offered(flags)
        sent = self._made(Command.WRITE, offset, length, flags, data)
        self._change(sent, lambda: self.client.write(sent.offset, sent.data, flags))
        return sent.cut(sent.data)

    def write_zeroes(self, offset: int, length: int, flags: int = 0) -> None:
        """Write zeroes, in parts if a long range is refused. FUA and errors as of `write`."""
        flags = self._offered(flags)
        sent = self._made(Command.WRITE_ZEROES, offset, length, flags)
        self._change(sent, lambda: self._in_parts(sent, self.client.write_zeroes, flags))

    def discard(self, offset: int, length: int, flags: int = 0) -> None:
        """Discard (TRIM): the range is as it was, or zeroes. Sent and raises as `write_zeroes`."""
        flags = self._offered(flags)
        sent = self._made(Command.TRIM, offset, length, flags)
        self._change(sent, lambda: self._in_parts(sent, self.client.trim, flags))

    def flush(self, flags: int = 0) -> None:
        """Flush: what was acknowledged is durable. Raises as `write` does.

        Where the export does not offer FLUSH, no request is sent and nothing becomes durable.
        """
        if not self.offers(TransmissionFlag.SEND_FLUSH):
            return
        sent = self._made(Command.FLUSH, 0, 0, flags)
        self._ask(sent, lambda: self.client.flush(flags))
        self._shadow.flush()

    def read(self, offset: int, length: int, flags: int = 0, *, exact: bool = False) -> bytes:
        """Read, compare with the shadow, and return the bytes.

        :param exact: do not widen the request to whole blocks.
        :raise RequestFailed: the server answers with an error. :raise RequestLost: there is no
            answer. :raise WrongData: the bytes are none of the permitted contents.
        """
        sent = self._made(Command.READ, offset, length, flags, exact=exact)
        data = b""

        def read() -> None:
            nonlocal data
            data = bytes(self.client.read(sent.offset, sent.length, flags))

        self._inside(sent)
        self._ask(sent, read)
        self._judge(sent, data)
        return sent.cut(data)

    def attempt(
        self,
        command: int,
        offset: int,
        length: int,
        flags: int = 0,
        *,
        data: bytes | None = None,
        exact: bool = False,
    ) -> int:
        """Send a request that may be refused; return 0, the errno, or `CLOSED`.

        After success the change must be there; after an error or a lost connection nothing of the
        request may be there. A write carries stamped data, or ``data``.

        :param exact: do not widen the request to whole blocks.
        :raise RequestLost: there is no answer within the time limit.
        """
        sent = self._made(command, offset, length, flags, data, exact=exact, limited=True)
        noted = sent.noted(self.history)
        try:
            self.client.call(command, sent.offset, sent.length, flags=flags, payload=sent.data)
        except NbdError as error:
            noted.result = OK  # an error is an answer: the server lived
            return sent.refused(self._shadow.history, error.errno or 0)
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
        may_close: bool = True,
    ) -> int:
        """Send a request that the server must refuse; return the errno, or `CLOSED`.

        The shadow expects no change. A write carries zeroes, or ``data``.

        :param errnos: the errnos that are allowed; by default any, and a closed connection.
        :param may_close: whether a closed connection is right without ``errnos``.
        :raise WrongAnswer: the request succeeds, or fails with another errno.
        :raise RequestLost: the server closes the connection, though it may not, or it closed it at
            an earlier request: this one proves nothing.
        """
        if data is None and command == Command.WRITE:
            data = bytes(length)
        sent = self._made(command, offset, length, flags, data, limited=True)
        if self._ended:
            raise RequestLost(f"{sent}: not sent, because the server closed it at {self._ended}")
        noted = sent.noted(self.history)
        try:
            self.client.call(command, sent.offset, sent.length, flags=flags, payload=sent.data)
        except NbdError as error:
            noted.result = OK
            number = sent.refused(self._shadow.history, error.errno or 0)
        except TimeoutError:
            raise RequestHangs(f"{sent}: no reply within the time limit") from None
        except (OSError, EOFError):
            number, self._ended = CLOSED, sent
        else:
            raise wrong_errno(str(sent), 0, *errnos)
        wanted = " or ".join(map(errno_name, errnos)) or "an error"
        closed = RequestLost(f"{sent}: expected {wanted}, but the server closed the connection")
        if number == CLOSED and (errnos or not may_close):
            if may_close:  # the errno is a SHOULD, and so is an answer
                closed.__dict__["basis"] = ("SHOULD: NBD, Error values",)
            raise closed
        if errnos and number not in errnos:
            with recommended("NBD, Error values"):
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
        """Send a request without waiting, with FUA as `write` does; return its cookie.

        :raise CaseBroken: it overlaps a request in flight here, so that the result depends on the
            order. The dual write and the model judge such requests. Or it ends behind the volume.
        """
        flags = self._offered(flags)
        sent = self._made(command, offset, length, flags, data, limited=True)
        for other in self._in_flight.values():
            if sent.overlaps(other):
                raise CaseBroken(f"{sent} overlaps {other}, which is in flight")
        self._inside(sent)
        # A burst is held back, and its replies are read while it is sent.
        if sent.data and self.block_sizes[0] > _COARSE and not self.client.receives_elsewhere:
            self._read_replies()
        sent.report(self._shadow, maybe=True)
        noted = sent.noted(self.history)
        try:
            cookie = self.client.send_request(
                command, sent.offset, sent.length, flags=flags, payload=sent.data
            )
        except (OSError, EOFError) as error:
            raise lost(sent, error) from None
        self._in_flight[cookie] = sent
        self._noted[cookie] = noted
        return cookie

    def finish(self, cookie: int | None = None) -> Reply:
        """Wait for the reply to ``cookie``, or for the next one; judge a read; return the reply.

        :raise RequestFailed: the reply is an error. :raise RequestLost: there is no reply.
            :raise WrongData: a read returned what is not permitted.
        """
        early = next(iter(self._early), None) if cookie is None else cookie
        if early in self._early:
            answer = self._early.pop(early)
            if isinstance(answer, RequestFailed):
                raise answer
            return answer
        return self._finish(cookie)

    def _finish(self, cookie: int | None) -> Reply:
        waiting = [self._in_flight[cookie]] if cookie else list(self._in_flight.values())
        try:
            reply = self.client.receive_reply(cookie)
        except (OSError, EOFError) as error:
            raise lost(waiting[0], error) from None
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
            if sent.is_widened:
                reply.data = bytearray(sent.cut(bytes(reply.data)))
        elif sent.command == Command.FLUSH:
            self._shadow.flush()
        return reply

    def finish_all(self) -> None:
        """Wait for the replies to all requests in flight. Raises as `finish` does."""
        while self._in_flight or self._early:
            self.finish()

    @property
    def in_flight(self) -> int:
        """Number of requests whose replies `finish` has not returned."""
        return len(self._in_flight) + len(self._early)

    # Inside --------------------------------------------------------------------------------------

    def _made(
        self,
        command: int,
        offset: int,
        length: int,
        flags: int,
        data: bytes | None = None,
        *,
        exact: bool = False,
        limited: bool = False,
    ) -> SentRequest:
        """Return the request in whole blocks; wait for what it overlaps only because of that.

        :param limited: the client does not divide it into parts of the maximum block.
        """
        minimum, _, maximum = self.block_sizes
        start, count = offset, length
        if length and not exact and (offset | length) % minimum:
            longest = maximum if limited and command in {Command.READ, Command.WRITE} else _U32
            start, count = in_blocks(offset, length, minimum, longest, self.client.size)
        if command == Command.WRITE:
            if data is None or count > length:
                whole = self._shadow.stamped(start, count)
                data = whole if data is None else laid_over(whole, offset - start, data)
            data = data[:count]
        sent = SentRequest(command, start, count, flags, data or b"", self.name, (offset, length))
        if minimum > 1:
            self._wait_for_neighbours(sent)
        return sent

    def _wait_for_neighbours(self, sent: SentRequest) -> None:
        """Finish requests in flight that overlap only because requests have whole blocks."""
        for io in list(self._beside):
            io._make_way(sent)  # noqa: SLF001

    def _read_replies(self) -> None:
        """Take long replies off the socket: a server may not read on until they are taken."""
        reads = [cookie for cookie, one in self._in_flight.items() if one.command == Command.READ]
        unread = sum(self._in_flight[cookie].length for cookie in reads)
        while unread > _UNREAD:
            unread -= self._in_flight[reads[0]].length
            self._finish_early(reads.pop(0))

    def _finish_early(self, cookie: int) -> None:
        try:
            self._early[cookie] = self._finish(cookie)
        except RequestFailed as error:
            self._early[cookie] = error

    def _make_way(self, sent: SentRequest) -> None:
        flushes = [
            cookie for cookie, one in self._in_flight.items() if one.command == Command.FLUSH
        ]
        blocking = [
            cookie
            for cookie, other in self._in_flight.items()
            if (sent.is_widened or other.is_widened)
            and sent.overlaps(other)
            and not sent.asks_over(other)
        ]
        # A flush first: it covers no request that ends after it was sent.
        for cookie in [*flushes, *blocking] if blocking else ():
            self._finish_early(cookie)

    def _inside(self, sent: SentRequest) -> None:
        """Refuse a request that is not meant to fail, but must: the case is wrong, not the target.

        :raise CaseBroken: it ends behind the volume.
        """
        size = max(self._expected.size, self.client.size)
        if sent.offset < 0 or sent.offset + sent.length > size:
            raise CaseBroken(f"the case sends {sent} to a volume of {size} bytes")

    def _change(self, sent: SentRequest, act: _Act) -> None:
        self._inside(sent)
        try:
            self._ask(sent, act)
        except (RequestFailed, RequestLost):
            sent.report(self._shadow, maybe=True)
            raise
        sent.report(self._shadow, maybe=False)

    def _in_parts(
        self, sent: SentRequest, ask: Callable[[int, int, int], None], flags: int
    ) -> None:
        try:
            ask(sent.offset, sent.length, flags)
        except NbdError as error:
            part, end = self.longest_sure, sent.offset + sent.length
            if sent.length <= part or error.errno not in TOO_LONG:
                raise
            for at in range(sent.offset, end, part):
                ask(at, min(part, end - at), flags)

    def _ask(self, sent: SentRequest, act: _Act) -> None:
        noted = sent.noted(self.history)
        try:
            act()
            noted.result = OK
        except NbdError as error:
            noted.result = OK  # an error is an answer: the server lived
            raise RequestFailed(str(sent), error) from None
        except (OSError, EOFError) as error:
            raise lost(sent, error) from None

    def _judge(self, sent: SentRequest, data: Data) -> None:
        same = None if self._in_flight else self.client.read
        judge(self._shadow, sent.offset, data, str(sent), again=self._again, same=same)


def minimum_block(disk: Disk) -> int:
    """Return the minimum block that the server advertises, in bytes; 1 without a server or value.

    `NbdIo` and `DiskIo.discard` keep to it by themselves.

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

    :param shadow: by default that of ``disk``. :param options: of `TargetSession.nbd`.
    :raise CaseBroken: a URI without a shadow.
    """
    if isinstance(disk, Disk):
        shadow = shadow or disk.shadow
    elif shadow is None:
        raise CaseBroken(f"nbd_io({disk!r}): a URI needs shadow=")
    name = disk.name if isinstance(disk, Disk) else disk
    again = session.again(disk) if isinstance(disk, Disk) else None
    if isinstance(disk, Disk) and session.needs_export(disk):
        name += ", exported by qemu-storage-daemon"
    sizes = disk.backend.sizes if isinstance(disk, Disk) else None
    return NbdIo(session.nbd(disk, **options), shadow, f"the connection to {name}", again, sizes)
