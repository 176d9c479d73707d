"""The control socket, through QEMU's own client library and against hostile bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from qemu.qmp import ExecuteError, QMPClient

from blockio.layers import CommandFlag

from .cli_server import ServerProcess
from .qmp_client import with_qmp


def refused(server: ServerProcess, command: str, arguments: dict[str, Any]) -> tuple[str, str]:
    async def script(qmp: QMPClient) -> tuple[str, str]:
        with pytest.raises(ExecuteError) as caught:
            await qmp.execute(command, arguments)
        return caught.value.error.error.class_, caught.value.error.error.desc

    found: tuple[str, str] = with_qmp(server, script)
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    """One server for tests that leave it as they found it."""
    with ServerProcess("--memory", "1M", "--export-name", "vol") as server:
        yield server


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--memory", "1M", "--export-name", "vol") as server:
        yield server


def test_volumes_are_made_resized_kept_cloned_and_removed(server: ServerProcess) -> None:
    async def script(qmp: QMPClient) -> Any:
        await qmp.execute("volume-create", {"name": "pool/new", "size": 5000})
        await qmp.execute("volume-resize", {"name": "pool/new", "size": 9000})
        await qmp.execute("volume-snapshot", {"name": "pool/new", "snapshot": "s"})
        await qmp.execute("volume-clone", {"snapshot": "pool/new@s", "name": "copy"})
        volumes: Any = await qmp.execute("query-volumes")
        await qmp.execute("volume-remove", {"name": "pool/new"})
        rest: Any = await qmp.execute("query-volumes")
        return volumes, [volume["name"] for volume in rest]

    volumes, rest = with_qmp(server, script)
    assert [(v["name"], v["size"], v["snapshots"]) for v in volumes] == [
        ("copy", 9000, []),
        ("pool/new", 9000, ["s"]),
        ("vol", 1 << 20, []),
    ]
    assert rest == ["copy", "vol"]


async def alone(qmp: QMPClient) -> None:
    """Wait until the only connection is the newest: the server has seen the others' ends."""
    while True:
        stats: Any = await qmp.execute("query-stats")
        if stats["connections"] == 1:
            return
        await asyncio.sleep(0.001)


def test_a_power_cut_loses_unflushed_writes_keeps_flushed_ones_and_drops_clients(
    server: ServerProcess,
) -> None:
    lost = 0

    async def cut_power(qmp: QMPClient, seed: int) -> object:
        await alone(qmp)
        return await qmp.execute("power-cut", {"seed": seed})

    for seed in range(8):
        with server.connect("vol") as nbd:
            nbd.write(0, b"durable!" * 512)
            nbd.flush()
            nbd.write(0, b"volatile" * 512)
            nbd.write(8192, b"fua-data" * 512, CommandFlag.FUA)
            cut = with_qmp(server, partial(cut_power, seed=seed))
            assert cut == {"volumes": ["vol"], "connections": 1}
            with pytest.raises((OSError, EOFError)):
                nbd.read(0, 512)
        with server.connect("vol") as nbd:
            first, fua = bytes(nbd.read(0, 4096)), bytes(nbd.read(8192, 4096))
        sectors = {first[at : at + 512] for at in range(0, 4096, 512)}
        assert sectors <= {b"durable!" * 64, b"volatile" * 64}
        assert fua == b"fua-data" * 512
        lost += b"durable!" * 64 in sectors
    assert lost


def test_a_power_cut_of_one_volume_leaves_the_others_alone(server: ServerProcess) -> None:
    async def script(qmp: QMPClient) -> Any:
        await qmp.execute("volume-create", {"name": "other", "size": 4096})
        with server.connect("other") as nbd:
            nbd.write(0, b"x" * 4096)
            for seed in range(10):
                await qmp.execute("power-cut", {"seed": seed, "volume": "vol"})
        with server.connect("other") as nbd:
            return bytes(nbd.read(0, 4096))

    assert with_qmp(server, script) == b"x" * 4096


def test_write_through_loses_nothing_in_a_power_cut(server: ServerProcess) -> None:
    async def script(qmp: QMPClient) -> Any:
        await qmp.execute("set-write-cache", {"name": "vol", "mode": "through"})
        for seed in range(5):
            with server.connect("vol") as nbd:
                nbd.write(0, bytes([seed + 1]) * 4096)
                await qmp.execute("power-cut", {"seed": seed})
            with server.connect("vol") as nbd:
                assert bytes(nbd.read(0, 4096)) == bytes([seed + 1]) * 4096

    with_qmp(server, script)


