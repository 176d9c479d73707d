"""Writes that are acknowledged and not executed."""

from __future__ import annotations

import pytest

from blockio.layers import Command
from tests.injectors.conftest import Stack


@pytest.mark.parametrize("command", [Command.WRITE, Command.WRITE_ZEROES, Command.TRIM])
def test_a_change_is_acknowledged_and_not_carried_out(
    faulty: type[Stack], command: Command
) -> None:
    stack = faulty("{event: none, action: drop}")
    payload = b"x" * 512 if command is Command.WRITE else b""
    assert stack.send(command, payload=payload).error == 0
    assert stack.disk.asked == []


def test_reads_and_flushes_pass(faulty: type[Stack]) -> None:
    stack = faulty("{event: none, action: drop}")
    stack.read()
    stack.flush()
    assert stack.commands_seen == ["READ", "FLUSH"]
    assert stack.fired == [0]
