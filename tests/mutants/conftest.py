"""A real server with one mutant in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from qemu.qmp import QMPClient

from mutants.catalogue import catalogue, layer_argument
from reference_backend.client import Client
from tests.reference_backend.cli_server import ServerProcess

Serve = Callable[..., AbstractContextManager[ServerProcess]]
MIB = 1 << 20


class Server(ServerProcess):
    """A server whose clients negotiate block status."""

    def connect(self, export: str = "") -> Client:
        """Return a connected NBD client."""
        return Client.connect(str(self.socket), export, contexts=["base:allocation"])


def control(server: ServerProcess, command: str, **arguments: object) -> Any:
    """Carry out a command of the control socket, and return its result."""

    async def run() -> object:
        client = QMPClient("test")
        await client.connect(str(server.control))
        try:
            return await client.execute(command, arguments)
        finally:
            await client.disconnect()

    return asyncio.run(run())


def cut(server: ServerProcess, seed: int) -> None:
    """Cut the power of all volumes."""
    control(server, "power-cut", seed=seed)


@pytest.fixture
def serve() -> Serve:
    """Return a function that serves the volume "v" of 4 MiB with a mutant that always strikes."""

    @contextlib.contextmanager
    def server(mutant: str, *arguments: str, size: int = 4 * MIB) -> Iterator[ServerProcess]:
        known = catalogue()[mutant]
        layer = layer_argument(known) + (":rate=1" if "rate" in known.takes else "")
        defaults = ["--memory", str(size), "--export-name", "v", "--layer", layer]
        with Server(*defaults, *arguments) as process:
            yield process

    return server
