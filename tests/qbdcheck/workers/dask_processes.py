"""A scheduler and workers of Dask as processes of a test, and a relay that can be cut."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from tests.meta.toys import Toy

START_S = 300.0


class Scheduler:
    """``dask scheduler`` and any number of ``dask worker``; all end with the context."""

    def __init__(self, toy: Toy) -> None:
        self._toy = toy
        self._processes: list[subprocess.Popen[bytes]] = []
        self._relays: list[Relay] = []
        self.address = ""

    def __enter__(self) -> Self:
        file = self._toy.directory / "scheduler.json"
        self._start("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0",
                    "--host", "127.0.0.1", "--scheduler-file", str(file))  # fmt: skip
        deadline_s = time.monotonic() + START_S
        while not file.exists() or '"address"' not in (text := file.read_text()):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        self.address = text.partition('"address": "')[2].partition('"')[0]
        return self

    def __exit__(self, *_: object) -> None:
        for relay in self._relays:
            relay.cut()
        for process in self._processes[::-1]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def worker(self, name: str, address: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker of one thread."""
        return self._start(
            "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--name", name, "--local-directory", str(self._toy.directory), **environment,
        )  # fmt: skip

    def relay(self) -> Relay:
        """Return a way to the scheduler that can be cut."""
        self._relays.append(Relay(int(self.address.rpartition(":")[2])))
        return self._relays[-1]

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self._toy.directory / f"dask-{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments], cwd=self._toy.directory, stdout=log,
                stderr=log, env={**self._toy.environment, **environment}, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process


class Relay:
    """Passes TCP connections on to a port, until it is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and take no more."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


def without_lanes(argv: list[str]) -> list[str]:
    """Return the arguments of a toy's run without ``-j1``, which ``--cluster`` refuses."""
    return [word for word in argv if word != "-j1"]


def logs(directory: Path) -> str:
    """Return what the processes of Dask printed."""
    return "\n".join(path.read_text(errors="replace") for path in directory.glob("dask-*.log"))
