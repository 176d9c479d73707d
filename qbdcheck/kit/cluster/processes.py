"""A cluster of real processes: nodes that a case starts, kills and pauses, links that it cuts.

The nodes are those of the target's profile (``nodes:``), or those of the reference cluster. Nodes
with IPv4 addresses are hosts of their own (`NodeNetwork`); others are processes next to each other,
with relays in their links.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals
from typing import Self

from oracles.damage import Damage
from oracles.finding import Finding, Findings
from qbdcheck.clock import pause
from qbdcheck.errors import NotRun, SetupError
from qbdcheck.files import ROOT
from qbdcheck.kit.cluster.network import CLIENTS, NodeNetwork, VirtualLink
from qbdcheck.kit.cluster.relay import Relay
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.process import Completed, Process, run
from qbdcheck.targets.description import Description, load
from qbdcheck.targets.placeholders import fill, fill_command
from qbdcheck.targets.profile_parts import Node

_READY_S = 30.0
_LEADER_S = 60.0
_SETTLED_S = 120.0
_COMMAND_S = 60.0
_STOP_S = 30.0
_CASE_WORD = "cluster"
_NAME = "disk"


class ClusterProcesses:
    """All nodes of a cluster, each a process, with links that can be cut.

    :param target: its profile has the nodes; without any, those of the reference cluster are used.
    :param directory: private; for stores, sockets and output. :param size: of the volume, in bytes.
    :ivar happened: each fault that was shown to have happened, in words.
    """

    def __init__(self, target: Description, directory: Path, size: int) -> None:
        if not target.nodes:
            target = load(ROOT / "targets" / "reference-cluster.yaml")
        self.failover_s = target.failover
        self.happened: list[str] = []
        self._target = target
        self._directory = directory
        self._nodes = {node.name: node for node in target.nodes}
        self._network: NodeNetwork | None = None
        self._values: dict[str, str | int] = {
            "dir": str(directory), "run": str(directory), "size": size, "name": _NAME,
            "case": _CASE_WORD, "python": sys.executable, "root": str(ROOT),
        }  # fmt: skip
        if target.nodes[0].has_ip:
            addresses = {node.name: node.address for node in target.nodes}
            self._network = NodeNetwork(addresses, directory)
            self._values["pid"] = self._network.pid(CLIENTS)
        self._environment = {
            **os.environ,
            **{name: fill(value, self._values) for name, value in target.environment.items()},
        }
        self._processes: dict[str, Process] = {}
        self._clients: list[Process] = []
        self._links = self._made_links(self._network)

    def _made_links(
        self, network: NodeNetwork | None
    ) -> Mapping[tuple[str, str], Relay | VirtualLink]:
        """Return what each node sends to each other one."""
        if network is not None:
            names = list(self._nodes)
            pairs = [(one, other) for one in names for other in names if one != other]
            return {pair: network.link(*pair) for pair in pairs}
        return {
            (name, other): Relay(self._path(link), self._path(self._nodes[other].address))
            for name, node in self._nodes.items()
            for other, link in node.links.items()
        }

    def __enter__(self) -> Self:
        try:
            for path, contents in self._target.files.items():
                self._path(path).write_text(fill(contents, self._values))
            for name in self._nodes:
                self._start(name)
            for name in self._nodes:
                self._wait_for(name)
            if self._network is not None:
                for command in self._target.volume.create:
                    self._on_client_host(command)
            self._start_clients()
            self.wait_until_settled()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._clients, *self._processes.values()):
            process.kill()
        for link in self._links.values():
            if isinstance(link, Relay):
                link.close()
        if self._network is not None:
            self._network.close()

    @property
    def names(self) -> list[str]:
        """The names of all nodes."""
        return list(self._nodes)

    def uri(self, name: str) -> str:
        """Return the NBD URI of the volume at a node."""
        return fill(self._nodes[name].nbd, self._values)

    def start(self, name: str) -> None:
        """Start a node, and wait until it accepts clients.

        :raise SetupError: it does not.
        """
        self._start(name)
        self._wait_for(name)

    def wait_until_settled(self) -> None:
        """Wait until all nodes serve and have all data, if the profile has a command for it.

        :raise AssertionError: they have not in a time that is much longer than any failover.
        """
        command, limit = self._target.settled, Limit(self.failover_s + _SETTLED_S)
        while command is not None:
            done = self._on_client_host(command, check=False)
            if done.returncode == 0:
                return
            if limit.is_over:
                said = (done.stdout + done.stderr).strip()
                text = f"the nodes do not agree again in {limit.seconds:g} s: {said}"
                raise AssertionError(str(Finding(Damage.HANG, remark=text)))
            pause(0.2)

    def leader(self) -> str:
        """Return the node that leads: as the profile's command says, or the last that printed it.

        :raise SetupError: no node leads in time.
        """
        limit = Limit(_LEADER_S)
        while not limit.is_over:
            name = self._leader_now()
            if name in self._processes:
                return name
            pause(0.02)
        raise SetupError(f"no node leads after {_LEADER_S:g} s")

    def _leader_now(self) -> str:
        if self._target.leader is not None:
            return self._on_client_host(self._target.leader, check=False).stdout.strip()
        led = {name: self._epoch_led(name) for name in self._processes}
        best = max(led, key=lambda name: led[name], default="")
        return best if best and led[best] else ""

    def _epoch_led(self, name: str) -> int:
        pattern = self._nodes[name].leads
        output = self._processes[name].out_file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in output.splitlines() if pattern and re.search(pattern, line)]
        return int("".join(re.findall(r"\d+", lines[-1])) or 1) if lines else 0

    # Faults of nodes -----------------------------------------------------------------------------

    def kill(self, *names: str) -> None:
        """Kill nodes by SIGKILL."""
        for name in names:
            status = self._processes.pop(name).stop(SIGKILL)
            assert status == -SIGKILL, f"node {name} ended with {status} before it was killed"
            self.happened.append(f"node {name} was killed")

    def pause(self, name: str) -> None:
        """Stop a node, with all its processes, by SIGSTOP."""
        pid = self._processes[name].pid
        limit = Limit(_READY_S)
        os.killpg(pid, SIGSTOP)
        while set(_states(pid)) - {"T", "Z"}:
            assert not limit.is_over, f"node {name} does not stop"
            pause(0.01)
        self.happened.append(f"node {name} was paused")

    def resume(self, name: str) -> None:
        """Continue a paused node."""
        states = set(_states(self._processes[name].pid))
        assert states <= {"T", "Z"} and states, f"node {name} did not stay paused: {states}"
        os.killpg(self._processes[name].pid, SIGCONT)

    def lose_store(self, name: str) -> None:
        """Remove the store of a node that was killed, as when its disk breaks and is replaced."""
        assert name not in self._processes, f"node {name} runs"
        store = self._path(self._nodes[name].store)
        assert store.exists(), f"node {name} has no store {store}"
        if store.is_dir():
            shutil.rmtree(store)
        else:
            store.unlink()
        self.happened.append(f"node {name} lost its store")

    # Faults of links -----------------------------------------------------------------------------

    def cut_off(self, name: str) -> None:
        """Cut all links of a node to the other nodes, in both directions."""
        for ends in self._links:
            if name in ends:
                self._links[ends].cut()

    def cut(self, sender: str, receiver: str) -> None:
        """Cut what one node sends to another one; the other direction works on."""
        self._links[sender, receiver].cut()

    def slow_down(self, name: str) -> None:
        """Make all links of a node to the other nodes slow, in both directions."""
        for ends in self._links:
            if name in ends:
                self._links[ends].slow_down()

    def heal(self) -> None:
        """Restore all links. A fault that met no message did not happen."""
        changed = {ends: link for ends, link in self._links.items() if link.is_changed}
        met = {ends: link.restore() for ends, link in changed.items()}
        assert sum(met.values()), "no message met a link with a fault"
        counts = ", ".join(f"{one} to {other} {count}" for (one, other), count in met.items())
        unit = "packets" if self._network is not None else "bytes"
        self.happened.append(f"links refused or delayed {unit}: {counts}")

    # Replicas ------------------------------------------------------------------------------------

    def must_show_replicas(self) -> None:
        """Check that the profile has commands that print the copies of all nodes.

        :raise NotRun: it has not.
        """
        if any(node.replica is None for node in self._nodes.values()):
            raise NotRun("the nodes of the profile have no key replica:, which shows their data")

    def compare_replicas(self) -> Findings:
        """Stop all nodes and return where their copies of the volume differ."""
        self.must_show_replicas()
        self.wait_until_settled()
        for client in self._clients:
            client.kill()
        for process in self._processes.values():
            process.signal(Signals.SIGTERM)
        for name in self.names:
            self._processes.pop(name).stop(grace_s=_STOP_S)
        copies = {name: self._replica(node) for name, node in self._nodes.items()}
        return _differences(copies)

    def _replica(self, node: Node) -> str:
        assert node.replica is not None
        argv = fill_command(node.replica, self._values)
        shown = run(argv, timeout_s=_COMMAND_S, env=self._environment).stdout
        assert shown, f"replica: of node {node.name} wrote nothing"
        return shown

    # Inside --------------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        node = self._nodes[name]
        if node.client is None:
            self._socket(node).unlink(missing_ok=True)
        inside = self._network.inside(name) if self._network is not None else []
        argv = [*inside, *fill_command(node.start, self._values)]
        self._processes[name] = Process(
            argv, self._directory, f"node-{name}", env=self._environment
        )

    def _start_clients(self) -> None:
        inside = self._network.inside(CLIENTS) if self._network is not None else []
        for name, node in self._nodes.items():
            if node.client is not None:
                argv = [*inside, *fill_command(node.client, self._values)]
                client = Process(argv, self._directory, f"client-{name}", env=self._environment)
                self._clients.append(client)
                self._wait_for_socket(node, client)

    def _wait_for(self, name: str) -> None:
        node, process = self._nodes[name], self._processes[name]
        if node.client is None:
            self._wait_for_socket(node, process)

    def _wait_for_socket(self, node: Node, process: Process) -> None:
        limit = Limit(_READY_S + self.failover_s)
        while not self._socket(node).exists():
            if limit.is_over or not process.is_running:
                raise SetupError(f"node {node.name} is not ready: {process.describe()}")
            pause(0.02)

    def _socket(self, node: Node) -> Path:
        return Path(self.uri(node.name).partition("socket=")[2])

    def _on_client_host(self, command: str, *, check: bool = True) -> Completed:
        inside = self._network.inside(CLIENTS) if self._network is not None else []
        argv = [*inside, *fill_command(command, self._values)]
        return run(argv, timeout_s=_COMMAND_S, check=check, env=self._environment)

    def _path(self, text: str) -> Path:
        return Path(fill(text, self._values))


def _states(group: int) -> list[str]:
    """Return the states of all threads of a process group, as in proc(5): ``T`` is stopped."""
    states: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if int(_fields(process)[2]) == group:
                states += [_fields(thread)[0] for thread in process.glob("task/*")]
    return states


def _fields(process: Path) -> list[str]:
    """Return the fields of proc(5), stat, after the name: state, parent, process group, ..."""
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _differences(copies: Mapping[str, str]) -> Findings:
    """Return a finding for each copy that differs from the first one."""
    (first, expected), *others = copies.items()
    found = Findings()
    for name, seen in others:
        lines = zip_longest(expected.splitlines(), seen.splitlines())
        different = [number for number, (one, other) in enumerate(lines, 1) if one != other]
        if different:
            text = (
                f"the replicas of nodes {first} and {name} differ in {len(different)} lines of"
                f" their dumps, first in line {different[0]}"
            )
            found.append(Finding(Damage.STALE, remark=text))
    return found
