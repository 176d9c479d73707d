"""A request that waits for its fault delays no other request, also not of its own connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from blockio.layers import Command
from reference_backend.blocking_requests import mark_under_way
from reference_backend.client import Client
from reference_backend.events import Events
from reference_backend.rule_layer import RuleLayer
from reference_backend.server import Server

from .running import running, wait_until


class Place:
    """A server whose rules a test arms."""

    def __init__(self, server: Server, place: RuleLayer) -> None:
        self.server = server
        self._do = place.control_commands(Events())

    def add(self, **rule: object) -> None:
        self._do["rule-add"]({"id": "r", "event": "none", **rule})

    def rule(self, key: str) -> int:
        return int(self._do["query-rules"]({})["rules"][0][key])

    def resume(self) -> None:
        self._do["rule-resume"]({})

    def connect(self) -> Client:
        return Client.connect(self.server.address, "vol")


@pytest.fixture
def place() -> Iterator[Place]:
    rules = RuleLayer(7, on_pause=mark_under_way)
    with running(layers=[rules]) as server, contextlib.ExitStack() as cleanup:
        cleanup.callback(rules.disarm)
        yield Place(server, rules)


def test_requests_of_the_same_connection_overtake_one_that_is_held(place: Place) -> None:
    place.add(action="hang", sector="8-15", iotype="write")
    with place.connect() as client:
        held = client.send_request(Command.WRITE, 4096, 4, payload=b"held")
        wait_until(lambda: place.rule("held") == 1)
        for number in range(100):
            client.write(65536 + 512 * number, bytes([number]) * 512)
            assert client.read(65536 + 512 * number, 512) == bytes([number]) * 512
        assert client.read(4096, 4) == bytes(4)
        wait_until(lambda: [one["cookie"] for one in place.server.query_requests()] == [held])
        place.resume()
        assert not client.receive_reply(held).error
        assert client.read(4096, 4) == b"held"
        counts = place.server.statistics()
        assert (counts["write"], counts["read"], counts["write_bytes"]) == (101, 102, 51204)


def test_many_requests_are_held_at_once_and_each_is_answered_once(place: Place) -> None:
    place.add(action="hang", iotype="write")
    with place.connect() as client:
        cookies = {
            client.send_request(Command.WRITE, 512 * number, 1, payload=b"x"): number
            for number in range(40)
        }
        wait_until(lambda: place.rule("held") == 40)
        place.resume()
        for cookie in reversed(cookies):
            assert not client.receive_reply(cookie).error
        assert client.read(0, 1) == b"x"


def test_delays_of_one_connection_pass_at_the_same_time(place: Place) -> None:
    place.add(action="delay", milliseconds=400, iotype="read")
    with place.connect() as client:
        cookies = [client.send_request(Command.READ, 0, 512) for _ in range(30)]
        wait_until(lambda: len(place.server.query_requests()) == 30, 0.4 * 15)
        for cookie in cookies:
            assert len(client.receive_reply(cookie).data) == 512


def test_faults_are_applied_in_the_order_of_the_requests(place: Place) -> None:
    place.add(action="delay", milliseconds=1, every=3, iotype="write", errno="EIO")
    with place.connect() as client:
        cookies = [
            client.send_request(Command.WRITE, 512 * number, 1, payload=b"x")
            for number in range(60)
        ]
        errors = [client.receive_reply(cookie).error for cookie in cookies]
    assert errors == [5, 0, 0] * 20


def test_requests_in_flight_are_answered_after_disc(place: Place) -> None:
    place.add(action="delay", milliseconds=50, iotype="write")
    with place.connect() as client:
        cookie = client.send_request(Command.WRITE, 0, 1, payload=b"x")
        client.send_request(Command.DISC, 0, 0)
        assert not client.receive_reply(cookie).error
        assert client.sock.recv(1) == b""


def test_a_held_write_of_a_client_that_left_ends_only_its_connection(place: Place) -> None:
    place.add(action="hang", iotype="write")
    with place.connect() as client:
        client.send_request(Command.WRITE, 0, 1, payload=b"x")
        wait_until(lambda: place.rule("held") == 1)
        client.sock.close()
    wait_until(lambda: place.server.statistics()["connections"] == 0)
    place.resume()
    with place.connect() as client:
        assert client.read(8192, 1) == b"\0"


@pytest.mark.parametrize("fault", [{"action": "hang"}, {"action": "delay", "milliseconds": 60_000}])
def test_a_waiting_write_of_a_client_that_left_is_never_executed(
    place: Place, fault: dict[str, object]
) -> None:
    """Otherwise an old write could overwrite newer data of the client's next connection."""
    place.add(iotype="write", once=True, **fault)
    with place.connect() as client:
        client.send_request(Command.WRITE, 0, 3, payload=b"old")
        # A request is listed before the rules see it, and the next write could take its fault.
        wait_until(lambda: place.rule("fired") == 1)
        client.sock.close()
    with place.connect() as client:
        client.write(0, b"new")
        wait_until(lambda: not place.server.query_requests(), 5.0)
        place.resume()
        assert client.read(0, 3) == b"new"
