"""A cluster of real processes: nodes that a case starts, kills and pauses, links that it cuts.

The nodes are those of the target's profile (``nodes:``), or those of the reference cluster.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Self

from qbdcheck.clock import now_s, pause
from qbdcheck.errors import SetupError
from qbdcheck.files import ROOT
from qbdcheck.kit.cluster.relay import Relay
from qbdcheck.programs.process import Process
from qbdcheck.targets.description import Description, load
from qbdcheck.targets.placeholders import fill

_READY_S = 30.0
_LEADER_S = 60.0


class ClusterProcesses:
    """All nodes of a cluster, each a process, with a relay in each link.

    :param target: its profile has the nodes; without any, those of the reference cluster are used.
    :param directory: private; for stores, sockets and output. :param size: of the volume, in bytes.
    :ivar happened: each fault that was shown to have happened, in words.
    """

    def __init__(self, target: Description, directory: Path, size: int) -> None:
        if not target.nodes:
            target = load(ROOT / "targets" / "reference-cluster.yaml")
        self.failover_s = target.failover
        self.happened: list[str] = []
        self._directory = directory
        self._values = {
            "dir": str(directory), "size": str(size), "python": sys.executable, "root": str(ROOT)
        }  # fmt: skip
        self._nodes = {node.name: node for node in target.nodes}
        self._environment = {
            **os.environ,
            **{name: fill(value, self._values) for name, value in target.environment.items()},
        }
        self._processes: dict[str, Process] = {}
        self._relays = {
            (node.name, other): Relay(self._path(link), self._path(self._nodes[other].address))
            for node in target.nodes
            for other, link in node.links.items()
        }

    def __enter__(self) -> Self:
        for name in self._nodes:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self._processes[name].kill()
        for relay in self._relays.values():
            relay.close()

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
        argv = [fill(word, self._values) for word in shlex.split(self._nodes[name].start)]
        socket_path = Path(self.uri(name).partition("socket=")[2])
        socket_path.unlink(missing_ok=True)
        process = Process(argv, self._directory, f"node-{name}", env=self._environment)
        self._processes[name] = process
        end = now_s() + _READY_S
        while not socket_path.exists():
            if now_s() > end or not process.is_running:
                raise SetupError(f"node {name} is not ready: {process.output()}")
            pause(0.02)

    def leader(self) -> str:
        """Return the running node that became the leader last, as it printed it.

        :raise SetupError: no node leads in time.
        """
        end = now_s() + _LEADER_S
        while now_s() < end:
            led = {name: self._epoch_led(name) for name in self._processes}
            best = max(led, key=lambda name: led[name], default="")
            if best and led[best]:
                return best
            pause(0.02)
        raise SetupError(f"no node leads after {_LEADER_S:g} s")

    def _epoch_led(self, name: str) -> int:
        pattern = self._nodes[name].leads
        output = self._processes[name].out_file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in output.splitlines() if pattern and re.search(pattern, line)]
        return int("".join(re.findall(r"\d+", lines[-1])) or 1) if lines else 0

    def kill(self, *names: str) -> None:
        """Kill nodes by SIGKILL."""
        for name in names:
            status = self._processes.pop(name).stop(SIGKILL)
            assert status == -SIGKILL, f"node {name} ended with {status} before it was killed"
            self.happened.append(f"node {name} was killed")

    def pause(self, name: str) -> None:
        """Stop a node by SIGSTOP."""
        process = self._processes[name]
        process.signal(SIGSTOP)
        end = now_s() + _READY_S
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert now_s() < end, f"node {name} does not stop"
            pause(0.01)
        self.happened.append(f"node {name} was paused")

    def resume(self, name: str) -> None:
        """Continue a paused node."""
        self._processes[name].signal(SIGCONT)

    def cut_off(self, name: str) -> None:
        """Cut all links of a node to the other nodes, in both directions."""
        for ends, relay in self._relays.items():
            if name in ends:
                relay.is_cut = True

    def heal(self) -> None:
        """Restore all links. A cut that carried nothing away did not happen."""
        cut = [relay for relay in self._relays.values() if relay.is_cut]
        refused = sum(relay.refused for relay in cut)
        assert refused, "no message met the cut link"
        self.happened.append(f"{len(cut)} links were cut: they refused {refused} bytes")
        for relay in cut:
            relay.is_cut, relay.refused = False, 0

    def _path(self, text: str) -> Path:
        return Path(fill(text, self._values))
