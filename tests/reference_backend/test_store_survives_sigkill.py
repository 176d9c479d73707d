"""A server on files is killed under load, many times; acknowledged data must survive."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockio.layers import CommandFlag
from qbdcheck.files import ROOT
from reference_backend.client import Client
from reference_backend.file_pools import DirectoryPool
from reference_backend.store.metadata import load

BLOCKS = 32
BLOCK = 4096
STAMP = struct.Struct("<QQ")
SIZES = [1 << 20, (1 << 20) + 5000, 3 << 20, (2 << 40) + 1]
GONE = (OSError, EOFError)


def stamped(block: int, version: int) -> bytes:
    return STAMP.pack(block, version) * (BLOCK // STAMP.size)


class Zygote:
    """A process that forks server processes."""

    def __init__(self, directory: Path) -> None:
        self.socket, self.control = directory / "s", directory / "c"
        argv = ["serve", "--pool", str(directory / "pool"), "--socket", str(self.socket)]
        argv += ["--control", str(self.control)]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("cli_zygote.py")), *argv],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.output: list[str] = []

    def start(self) -> int:
        """Start a server; return its process id when it listens."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        lines = {self.process.stdout.readline(), self.process.stdout.readline()}
        assert f"ready {self.socket}\n" in lines, lines
        return int(next(line for line in lines if line.startswith("pid ")).split()[1])

    def reaped(self) -> None:
        """Wait for the end of the server."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "dead\n"

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


class Qmp:
    """A minimal control client, for resizes and snapshots."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(path))
        self.lines = self.sock.makefile("rb")
        self.lines.readline()
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            line = self.lines.readline()
            if not line:
                raise EOFError
            message = json.loads(line)
            if "event" not in message:
                return message["return"]

    def close(self) -> None:
        self.lines.close()
        self.sock.close()


class Expected:
    """The expected contents: for each block the newest acknowledged version, or a newer one."""

    def __init__(self) -> None:
        self.acknowledged = [0] * BLOCKS
        self.sent = [0] * BLOCKS
        self.version = 0
        self.sizes = {SIZES[0]}
        self.snapshots: set[str] = set()
        self.perhaps: set[str] = set()
        self.counts = {"writes": 0, "flushes": 0, "resizes": 0, "snapshots": 0}

    def check(self, nbd: Client) -> None:
        data = bytes(nbd.read(0, BLOCKS * BLOCK))
        for block in range(BLOCKS):
            found = data[block * BLOCK : (block + 1) * BLOCK]
            allowed = {self.acknowledged[block], self.sent[block]}
            assert found in {stamped(block, version) for version in allowed}, (
                f"block {block}: {STAMP.unpack_from(found)}, allowed {allowed}"
            )
            self.acknowledged[block] = self.sent[block] = STAMP.unpack_from(found)[1]
        assert nbd.size in self.sizes
        self.sizes = {nbd.size}

    def check_snapshots(self, volume: Path) -> None:
        """Read metadata as they are on disk; exactly their snapshots have files."""
        found = load(volume)
        names = {record.name for record in found.snapshots}
        assert names - self.perhaps == self.snapshots - self.perhaps
        self.snapshots, self.perhaps = names, set()
        directories = {path.name for path in (volume / "snapshots").glob("*")}
        assert directories == {record.directory for record in found.snapshots}


def write_until_killed(nbd: Client, expected: Expected, chooser: random.Random) -> None:
    with contextlib.suppress(*GONE):
        while True:
            block = chooser.randrange(BLOCKS)
            expected.version += 1
            expected.sent[block] = expected.version
            fua = CommandFlag.FUA if chooser.random() < 0.1 else 0
            nbd.write(block * BLOCK, stamped(block, expected.version), fua)
            expected.acknowledged[block] = expected.version
            expected.counts["writes"] += 1
            if chooser.random() < 0.15:
                nbd.flush()
                expected.counts["flushes"] += 1


def change_until_killed(qmp: Qmp, expected: Expected, chooser: random.Random) -> None:
    with contextlib.suppress(*GONE):
        while True:
            size = chooser.choice(SIZES)
            expected.sizes.add(size)
            qmp("volume-resize", name="vol", size=size)
            expected.sizes = {size}
            expected.counts["resizes"] += 1
            if len(expected.snapshots) < 3:
                name = f"s{expected.version}-{chooser.randrange(1 << 30)}"
                expected.perhaps = {name}
                qmp("volume-snapshot", name="vol", snapshot=name)
                expected.snapshots.add(name)
                expected.counts["snapshots"] += 1
            else:
                name = chooser.choice(sorted(expected.snapshots))
                expected.perhaps = {name}
                qmp("volume-remove", name=f"vol@{name}")
                expected.snapshots.discard(name)
            expected.perhaps = set()


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="q"))
    yield path
    shutil.rmtree(path)


def cycle(zygote: Zygote, expected: Expected, chooser: random.Random, volume: Path) -> None:
    pid = zygote.start()
    try:
        with zygote_client(zygote) as nbd:
            expected.check(nbd)
            expected.check_snapshots(volume)
            qmp = Qmp(zygote.control)
            changer = threading.Thread(
                target=change_until_killed, args=(qmp, expected, random.Random(chooser.random()))
            )
            delay = chooser.uniform(0, 0.06)
            killer = threading.Timer(delay, os.kill, (pid, signal.SIGKILL))
            killer.start()
            changer.start()
            write_until_killed(nbd, expected, chooser)
            changer.join()
            qmp.close()
            killer.join()
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        zygote.reaped()


@contextlib.contextmanager
def zygote_client(zygote: Zygote) -> Iterator[Client]:
    nbd = Client.connect(str(zygote.socket), "vol")
    try:
        yield nbd
    finally:
        nbd.sock.close()


def test_acknowledged_data_sizes_and_snapshots_survive_200_kills(directory: Path) -> None:
    pool = DirectoryPool(directory / "pool", create=True)
    pool.create("vol", SIZES[0])
    for block in range(BLOCKS):
        pool.open("vol").write(block * BLOCK, stamped(block, 0))
    pool.close()
    expected, chooser = Expected(), random.Random(7)
    zygote = Zygote(directory)
    try:
        for _ in range(200):
            cycle(zygote, expected, chooser, directory / "pool" / "vol")
    finally:
        zygote.close()
    print(expected.counts)
    assert min(expected.counts.values()) >= 20, f"too little happened: {expected.counts}"
