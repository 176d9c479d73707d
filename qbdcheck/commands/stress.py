"""``./check --probe FILE --stress``: what a target does under many connections and deep queues.

Each trial has a few seconds and says what it saw. Wrong data, a lost reply or a dead server is
WRONG; a limit that the target keeps to is not. The trials find no bug that the cases do not find:
they tell whether the target shows its races here at all (docs/targets.md, "Sharpen a profile").
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from blockio.layers import Command
from qbdcheck.clock import now_s
from qbdcheck.errors import NotRun
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError

TRIAL_S = 5.0
"""Seconds after which a trial begins nothing new; four trials stay below 20 s."""
_REPLY_S = 4.0
"""Seconds within which a server must answer."""
_BLOCK = 4096
_MOST_CONNECTIONS = 128
_DEPTHS = (1, 16, 64, 256)
_VOLUME = "16M"
_IN_FLIGHT = 4 << 20
"""Most bytes in flight. Replies are read after the last request: a server may stop reading when the
socket is full of its replies."""


def connections(session: TargetSession) -> str:
    """Open more and more connections, and send a request on each at the same time.

    :raise AssertionError: a reply is missing or wrong.
    """
    disk, deadline_s = session.new_disk(_VOLUME), now_s() + TRIAL_S
    expected = disk.shadow.expected(0, disk.size)
    clients: list[Client] = []
    refused = ""
    while len(clients) < _MOST_CONNECTIONS and now_s() < deadline_s:
        try:
            clients.append(_client(disk))
        except HANDSHAKE_ERRORS as error:
            refused = f"; number {len(clients) + 1} was refused: {error}"
            break
        except NotRun as error:  # the probe has found out how many it serves
            refused = f"; {error}"
            break
    assert clients, f"not one connection{refused}"
    block = _block(clients[0])
    with contextlib.ExitStack() as sockets:
        sent = []
        for number, client in enumerate(clients):
            sockets.callback(client.sock.close)
            sent.append(client.send_request(Command.READ, number * block, block))
        for number, (client, cookie) in enumerate(zip(clients, sent, strict=True)):
            at = number * block
            what = f"connection {number + 1} of {len(clients)}, READ of {block} bytes at {at}"
            _must_be(client, cookie, expected[at : at + block], what)
    return f"{len(clients)} at once, each was served{refused}"


def queues(session: TargetSession) -> str:
    """Write and read with more and more requests in flight on one connection.

    :raise AssertionError: a reply is missing, or data is wrong.
    """
    disk, deadline_s = session.new_disk(_VOLUME), now_s() + TRIAL_S
    seen = []
    with _client(disk) as client:
        block = _block(client)
        for depth in _DEPTHS:
            if now_s() > deadline_s or depth * block > _IN_FLIGHT:
                break
            started_s = now_s()
            late = _write_and_read(disk, client, depth, block)
            took_ms = (now_s() - started_s) * 1000
            order = f"{late} replies overtook others" if late else "replies in order"
            seen.append(f"{depth} in flight: {order}, {took_ms:.0f} ms")
    return "; ".join(seen)


def _write_and_read(disk: Disk, client: Client, depth: int, block: int) -> int:
    """Write and read `depth` blocks in flight; return how many replies overtook another."""
    late = 0
    for command in (Command.WRITE, Command.READ):
        sent: dict[int, tuple[int, bytes]] = {}
        for number in range(depth):
            at = number * block
            data = disk.shadow.stamped(at, block) if command is Command.WRITE else b""
            cookie = client.send_request(command, at, block, payload=data)
            sent[cookie] = at, data
        waiting = list(sent)
        while waiting:
            reply = client.receive_reply()
            at, data = sent[reply.cookie]
            what = f"{command.name} of {block} bytes at offset {at}, {depth} in flight"
            assert not reply.error, f"{what}: errno {reply.error}"
            late += reply.cookie != waiting[0]
            waiting.remove(reply.cookie)
            if command is Command.WRITE:
                disk.shadow.write(at, data)
            else:
                findings = disk.shadow.check(at, bytes(reply.data), block)
                assert not findings, f"{what}: {findings[0]}"
    return late


def limits(session: TargetSession) -> str:
    """Write and read at the advertised minimum and maximum, at the end, and one step beyond.

    :raise AssertionError: a request within the limits fails, or data is wrong.
    """
    with _client(session.new_disk(1 << 20)) as client:
        minimum, _, maximum = client.block_sizes or (1, _BLOCK, 32 << 20)
    longest = min(maximum, 32 << 20) // minimum * minimum
    disk = session.new_disk(max(2 * longest, 16 << 20), prefill=False)
    with _client(disk) as client:
        for length in (minimum, longest):
            for at in (0, (disk.size - length) // minimum * minimum):
                data = disk.shadow.stamped(at, length)
                client.call(Command.WRITE, at, length, payload=data)
                got = bytes(client.call(Command.READ, at, length).data)
                what = f"READ of {length} bytes at offset {at}"
                assert got == data, f"{what}: it is not what was written there"
    return f"{minimum} to {longest} bytes, at the start and at the end; {_beyond(disk)}"


def _beyond(disk: Disk) -> str:
    """Return what a read across the end gives; the server must live on."""
    client = _client(disk)
    block = _block(client)
    with contextlib.closing(client.sock):
        try:
            client.call(Command.READ, disk.size - block, 2 * block)
            seen = "was ANSWERED: is there slack behind the volume?"
        except NbdError as error:
            seen = f"was refused ({error.strerror})"
        except HANDSHAKE_ERRORS:
            seen = "ended the connection"
    with _client(disk) as again:
        again.call(Command.READ, 0, block)
    return f"a read across the end {seen}"


def through_qemu(session: TargetSession) -> str:
    """Write and read with 64 requests of qemu-io in flight.

    :raise AssertionError: data is wrong.
    """
    disk, started_s = session.new_disk(_VOLUME), now_s()
    with session.qemu_io(disk) as io:
        for number in range(64):
            io.aio_write(number * 65536, 65536)
        io.drain()
        for number in range(64):
            io.aio_read(number * 65536, 65536)
        io.drain()
    disk.verify()
    return f"64 writes and reads of 64 KiB in flight, {(now_s() - started_s) * 1000:.0f} ms"


def _client(disk: Disk) -> Client:
    """Connect; each answer must come within `_REPLY_S`."""
    return Client.connect(disk.uri, timeout_s=_REPLY_S)


def _block(client: Client) -> int:
    """Return 4096, or the minimum block size if that is larger, in bytes."""
    return max(_BLOCK, client.block_sizes[0] if client.block_sizes else 1)


def _must_be(client: Client, cookie: int, right: bytes, what: str) -> None:
    try:
        reply = client.receive_reply(cookie)
    except OSError as error:
        raise AssertionError(f"{what}: {error}") from None
    assert not reply.error, f"{what}: errno {reply.error}"
    assert bytes(reply.data) == right, f"{what}: wrong data"


TRIALS: Mapping[str, tuple[bool, Callable[[TargetSession], str]]] = {
    "stress: connections": (True, connections),
    "stress: queues": (True, queues),
    "stress: limits": (True, limits),
    "stress: QEMU": (False, through_qemu),
}
"""Each trial by its title, and whether it needs a raw NBD client."""
