"""Hosts of a cluster in network namespaces: links fail in one direction, and show that they did."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun
from qbdcheck.kit.cluster.network import CLIENTS, NodeNetwork
from qbdcheck.programs.process import Process, run

SEND = "import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x' * 1000, ('{}', 7777))"
RECEIVE = """\
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("{}", 7777))
print("listening", flush=True)
while True:
    print("from", sock.recvfrom(2000)[1][0], flush=True)
"""
ADDRESSES = {"a": "10.77.9.1", "b": "10.77.9.2", "c": "10.77.9.3"}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def network(tmp_path: Path) -> Iterator[NodeNetwork]:
    try:
        network = NodeNetwork(ADDRESSES, tmp_path)
    except NotRun as reason:
        pytest.skip(str(reason))
    yield network
    network.close()


def listening(network: NodeNetwork, name: str, directory: Path) -> Process:
    code = RECEIVE.format(ADDRESSES[name])
    receiver = Process(
        [*network.inside(name), sys.executable, "-c", code], directory, f"udp-{name}"
    )
    while "listening" not in receiver.output():
        assert receiver.is_running, receiver.describe()
        pause(0.01)
    return receiver


def send(network: NodeNetwork, sender: str, receiver: str) -> None:
    run([*network.inside(sender), sys.executable, "-c", SEND.format(ADDRESSES[receiver])])


def test_a_cut_link_drops_what_it_counts_and_nothing_else(
    network: NodeNetwork, tmp_path: Path
) -> None:
    receivers = {name: listening(network, name, tmp_path) for name in ("a", "b")}
    link = network.link("a", "b")
    link.cut()
    send(network, "a", "b")  # dropped
    send(network, "b", "a")  # the other direction
    send(network, CLIENTS, "b")  # another link
    while "from 10.77.9.254" not in receivers["b"].output():
        pause(0.01)
    while "from 10.77.9.2" not in receivers["a"].output():
        pause(0.01)
    assert link.restore() == 1
    assert "from 10.77.9.1" not in receivers["b"].output()
    send(network, "a", "b")
    while "from 10.77.9.1\n" not in receivers["b"].output():
        pause(0.01)
    for receiver in receivers.values():
        receiver.kill()


def test_a_slow_link_counts_what_waited(network: NodeNetwork) -> None:
    link = network.link("a", "c")
    link.slow_down()
    for _ in range(3):
        send(network, "a", "c")
    assert link.restore() == 0  # so little does not wait
    link.slow_down()
    burst = "; ".join([SEND.format(ADDRESSES["c"])] * 20)
    run([*network.inside("a"), sys.executable, "-c", burst])
    assert link.restore() > 0


def test_the_hosts_are_gone_with_their_processes(tmp_path: Path) -> None:
    network = NodeNetwork(ADDRESSES, tmp_path)
    pids = [network.pid(name) for name in (*ADDRESSES, CLIENTS)]
    network.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
