"""Servers that serve few clients at a time: counting them, and letting others wait."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.targets import few_clients
from qbdcheck.targets.description import Description
from qbdcheck.targets.few_clients import Turns, clients_of, hint
from reference_backend.client_handshake import connect
from reference_backend.listener import Address


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_clients_are_counted_and_those_over_the_limit_are_not_run(
    scratch: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_clients, "LEAVE_S", 0.1)
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as listener:
        listener.bind(str(scratch / "s") if kind == "unix" else ("127.0.0.1", 0))
        listener.listen()
        address: Address = listener.getsockname()
        uri = f"nbd+unix:///?socket={quote(str(address))}"
        if isinstance(address, tuple):
            uri = f"nbd://127.0.0.1:{address[1]}/"
        turns = Turns(lambda: [uri], 2)
        assert clients_of(address) == 0
        with connect(address, 5.0) as first:
            assert clients_of(address) == 1
            turns.before_address(address)
            with connect(address, 5.0):
                assert clients_of(address) == 2
                with pytest.raises(NotRun, match="serves 2 clients at a time"):
                    turns.before_address(address)
                with pytest.raises(NotRun, match="serves 2 clients at a time"):
                    turns.before_program(f"info {uri}")
                turns.before_program("info another.img")
            served, _ = listener.accept()
            other, _ = listener.accept()
            other.close()
            served.close()
            first.close()
            turns.before_address(address)


@pytest.mark.parametrize(
    ("start", "option"),
    [
        ("qemu-nbd --persistent {dir}/{name}", " (the option of qemu-nbd is --shared=0)"),
        ("/usr/bin/qemu-nbd {dir}/{name}", " (the option of qemu-nbd is --shared=0)"),
        ("other-server --like=qemu-nbd {dir}/{name}", ""),
        (None, ""),
    ],
)
def test_an_option_is_named_only_for_the_server_that_has_it(start: str | None, option: str) -> None:
    description = Description.model_construct(start=start)
    told = "the server serves one client at a time; cases with more clients are not run"
    assert hint(description, 1) == told + option
