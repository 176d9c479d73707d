"""Requests that are sent in one piece."""

from __future__ import annotations

import pytest

from blockio.layers import Command
from qbdcheck.kit.bursts import all_at_once
from qbdcheck.kit.nbd_io import connect
from tests.qbdcheck.targets.conftest import Opener

COUNT = 1000


def test_all_requests_are_sent_together_and_finished(
    open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_target("reference")
    disk = session.new_disk("1M")
    with connect(session, disk) as io:
        sent: list[int] = []
        send = io.client.send

        def counted(data: bytes) -> None:
            sent.append(len(data))
            send(data)

        monkeypatch.setattr(io.client, "send", counted)
        with all_at_once(io):
            for number in range(COUNT):
                io.send(Command.WRITE, number * 512, 512)
            assert not sent
            assert io.in_flight == COUNT
        assert not io.in_flight
        assert sent == [COUNT * (28 + 512)]
        io.read(0, disk.size)