def test_events_report_clients_resizes_and_power_cuts(server: ServerProcess) -> None:
    async def script(qmp: QMPClient) -> Any:
        names = ["CLIENT_CONNECTED", "VOLUME_RESIZED", "POWER_CUT", "CLIENT_DISCONNECTED"]
        seen: dict[str, Any] = {}
        with qmp.listener(names) as listener, server.connect("vol") as client:
            client.read(0, 512)  # served, and not only greeted, when the power goes
            await qmp.execute("volume-resize", {"name": "vol", "size": 4096})
            await qmp.execute("power-cut", {"seed": 3})
            while len(seen) < len(names):
                event: Any = await listener.get()
                seen[event["event"]] = event["data"]
                assert event["timestamp"]["seconds"] > 1_600_000_000
        return seen

    seen = with_qmp(server, script)
    assert seen["CLIENT_CONNECTED"]["export"] == "vol"
    assert seen["VOLUME_RESIZED"]["name"] == "vol"
    assert seen["POWER_CUT"] == {"seed": 3, "volumes": ["vol"]}


def test_statistics_requests_version_and_commands_can_be_asked(shared: ServerProcess) -> None:
    async def script(qmp: QMPClient) -> Any:
        with shared.connect("vol") as nbd:
            nbd.write(0, bytes(4096))
            stats = await qmp.execute("query-stats")
        requests = await qmp.execute("query-requests")
        version = await qmp.execute("query-version")
        commands: Any = await qmp.execute("query-commands")
        return stats, requests, version, {command["name"] for command in commands}

    stats, requests, version, commands = with_qmp(shared, script)
    assert stats["write"] >= 1
    assert stats["write_bytes"] >= 4096
    assert requests == []
    assert set(version) == {"qemu", "package"}
    assert {"power-cut", "query-volumes", "volume-create", "quit", "query-stats"} <= commands


def test_quit_answers_and_stops_the_server(server: ServerProcess) -> None:
    assert with_qmp(server, lambda qmp: qmp.execute("quit")) == {}
    assert server.process.wait(10) == 0
    assert not server.socket.exists()
    assert not server.control.exists()


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("no-such", {}, ("CommandNotFound", "The command no-such has not been found")),
        ("volume-create", {"name": "x"}, ("GenericError", "Parameter 'size' is missing")),
        (
            "volume-create",
            {"name": "x", "size": "1M"},
            ("GenericError", "Invalid parameter type for 'size', expected: integer"),
        ),
        (
            "volume-create",
            {"name": "x", "size": True},
            ("GenericError", "Invalid parameter type for 'size', expected: integer"),
        ),
        (
            "volume-create",
            {"name": "x", "size": 1, "colour": "red"},
            ("GenericError", "Parameter 'colour' is unexpected"),
        ),
        (
            "volume-create",
            {"name": "vol", "size": 1},
            ("GenericError", "there is a volume 'vol' already"),
        ),
        (
            "volume-create",
            {"name": "a/../b", "size": 1},
            ("GenericError", "name 'a/../b' holds NUL, or '.' or '..' between slashes"),
        ),
        (
            "volume-create",
            {"name": "x", "size": -1},
            ("GenericError", "size -1 is outside of 0..9223372036854775807"),
        ),
        ("volume-remove", {"name": "none"}, ("DeviceNotFound", "no volume 'none'")),
        ("power-cut", {"volume": "none"}, ("DeviceNotFound", "no volume 'none'")),
        (
            "set-write-cache",
            {"name": "vol", "mode": "off"},
            ("GenericError", "Parameter 'mode' does not accept value 'off'"),
        ),
    ],
)
def test_wrong_commands_are_refused_with_class_and_reason(
    shared: ServerProcess, command: str, arguments: dict[str, Any], error: tuple[str, str]
) -> None:
    assert refused(shared, command, arguments) == error


def test_a_volume_with_clients_is_not_removed(shared: ServerProcess) -> None:
    with shared.connect("vol"):
        error = refused(shared, "volume-remove", {"name": "vol"})
    assert error == ("GenericError", "1 clients are connected to 'vol'")


