"""What a request costs the server: its CPU time, which a busy machine changes little.

A case judges how the cost *grows*, never how large it is: a slow backend is not wrong, and a cost
that grows with the size of a volume makes large volumes unusable.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

import psutil

from blockio.layers import Command
from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.machine_speed import THIS, StarvedError
from qbdcheck.programs.cpu_time import tree_s
from qbdcheck.targets.disk import Disk
from reference_backend.client import Client

BLOCK = 4096
DEPTH = 8
"""Requests in flight on one connection."""
_BATCH = 240
_STARVED = 2.0
"""CPU time grows at most by this factor because others use the caches and the cores."""
_BATCHES = 5


def places(size: int, count: int, block: int = BLOCK) -> list[int]:
    """Return ``count`` offsets in bytes, spread evenly over a volume, aligned to a block."""
    step = max((size - block) // max(count - 1, 1) // block * block, block)
    return [step * number for number in range(count) if step * number <= size - block]


def used_cpu_s(disk: Disk) -> float:
    """Return the CPU seconds that the server of a disk has used since its start.

    :raise NotRun: the target has no server of its own.
    """
    return tree_s([_pid(disk)])


def resident_bytes(disk: Disk) -> int:
    """Return the bytes of memory that the server of a disk occupies, with its children.

    :raise NotRun: the target has no server of its own.
    """
    server = psutil.Process(_pid(disk))
    return sum(one.memory_info().rss for one in (server, *server.children(recursive=True)))


def _pid(disk: Disk) -> int:
    try:
        return disk.backend.pid
    except CaseBroken:
        raise NotRun("the target has no server whose CPU time can be measured") from None


def costs_us(
    disk: Disk,
    clients: Sequence[Client],
    command: Command,
    offsets: Sequence[int],
    *,
    batches: int = _BATCHES,
    batch: int = _BATCH,
    depth: int = DEPTH,
) -> list[float]:
    """Return the CPU time of the server per request in microseconds, once for each batch.

    One batch comes before them, so that what is done only once is not counted.

    :param clients: take the requests in turn, each with ``depth`` in flight.
    :param offsets: used in turn.
    :raise NotRun: the target has no server of its own.
    :raise CaseBroken: the server used no CPU time, so it is not the one that answers.
    """
    turns = cycle(offsets)
    found = []
    for number in range(batches + 1):
        before_s = used_cpu_s(disk)
        _requests(clients, command, list(islice(turns, batch)), depth)
        used_s = used_cpu_s(disk) - before_s
        if number:
            found.append(used_s / batch * 1e6)
    if not any(found):
        raise CaseBroken("the server used no CPU time: another process answers")
    return found


def cost_us(disk: Disk, client: Client, command: Command, offsets: Sequence[int]) -> float:
    """Return the lowest of `costs_us` for one connection: what others disturbed is left out."""
    return min(costs_us(disk, [client], command, offsets))


def must_not_grow(few: float, many: float, factor: float, what: str) -> None:
    """Check that a cost has not grown by more than a factor.

    :param few: microseconds at first, :param many: and later.
    :raise StarvedError: it has, and the machine was so starved that this may be the reason.
    :raise AssertionError: it has.
    """
    text = f"{what}: {few:.1f} us of CPU time per request at first, {many:.1f} us later"
    if many <= few * factor:
        return
    load = THIS.recent()
    if load.is_starved and many <= few * factor * _STARVED:
        raise StarvedError(text, load)
    raise AssertionError(f"{text}; at most {factor:g} times as much is expected")


def _requests(
    clients: Sequence[Client], command: Command, offsets: Sequence[int], depth: int
) -> None:
    data = b"q" * BLOCK if command is Command.WRITE else b""
    window = depth * len(clients)
    for start in range(0, len(offsets), window):
        part = offsets[start : start + window]
        sent = []
        for number, offset in enumerate(part):
            client = clients[number % len(clients)]
            sent.append((client, client.send_request(command, offset, BLOCK, payload=data)))
        for client, cookie in sent:
            reply = client.receive_reply(cookie)
            assert not reply.error, f"{command.name}: errno {reply.error}"
