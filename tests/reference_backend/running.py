"""A server in this process, on a short Unix socket path, for tests of its internals."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reference_backend.nbd.settings import Device
from reference_backend.server import Server
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

SIZE = 80 << 20


def volume(size: int = SIZE) -> Volume:
    """Return an empty volume in memory."""
    return Volume(MemoryStore(size), "vol")


@contextlib.contextmanager
def running(device: Device | None = None, **options: object) -> Iterator[Server]:
    """Run a server with one volume named "vol"."""
    directory = Path(tempfile.mkdtemp(prefix="q"))
    server = Server({"vol": device or volume()}, directory / "s", **options)  # type: ignore[arg-type]
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def wait_until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.005)
