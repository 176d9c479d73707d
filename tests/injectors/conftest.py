"""A small, correct disk, and a layer of rules above it."""

from __future__ import annotations

import errno

import pytest

from blockio.errors import BlockError
from blockio.layers import Command, Reply, Request
from injectors.error import Error
from injectors.layer import create
from injectors.rules.model import Rule

SIZE = 1 << 16


class Disk:
    """A correct disk that records the requests that it gets."""

    def __init__(self) -> None:
        self.data = bytearray(SIZE)
        self.asked: list[tuple[str, int, int, int]] = []

    def __call__(self, request: Request) -> Reply:
        self.asked.append((request.command.name, request.offset, request.length, request.flags))
        stop = request.offset + request.length
        if request.offset < 0 or stop > SIZE:
            raise BlockError(errno.EINVAL)
        if request.command is Command.READ:
            return Reply(data=bytes(self.data[request.offset : stop]))
        if request.command is Command.WRITE:
            self.data[request.offset : stop] = request.payload
        elif request.command is not Command.FLUSH:
            self.data[request.offset : stop] = bytes(request.length)
        return Reply()


class Stack:
    """A layer with rules above a disk."""

    def __init__(self, rules: str, seed: int = 0) -> None:
        self.disk = Disk()
        self.layer = create(f"rules: [{rules}]", seed=seed)

    def send(
        self,
        command: Command,
        offset: int = 0,
        length: int = 512,
        *,
        flags: int = 0,
        payload: bytes = b"",
        connection: int = 1,
    ) -> Reply:
        request = Request(command, flags, offset, length, 1, payload, connection)
        return self.layer.handle(request, self.disk)

    def read(self, offset: int = 0, length: int = 512) -> Reply:
        return self.send(Command.READ, offset, length)

    def write(self, data: bytes, offset: int = 0, flags: int = 0) -> Reply:
        return self.send(Command.WRITE, offset, len(data), flags=flags, payload=data)

    def flush(self) -> Reply:
        return self.send(Command.FLUSH, length=0)

    @property
    def commands_seen(self) -> list[str]:
        return [name for name, *_ in self.disk.asked]

    @property
    def fired(self) -> list[int]:
        return [rule["fired"] for rule in self.layer.describe()["rules"]]


def on_wire(reply: Reply, raw: bytes) -> tuple[bytes, bool]:
    """Return what is sent for an encoded reply, and whether the connection stays open."""
    assert reply.on_wire is not None
    return reply.on_wire(raw)


def errno_of(rule: Rule) -> int:
    """Return the errno of a rule of action error."""
    assert isinstance(rule.fault, Error)
    return rule.fault.errno


@pytest.fixture(scope="session")
def faulty() -> type[Stack]:
    """Return the class of stacks; its argument is a YAML list of rules without brackets."""
    return Stack
