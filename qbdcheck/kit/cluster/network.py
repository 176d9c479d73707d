"""The nodes of a cluster as hosts: network namespaces, with a link between each two of them.

Each node has a network namespace of its own, and so have the clients. Each two namespaces are
joined by a pair of virtual interfaces (veth(4)), so each link can fail alone, and in one direction
alone. The namespaces belong to processes that sleep. The kernel removes them, with
their interfaces, when these processes end (network_namespaces(7)): also after a SIGKILL of the
runner, because the processes die with it. Nothing is mounted.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun, ProgramError, SetupError
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.process import Process, run

CLIENTS = "clients"
"""The name of the host of the clients."""
_READY_S = 10.0
_RATE = "1mbit"
_MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
"""The link addresses of the two ends of each link."""
_NO_IPV6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
_COUNTS = re.compile(r"dropped (\d+), overlimits (\d+)")


class VirtualLink:
    """What one node sends to another one.

    :param inside: the command that enters the namespace of the sender.
    :param device: its interface to the other node.
    """

    def __init__(self, inside: Sequence[str], device: str) -> None:
        self._inside = tuple(inside)
        self._device = device
        self.is_changed = False

    def cut(self) -> None:
        """Drop each packet. The sender does not learn of it (tc-pfifo(8): a queue of 0 packets)."""
        self._tc("replace", "pfifo", "limit", "0")

    def slow_down(self) -> None:
        """Carry 1 Mbit/s, with a queue of half a second (tc-tbf(8))."""
        self._tc("replace", "tbf", "rate", _RATE, "burst", "4kb", "latency", "500ms")

    def restore(self) -> int:
        """Restore the link. Return how many packets it has dropped or delayed."""
        shown = run([*self._inside, "tc", "-s", "qdisc", "show", "dev", self._device]).stdout
        self._tc("del")
        self.is_changed = False
        found = _COUNTS.search(shown)
        assert found is not None, f"tc shows no counters: {shown}"
        return int(found[1]) + int(found[2])

    def _tc(self, verb: str, *kind: str) -> None:
        run([*self._inside, "tc", "qdisc", verb, "dev", self._device, "root", *kind])
        self.is_changed = True


class NodeNetwork:
    """The hosts of a cluster.

    :param addresses: the IPv4 address of each node, by its name.
    :param directory: private; for the output of the processes.
    :raise NotRun: not root, no ip(8) or tc(8), or a kernel without network namespaces or veth.
    """

    def __init__(self, addresses: Mapping[str, str], directory: Path) -> None:
        wanted = ("ip", "tc", "nsenter", "unshare")
        missing = [program for program in wanted if shutil.which(program) is None]
        if os.geteuid() != 0 or missing:
            why = f"no {' and no '.join(missing)}" if missing else "not root"
            raise NotRun(f"cannot give each node a network namespace: {why}")
        first = next(iter(addresses.values())).rpartition(".")[0]
        self._addresses = {**addresses, CLIENTS: f"{first}.254"}
        self._hosts: dict[str, Process] = {}
        try:
            for name in self._addresses:
                self._hosts[name] = self._host(name, directory)
            for one, other in combinations(self._addresses, 2):
                self._join(one, other)
        except (ProgramError, SetupError) as error:
            self.close()
            raise NotRun(f"cannot give each node a network namespace: {error}") from None

    def pid(self, name: str) -> int:
        """Return the process id of the process that has the namespace of a host."""
        return self._hosts[name].pid

    def inside(self, name: str) -> list[str]:
        """Return the command that runs a program on a host."""
        return ["nsenter", f"--net=/proc/{self.pid(name)}/ns/net", "--"]

    def link(self, sender: str, receiver: str) -> VirtualLink:
        """Return what one host sends to another one."""
        return VirtualLink(self.inside(sender), self._device(receiver))

    def close(self) -> None:
        """Remove all hosts."""
        for host in self._hosts.values():
            host.kill()

    def _host(self, name: str, directory: Path) -> Process:
        host = Process(["unshare", "--net", "sleep", "infinity"], directory, f"host-{name}")
        self._hosts[name] = host
        own, limit = Path("/proc/self/ns/net").readlink(), Limit(_READY_S)
        while True:
            with suppress(OSError):
                # Before unshare(2) the process still has our namespace, or that of setpriv(1).
                if Path(f"/proc/{host.pid}/ns/net").readlink() != own:
                    break
            if limit.is_over or not host.is_running:
                raise SetupError(f"no network namespace: {host.describe()}")
            pause(0.005)
        commands = (
            # The kernel's own IPv6 packets would look like messages that met a fault.
            f"if [ -e {_NO_IPV6} ]; then echo 1 > {_NO_IPV6}; fi",
            "ip link set lo up",
            f"ip address add {self._addresses[name]}/32 dev lo",
        )
        run([*self.inside(name), "sh", "-ec", "; ".join(commands)])
        return host

    def _join(self, one: str, other: str) -> None:
        near, far = self._device(other), self._device(one)
        veth = ["ip", "link", "add", near, "address", _MACS[0], "type", "veth", "peer", "name", far]
        run([*self.inside(one), *veth, "address", _MACS[1], "netns", str(self.pid(other))])
        for name, to, device, mac in ((one, other, near, _MACS[1]), (other, one, far, _MACS[0])):
            source, target = self._addresses[name], self._addresses[to]
            commands = (
                f"ip link set {device} up",
                f"ip route add {target}/32 dev {device} src {source}",
                # Else a cut direction would end the other one too: ARP needs both.
                f"ip neighbour replace {target} lladdr {mac} dev {device} nud permanent",
            )
            run([*self.inside(name), "sh", "-ec", "; ".join(commands)])

    def _device(self, receiver: str) -> str:
        """Return the name of the interface to a host; at most 15 characters."""
        return f"to{list(self._addresses).index(receiver)}"