class Raw:
    """A QMP client that sends any bytes."""

    def __init__(self, server: ServerProcess) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(server.control))
        self.lines = self.sock.makefile("rb")
        self.greeting = self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.sock.close()

    def next(self) -> Any:
        line = self.lines.readline()
        return json.loads(line) if line else None

    def ask(self, data: bytes) -> Any:
        self.sock.sendall(data)
        return self.next()


def test_the_socket_is_private_and_greets(shared: ServerProcess) -> None:
    assert shared.control.stat().st_mode & 0o777 == 0o600
    with Raw(shared) as raw:
        assert set(raw.greeting["QMP"]) == {"version", "capabilities"}


def test_commands_wait_for_the_negotiation(shared: ServerProcess) -> None:
    with Raw(shared) as raw:
        reply = raw.ask(b'{"execute": "query-stats", "id": 7}\n')
        assert (reply["error"]["class"], reply["id"]) == ("CommandNotFound", 7)
        assert raw.ask(b'{"execute": "qmp_capabilities"}') == {"return": {}}
        again = raw.ask(b'{"execute": "qmp_capabilities"}')
        assert again["error"]["class"] == "CommandNotFound"


def test_ids_of_any_type_are_returned(shared: ServerProcess) -> None:
    with Raw(shared) as raw:
        raw.ask(b'{"execute": "qmp_capabilities"}')
        for identity in (0, "a", None, [1, {"b": 2}], {"c": '}"\\'}):
            message = {"execute": "query-requests", "id": identity}
            reply = raw.ask(json.dumps(message, indent=2).encode())
            assert reply == {"return": [], "id": identity}


def test_a_message_byte_by_byte_and_several_at_once_are_understood(shared: ServerProcess) -> None:
    with Raw(shared) as raw:
        for byte in b'{"execute":"qmp_capabilities"}':
            raw.sock.sendall(bytes([byte]))
        assert raw.next() == {"return": {}}
        raw.sock.sendall(b'{"execute":"query-requests","id":1}{"execute":"query-requests","id":2}')
        assert [raw.next()["id"], raw.next()["id"]] == [1, 2]


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b'{"execute": }\n',
        b"[]\n",
        b"}\n",
        b"42\n",
        b'{"execute": 42}',
        b'{"execute": "query-stats", "arguments": []}',
        b'{"execute": "query-stats", "extra": 1}',
        b'{"exec": "query-stats"}',
        b"{\xfe}",
        b'{"a": 1e999999, "b": "\\ud800"}',
    ],
)
def test_garbage_gets_an_error_and_the_session_continues(
    shared: ServerProcess, garbage: bytes
) -> None:
    with Raw(shared) as raw:
        assert raw.ask(b'{"execute": "qmp_capabilities"}') == {"return": {}}
        assert raw.ask(garbage)["error"]["class"] == "GenericError"
        assert raw.ask(b'{"execute": "query-requests"}') == {"return": []}


def test_a_reset_byte_drops_what_came_before_it(shared: ServerProcess) -> None:
    with Raw(shared) as raw:
        assert raw.ask(b'{"half \xff{"execute": "qmp_capabilities"}') == {"return": {}}


@pytest.mark.parametrize("flood", [b"[" * 5000, b'{"a": "' + b"x" * (2 << 20), b"x" * (2 << 20)])
def test_a_flood_ends_its_own_session_only(shared: ServerProcess, flood: bytes) -> None:
    with Raw(shared) as other, Raw(shared) as raw:
        with pytest.raises(OSError):  # EPIPE or ECONNRESET, as the timing has it
            for _ in range(64):
                raw.sock.sendall(flood)
            raise OSError
        assert other.ask(b'{"execute": "qmp_capabilities"}') == {"return": {}}


def test_several_clients_at_once_see_the_same_events(server: ServerProcess) -> None:
    with Raw(server) as one, Raw(server) as two, Raw(server) as silent:
        for raw in (one, two):
            raw.ask(b'{"execute": "qmp_capabilities"}')
        with server.connect("vol"):
            assert one.next()["event"] == two.next()["event"] == "CLIENT_CONNECTED"
        silent.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent.sock.recv(1)


def test_qmp_shell_of_qemu_drives_the_backend(server: ServerProcess) -> None:
    program = str(Path(sys.executable).with_name("qmp-shell"))
    done = subprocess.run(
        [program, str(server.control)],
        input="volume-create name=shell size=4096\nquery-volumes\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert '"return": {}' in done.stdout
    assert '"name": "shell"' in done.stdout
