"""The link between clients and a target, and the simulated host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockio.layers import Command
from qbdcheck.errors import NotRun
from qbdcheck.kit.nbd_link import Link
from qbdcheck.kit.netns_host import NetnsHost
from qbdcheck.targets.disk import Disk
from reference_backend.client import Client
from tests.qbdcheck.targets.conftest import Opener

NETWORK_DEVICES = Path("/sys/class/net")


@pytest.fixture
def disk(open_target: Opener) -> Disk:
    return open_target("reference").new_disk("1M")


@pytest.fixture
def link(disk: Disk) -> Iterator[Link]:
    wire = Link(disk.backend)
    yield wire
    wire.close()


def _reads(client: Client, disk: Disk) -> bool:
    return bytes(client.read(0, 4096)) == disk.shadow.expected(0, 4096)


def test_everything_passes(disk: Disk, link: Link) -> None:
    with Client.connect(disk.uri) as client:
        assert _reads(client, disk)
        client.write(0, bytes(300_000))
        assert client.read(0, 300_000) == bytes(300_000)
    assert link.accepted == 1


def test_a_cut_ends_open_connections_only(disk: Disk, link: Link) -> None:
    with Client.connect(disk.uri) as client:
        link.cut()
        with pytest.raises((ConnectionError, EOFError)):
            client.read(0, 512)
    with Client.connect(disk.uri) as client:
        assert _reads(client, disk)


def test_refused_until_allowed(disk: Disk, link: Link) -> None:
    link.refuse()
    with pytest.raises((ConnectionError, EOFError)):
        Client.connect(disk.uri)
    link.allow()
    with Client.connect(disk.uri) as client:
        assert _reads(client, disk)


def test_frozen_connections_wait_and_new_ones_do_not(disk: Disk, link: Link) -> None:
    with Client.connect(disk.uri) as waits, Client.connect(disk.uri, timeout_s=5) as other:
        link.freeze()
        cookie = waits.send_request(Command.WRITE, 0, 4, payload=b"late")
        other.sock.close()
        with Client.connect(disk.uri) as fresh:
            assert _reads(fresh, disk)
        link.thaw()
        assert not waits.receive_reply(cookie).error
        assert waits.read(0, 4) == b"late"


def test_bytes_of_a_half_open_connection_still_arrive(disk: Disk, link: Link) -> None:
    """Data in transit reaches the target although its client has been cut off."""
    with Client.connect(disk.uri) as client:
        link.freeze()
        client.send_request(Command.WRITE, 0, 6, payload=b"zombie")
        link.cut_client_side()
        with pytest.raises((ConnectionError, EOFError)):
            client.receive_reply()
    link.thaw()
    with Client.connect(disk.uri) as client:
        for _attempt in range(1000):
            if client.read(0, 6) == b"zombie":
                break
        else:
            pytest.fail("what was on its way is lost")


def test_the_front_goes_with_the_link(disk: Disk) -> None:
    direct = disk.uri
    link = Link(disk.backend)
    assert disk.uri != direct
    link.close()
    assert disk.uri == direct


def test_a_simulated_host_is_reached_only_by_its_link_and_leaves_nothing() -> None:
    before = set(NETWORK_DEVICES.iterdir())
    try:
        host = NetnsHost()
    except NotRun as reason:
        pytest.skip(str(reason))
    with host:
        listener = host.listen()
        with socket.create_connection(listener.getsockname(), 5) as near:
            far, peer = listener.accept()
            near.sendall(b"x")
            assert far.recv(1) == b"x"
            assert peer[0] != host.address
            host.unplug()
            near.sendall(b"y")
            far.settimeout(0.2)
            with pytest.raises(TimeoutError):
                far.recv(1)
            host.plug_in()
            far.settimeout(10)
            assert far.recv(1) == b"y"
            far.close()
        listener.close()
    assert set(NETWORK_DEVICES.iterdir()) <= before


def test_without_root_it_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotRun, match="not root"):
        NetnsHost()
