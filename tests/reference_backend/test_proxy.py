"""The fault proxy in front of real servers, with real clients."""

from __future__ import annotations

import asyncio
import errno
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import QMPClient

from blockio.layers import Command
from qbdcheck.files import ROOT
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError, RemoteProtocolError

from .cli_server import PROGRAM, command

SIZE = 8 << 20
SERVERS = {
    "qemu-nbd": ["qemu-nbd", "-t", "-e8", "-fraw", "-k{dir}/n", "-xv", "{dir}/disk"],
    "nbdkit": ["nbdkit", "-f", "-U{dir}/n", "file", "{dir}/disk"],
    "reference": [*PROGRAM, "serve", "--image", "{dir}/disk", "--export-name", "v",
                  "--socket", "{dir}/n"],
}  # fmt: skip


class Proxied:
    """A server with a proxy in front."""

    def __init__(self, server: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="q"))
        with (self.directory / "disk").open("wb") as file:
            file.truncate(SIZE)
        argv = [argument.format(dir=self.directory) for argument in SERVERS[server]]
        self.target = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
        wait_for(self.directory / "n")
        self.direct = f"nbd+unix:///v?socket={self.directory}/n"
        self.uri = f"nbd+unix:///v?socket={self.directory}/p"
        self.proxy = subprocess.Popen(
            [*PROGRAM, "proxy", "--to", self.direct, "--socket", f"{self.directory}/p",
             "--control", f"{self.directory}/c"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.proxy.stdout is not None
        assert self.proxy.stdout.readline() == f"ready {self.directory}/p\n"

    def close(self) -> None:
        for process in (self.proxy, self.target):
            process.kill()
            process.wait(10)
        assert self.proxy.stdout is not None
        self.proxy.stdout.close()
        shutil.rmtree(self.directory)

    def execute(self, name: str, **arguments: Any) -> Any:
        async def run() -> Any:
            qmp = QMPClient("test")
            await qmp.connect(f"{self.directory}/c")
            try:
                return await asyncio.wait_for(qmp.execute(name, arguments), 20)
            finally:
                await qmp.disconnect()

        return asyncio.run(run())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture(params=SERVERS)
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    proxied = Proxied(request.param)
    yield proxied
    proxied.close()


@pytest.fixture
def over_reference() -> Iterator[Proxied]:
    proxied = Proxied("reference")
    yield proxied
    proxied.close()


def test_a_client_finds_what_the_target_offers(proxied: Proxied) -> None:
    through = output("nbdinfo", "--json", proxied.uri)
    direct = output("nbdinfo", "--json", proxied.direct)
    assert through.replace("/p", "/n") == direct


def test_data_goes_through_in_both_directions_many_requests_at_a_time(proxied: Proxied) -> None:
    source = proxied.directory / "source"
    source.write_bytes(bytes(range(256)) * (SIZE // 256))
    output("nbdcopy", "--requests=64", str(source), proxied.uri)
    back = proxied.directory / "back"
    output("nbdcopy", "--requests=64", proxied.uri, str(back))
    assert back.read_bytes() == source.read_bytes()


def test_qemu_io_reads_what_it_wrote_where_rules_see_every_request(proxied: Proxied) -> None:
    proxied.execute("rule-add", event="write_aio", errno="EIO", sector="16000", may_not_fire=True)
    proxied.execute("rule-add", event="none", action="delay", milliseconds=1, iotype="flush")
    argv = ["write -P 5 1M 1M", "read -P 5 1M 1M", "write -z 1M 64k", "read -P 0 1M 64k",
             "discard 2M 64k", "flush", "map"]  # fmt: skip
    message = output("qemu-io", "-f", "raw", *(f"-c{argument}" for argument in argv), proxied.uri)
    assert "failed" not in message


@pytest.mark.parametrize(("structured", "extended"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("action", ["error", "corrupt", "disconnect", "garbage"])
def test_faults_reach_clients_in_every_mode_of_replies(
    over_reference: Proxied, structured: bool, extended: bool, action: str
) -> None:
    contexts = ["base:allocation"] if structured else []
    client = Client.connect(
        over_reference.uri, structured=structured, extended=extended, contexts=contexts
    )
    client.write(0, b"a" * 4096)
    over_reference.execute("rule-add", event="read_aio", action=action, once=True, offset="0-511")
    if action == "corrupt":
        assert client.read(0, 4096) != b"a" * 4096
    else:
        with pytest.raises((NbdError, ConnectionError, RemoteProtocolError)) as raised:
            client.read(0, 4096)
        if action == "error":
            assert getattr(raised.value, "errno", None) == errno.EIO
    client.sock.close()
    with Client.connect(over_reference.uri, extended=extended, structured=structured) as again:
        assert again.read(0, 4096) == b"a" * 4096


def test_a_held_request_does_not_block_others_of_its_connection(over_reference: Proxied) -> None:
    over_reference.execute("rule-add", event="read_aio", action="hang", offset="0-511", id="h")
    with Client.connect(over_reference.uri) as client:
        held = client.send_request(Command.READ, 0, 4096)
        assert client.read(8192, 4096) == bytes(4096)
        assert over_reference.execute("rule-resume", id="h") == {"resumed": 1}
        assert client.receive_reply(held).data == bytes(4096)


def test_faults_are_applied_in_the_order_of_requests(over_reference: Proxied) -> None:
    over_reference.execute("rule-add", event="write_aio", errno="ENOSPC", after=20, count=3)
    with Client.connect(over_reference.uri) as client:
        sent = [
            client.send_request(Command.WRITE, number * 512, 512, payload=bytes(512))
            for number in range(40)
        ]
        failed = [index for index, cookie in enumerate(sent) if client.receive_reply(cookie).error]
    assert failed == [20, 21, 22]


def test_clients_are_disconnected_when_the_target_dies(proxied: Proxied) -> None:
    client = Client.connect(proxied.uri)
    proxied.execute("rule-add", event="read_aio", action="hang", offset="0-511")
    client.send_request(Command.READ, 0, 512)
    assert client.read(4096, 512) == bytes(512)
    proxied.target.kill()
    with pytest.raises(ConnectionError):
        client.receive_reply()
    client.sock.close()


def test_many_clients_at_once_each_see_their_own_data(over_reference: Proxied) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        with Client.connect(over_reference.uri) as client:
            for turn in range(20):
                data = bytes([number * 16 + turn % 16]) * 4096
                client.write(number << 16, data)
                if client.read(number << 16, 4096) != data:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_sigterm_ends_a_proxy_that_holds_a_request(over_reference: Proxied) -> None:
    over_reference.execute("rule-add", event="read_aio", action="hang")
    client = Client.connect(over_reference.uri)
    client.send_request(Command.READ, 0, 512)
    over_reference.proxy.send_signal(signal.SIGTERM)
    assert over_reference.proxy.wait(10) == 0
    assert not (over_reference.directory / "p").exists()
    client.sock.close()


def test_tls_to_the_target_is_refused_with_a_sentence() -> None:
    done = command("proxy", "--to", "nbds://localhost/x", "--socket", "/tmp/q-none", expect=2)
    assert "does not support TLS" in done.stderr
