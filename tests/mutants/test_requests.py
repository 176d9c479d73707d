"""The count of the requests of all servers of a run."""

from __future__ import annotations

import signal
from pathlib import Path

from blockio.layers import Command, Reply, Request
from mutants.requests import RequestCount, counted
from reference_backend.client import Client
from tests.reference_backend.cli_server import ServerProcess

COUNTER = "mutants.requests:RequestCount:directory="


def test_the_counts_of_all_servers_are_added(tmp_path: Path) -> None:
    for count in (3, 4):
        layer = RequestCount(str(tmp_path))
        for _ in range(count):
            layer.handle(Request(Command.READ, 0, 0, 1, 1), lambda _: Reply(data=b"x"))
    assert counted(tmp_path) == 7


def test_an_empty_directory_counts_as_0(tmp_path: Path) -> None:
    assert counted(tmp_path) == 0
    (tmp_path / "requests-new").touch()  # made, and not yet as long as a count
    assert counted(tmp_path) == 0


def test_the_count_of_a_killed_server_is_kept(tmp_path: Path) -> None:
    arguments = ["--memory", "1M", "--export-name", "v", "--layer", COUNTER + str(tmp_path)]
    with ServerProcess(*arguments) as server:
        with Client.connect(str(server.socket), "v") as client:
            for at in range(5):
                client.write(at * 512, bytes(512))
        server.stop(signal.SIGKILL)
    assert counted(tmp_path) == 5
