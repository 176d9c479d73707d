"""A real server with one mutant in it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import ExecuteError, QMPClient

from mutants import clock
from mutants.catalogue import catalogue, layer_argument
from reference_backend.client import Client
from tests.reference_backend.cli_server import ServerProcess

Serve = Callable[..., AbstractContextManager[ServerProcess]]
MIB = 1 << 20


class Clock:
    """The clock of the mutants, also in a server: it stands still unless a test moves it."""

    def __init__(self, path: Path) -> None:
        self._path, self._now_s = path, 1000.0
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Move the clock forwards."""
        self._now_s += seconds
        new = self._path.with_suffix(".new")
        new.write_text(repr(self._now_s), "ascii")
        new.replace(self._path)  # a server never reads half a number


@pytest.fixture(autouse=True, name="clock")
def fixed_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that all mutants of the test go by."""
    monkeypatch.setenv(clock.VARIABLE, str(tmp_path / "clock"))
    return Clock(tmp_path / "clock")


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


def remove(server: ServerProcess, name: str) -> None:
    """Remove a volume or snapshot, also if the server still has to notice that clients left."""
    for _ in range(200):
        with contextlib.suppress(ExecuteError):
            control(server, "volume-remove", name=name)
            return
        time.sleep(0.02)
    control(server, "volume-remove", name=name)


def wait_for_clients(server: ServerProcess, count: int) -> None:
    """Wait until the server has noticed the end of all connections but these."""
    for _ in range(1000):
        if control(server, "query-stats")["connections"] == count:
            return
        time.sleep(0.02)
    pytest.fail(f"the server still has more than {count} connections")


def together(
    server: ServerProcess,
    *acts: Callable[[Client, int], object],
    until: Sequence[object] | None = None,
) -> None:
    """Carry out acts at the same time on connections of their own; the number is that of the turn.

    :param until: there are 50 turns, and more until one of these is true, but at most 2000: whether
        two threads meet is chance. Without it there are 50 turns.
    """

    def run(act: Callable[[Client, int], object]) -> None:
        with server.connect("v") as nbd:
            for turn in range(50 if until is None else 2000):
                if turn >= 50 and any(until or ()):
                    return
                act(nbd, turn)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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
