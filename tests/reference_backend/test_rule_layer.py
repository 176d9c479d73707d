"""Rules in a running server: armed by file or control socket, on connections that are open."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import EventListener, ExecuteError, QMPClient

from reference_backend.client import Client

from .cli_server import ServerProcess, command
from .qmp_client import with_qmp


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--memory", "1M", "--export-name", "v") as server:
        yield server


def execute(server: ServerProcess, name: str, **arguments: Any) -> Any:
    return with_qmp(server, lambda qmp: qmp.execute(name, arguments))


def errno_of(nbd: Client, offset: int) -> int:
    try:
        nbd.write(offset, b"x" * 512)
    except OSError as error:
        return error.errno or 0
    return 0


def test_a_rule_applies_to_a_connection_that_is_open(server: ServerProcess) -> None:
    with server.connect("v") as nbd:
        assert errno_of(nbd, 0) == 0
        reported = execute(server, "rule-add", event="write_aio", errno="ENOSPC", sector="2-3")
        assert [errno_of(nbd, sector * 512) for sector in range(5)] == [0, 0, 28, 28, 0]
        [rule] = execute(server, "query-rules")["rules"]
        assert (rule["id"], rule["matches"], rule["fired"]) == (reported["id"], 2, 2)
        execute(server, "rule-change", id=reported["id"], errno="EIO")
        assert errno_of(nbd, 1024) == errno.EIO
        execute(server, "rule-del", id=reported["id"])
        assert errno_of(nbd, 1024) == 0


def test_each_fault_is_an_event(server: ServerProcess) -> None:
    async def script(qmp: QMPClient) -> dict[str, Any]:
        with qmp.listener("FAULT_INJECTED") as faults:
            listener: EventListener = faults
            await qmp.execute("rule-add", {"event": "read_aio", "errno": "EIO"})
            await asyncio.to_thread(failing_read)
            return dict(await listener.get())

    def failing_read() -> None:
        with server.connect("v") as nbd, pytest.raises(OSError):
            nbd.read(4096, 512)

    reported = with_qmp(server, script)["data"]
    assert (reported["action"], reported["command"], reported["offset"]) == ("error", "READ", 4096)


def test_a_hanging_request_is_released_and_others_continue(server: ServerProcess) -> None:
    execute(server, "rule-add", event="write_aio", action="hang", sector="0")
    done = threading.Event()

    def write() -> None:
        with server.connect("v") as nbd:
            nbd.write(0, b"x" * 512)
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    with server.connect("v") as nbd:
        for _ in range(50):
            nbd.write(4096, b"y" * 512)
        assert bytes(nbd.read(4096, 512)) == b"y" * 512
    assert not done.is_set()
    while execute(server, "rule-resume")["resumed"] != 1:
        pass
    thread.join(10)
    assert done.is_set()


def test_a_server_that_holds_a_request_can_be_stopped(server: ServerProcess) -> None:
    execute(server, "rule-add", event="read_aio", action="hang")
    with server.connect("v") as nbd:
        nbd.send_request(0, 0, 512)
        while not execute(server, "query-rules")["rules"][0]["held"]:
            pass
        assert server.stop() == 0


def test_a_wrong_rule_gives_one_line_and_arms_nothing(server: ServerProcess) -> None:
    with pytest.raises(ExecuteError, match="errno"):
        execute(server, "rule-add", event="write_aio", errno="ENOTHING")
    assert execute(server, "query-rules")["rules"] == []


def test_rules_of_a_file_are_armed_from_the_start(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {event: write_aio, errno: EDQUOT, once: true}\n")
    with (
        ServerProcess("--memory", "1M", "--export-name", "v", "--rules", str(rules)) as server,
        server.connect("v") as nbd,
    ):
        assert [errno_of(nbd, 0), errno_of(nbd, 0)] == [errno.ENOSPC, 0]  # as NBD carries it


def test_a_wrong_rules_file_gives_one_line(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {event: write_aoi}\n")
    argv = ("serve", "--memory", "1M", "--socket", str(tmp_path / "s"), "--rules", str(rules))
    message = command(*argv, expect=2).stderr
    assert message.count("\n") == 1
    assert f"{rules}:2" in message
    assert "write_aio" in message
