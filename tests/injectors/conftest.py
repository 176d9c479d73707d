"""A small honest disk, and a layer of rules above it."""

import errno

import pytest

from blockio.errors import BlockError
from blockio.layers import Command, Reply, Request
from injectors.layer import create

SIZE = 1 << 16


class Disk:
    """The bottom: honest, and remembers what was asked of it."""

    def __init__(self):
        self.data = bytearray(SIZE)
        self.asked = []

    def __call__(self, request):
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
    """A layer with rules over a disk, asked as a client asks."""

    def __init__(self, rules, seed=0):
        self.disk = Disk()
        self.layer = create(f"rules: [{rules}]", seed=seed)

    def send(self, command, offset=0, length=512, *, flags=0, payload=b"", connection=1):
        request = Request(command, flags, offset, length, 1, payload, connection)
        return self.layer.handle(request, self.disk)

    def read(self, offset=0, length=512):
        return self.send(Command.READ, offset, length)

    def write(self, data, offset=0, flags=0):
        return self.send(Command.WRITE, offset, len(data), flags=flags, payload=data)

    def flush(self):
        return self.send(Command.FLUSH, length=0)

    @property
    def commands_seen(self):
        return [name for name, *_ in self.disk.asked]

    @property
    def fired(self):
        return [rule["fired"] for rule in self.layer.describe()["rules"]]


@pytest.fixture(scope="session")
def faulty():
    """Return a stack with the rules of a YAML flow sequence, without its brackets."""
    return Stack
