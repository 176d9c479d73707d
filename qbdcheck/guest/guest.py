"""A running guest: QEMU with the small Linux in it, its disks, and commands to it.

It starts from a template (template.py) in a second, or boots in four. One timeline records three
channels: commands through the guest agent, QMP's events, and the kernel's console.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from qbdcheck import clock
from qbdcheck.errors import NotRun, ProgramError
from qbdcheck.guest import console, vhost_user
from qbdcheck.guest.agent import Agent, Ran, Running
from qbdcheck.guest.devices import Device
from qbdcheck.guest.image import GuestImage
from qbdcheck.guest.machine_arguments import AGENT_PORT, MEMORY_MIB, machine_arguments
from qbdcheck.guest.serial_shell import SerialRunning, SerialShell
from qbdcheck.guest.timeline import Moment, console_moments, event_moments
from qbdcheck.guest.vhost_user import Route, no_route, shared_memory
from qbdcheck.machine_speed import Limit
from qbdcheck.options import CustomGuest
from qbdcheck.programs.blockdev import Blockdev
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.machine import Machine
from qbdcheck.programs.qmp import Event

BOOT_S = 120.0
"""Limit of a boot. Under TCG it takes 4 to 6 s, on a busy machine several times as long."""
OWN_BOOT_S = 600.0
"""Limit of the boot of a custom guest: a whole distribution under TCG."""
COMMAND_S = 60.0
_APPEAR_S = 30.0
_TAIL = 2000
_KERNEL_WRITES = 4
"""Field of /sys/block/DISK/stat: writes that have ended (Linux, block/stat)."""
_NOT_FOUND = 127
"""The exit status of a shell for a command that does not exist (POSIX, 2.8.2)."""


class GuestFailed(ProgramError):  # noqa: N818  # an outcome
    """A command of the guest failed, or the guest itself. The message has its console."""


@dataclass(frozen=True)
class GuestDisk:
    """A disk of a guest.

    :ivar path: its device file in the guest, such as /dev/vdb.
    :ivar blockdev: the options of its node; None if the case made the node.
    """

    identity: str
    opened: str
    """The name of its node, or the socket of its vhost-user server."""
    device: Device
    path: str
    blockdev: Blockdev | None = None
    slot: int = 0
    """Its PCI slot, if it is served by vhost-user; else 0."""

    @property
    def socket(self) -> str | None:
        """The socket of its vhost-user server; None if QEMU has a node of it."""
        return self.opened if self.slot else None

    @property
    def node(self) -> str:
        """The name of its node in QEMU.

        :raise NotRun: a disk by vhost-user has none.
        """
        if self.slot:
            raise NotRun(vhost_user.NO_NODE)
        return self.opened


class Guest:
    """A guest: starts, gets disks, runs commands, and ends.

    :param template: the directory of a saved guest (template.py); with None the guest boots.
    :param cpus: number of processors of a guest that boots; a template has 1.
    :param ram: its memory, an -object with the id ram; anonymous by default.
    :param extra: further arguments of QEMU.
    :param plugged: disks that are there from the start, as ide disks must be.
    :param incoming: the URI its state comes from, as for migrate-incoming.
    :param accelerator: ``tcg`` or ``kvm``.
    :param route: returns the socket of the server of a disk by vhost-user (vhost_user.py).
        With it, the memory of the guest is shared.
    :raise GuestFailed: the guest did not start.
    """

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        image: GuestImage | CustomGuest,
        *,
        name: str = "guest",
        template: Path | None = None,
        cpus: int = 1,
        ram: str = "",
        extra: Sequence[str] = (),
        plugged: Sequence[tuple[Blockdev, Device]] = (),
        incoming: str = "",
        accelerator: str = "tcg",
        route: Route = no_route,
    ) -> None:
        self.name = name
        self.programs = programs
        self.accelerator = accelerator
        self.own = image if isinstance(image, CustomGuest) else None
        self.expected: list[str] = []
        """Console lines with one of these words are not a failure in this case."""
        self.disks: list[GuestDisk] = []
        self.on_attach: Callable[[GuestDisk], None] | None = None
        """A function to call for each disk that is plugged in from now on."""
        self._attached = len(plugged)
        self._start_s = clock.now_s()
        self._boots: list[tuple[int, float]] = []
        """For each start of its kernel: console lines before it, and the offset of its clock."""
        self._timeline: list[Moment] = []
        self._console = directory / f"{name}.console.log"
        self._base = directory / name
        self._agent: Agent | SerialShell | None = None
        self._restored = template is not None or bool(incoming)
        self._route = route
        if route is not no_route and not ram:
            ram = shared_memory(template, directory, name, MEMORY_MIB)
        elif template is not None:
            ram = f"memory-backend-file,id=ram,size={MEMORY_MIB}M,mem-path={template / 'ram'}"
            ram += ",share=off"  # copy on write: each guest changes its own copy
        ram = ram or f"memory-backend-ram,id=ram,size={MEMORY_MIB}M"
        arguments = machine_arguments(image, directory, name, ram, cpus)
        arguments += [*extra, *(["-incoming", "defer"] if self._restored else [])]
        for index, (blockdev, device) in enumerate(plugged):
            identity = f"disk{index}"
            if route(blockdev) is not None:
                raise NotRun(
                    "disks by vhost-user are plugged in later, and this case needs them first"
                )
            node = {"node-name": f"node-{identity}", **blockdev}
            arguments += ["-blockdev", json.dumps(node)]
            for options in filter(
                None, (device.controller(identity), device.options(node["node-name"], identity))
            ):
                arguments += ["-device", json.dumps(options)]
            self.disks.append(GuestDisk(identity, node["node-name"], device, "", blockdev))
        kind = "pc,memory-backend=ram"
        self.machine = Machine(
            programs, directory, name, kind, arguments=arguments, accelerator=accelerator
        )
        if template is not None:
            capability = {"capability": "x-ignore-shared", "state": True}
            self.machine.execute("migrate-set-capabilities", {"capabilities": [capability]})
            incoming = f"exec:cat '{template / 'state'}'"
        if incoming:
            self.machine.execute("migrate-incoming", {"uri": incoming})

    # Start and end

    def start(self) -> None:
        """Start the guest, and wait until its agent answers.

        :raise GuestFailed: the guest does not start; the message has its console.
        """
        try:
            if self._restored:
                self._wait_incoming()
                self.machine.execute("cont")
            else:
                self.machine.execute("cont")
                if self.own is None or not self.own.login:
                    self._wait_agent_port()
            self._agent = self._connect()
            uptime = float(self._agent.run("cat /proc/uptime").output.split()[0])
        except (ProgramError, TimeoutError) as error:
            self.fail(f"the guest did not start: {error}")
        self._boots.append((0, uptime - (clock.now_s() - self._start_s)))
        self.ready_s = clock.now_s() - self._start_s
        self._note("guest", f"ready after {self.ready_s:.2f} s")
        self._find_disks()

    def _find_disks(self) -> None:
        """Find the paths of the disks that were plugged in before it ran."""
        for index, disk in enumerate(self.disks):
            self.disks[index] = replace(disk, path=self._path_of(disk))

    def reboot(self, *, hard: bool = False) -> None:
        """Reboot the guest in the same QEMU: its memory is lost, its disks stay.

        :param hard: reset it at once (system_reset). Otherwise it runs ``reboot -f``, which also
            syncs nothing.
        :raise GuestFailed: the guest does not start again.
        """
        agent = self.agent
        self._note("guest", "system_reset" if hard else "reboot -f")
        self.machine.execute("set-action", {"reboot": "reset"})
        known = len(self.machine.events)
        if hard:
            self.machine.execute("system_reset")
        else:
            path = "/applets/reboot" if self.own is None else "reboot"
            agent.start(f"sleep 0.2; {path} -f")  # so that the agent answers first
        try:
            known = self._wait_new("RESET", known)
            lines = len(self.console_lines())
            self._forget_agent()
            self._wait_new("VSERPORT_CHANGE", known, id=AGENT_PORT, open=True)
            self._agent = self._connect()
            uptime = float(self._agent.run("cat /proc/uptime").output.split()[0])
        except (ProgramError, TimeoutError) as error:
            self.fail(f"the guest did not start again: {error}")
        self.machine.execute("set-action", {"reboot": "shutdown"})
        self._boots.append((lines, uptime - (clock.now_s() - self._start_s)))
        self._find_disks()

    def _connect(self) -> Agent | SerialShell:
        if self.own is not None and self.own.login:
            return SerialShell(Path(f"{self._base}.serial"), self.own.login, OWN_BOOT_S)
        return Agent(Path(f"{self._base}.qga"), BOOT_S, small=self.own is None)

    @contextlib.contextmanager
    def lent_agent(self) -> Iterator[Path]:
        """Let another program use the agent's socket, and reconnect to it afterwards."""
        assert isinstance(self.agent, Agent)
        self._forget_agent()
        try:
            yield Path(f"{self._base}.qga")
        finally:
            self._agent = self._connect()

    def _wait_incoming(self) -> None:
        limit = Limit(BOOT_S)
        while self.machine.qmp("query-status")["status"] == "inmigrate":
            if limit.is_over:
                self.fail("the guest did not get its saved state", timed_out=True)
            clock.pause(0.005)

    def _wait_agent_port(self) -> None:
        limit = Limit(OWN_BOOT_S if self.own else BOOT_S)
        while True:
            try:
                self.machine.wait_event("VSERPORT_CHANGE", 0.5, id=AGENT_PORT, open=True)
                return
            except ProgramError:
                if not self.machine.process.is_running or limit.is_over:
                    raise

    def _wait_new(self, name: str, known: int, **match: object) -> int:
        """Wait for an event after the first ``known``; return the number of events up to it."""
        limit = Limit(OWN_BOOT_S if self.own else BOOT_S)
        while True:
            for number, event in enumerate(self.machine.events[known:], known + 1):
                data = event.get("data", {})
                if event["event"] == name and all(data.get(key) == match[key] for key in match):
                    return number
            if limit.is_over or not self.machine.process.is_running:
                raise ProgramError(f"no event {name}", [], None)
            clock.pause(0.01)

    @property
    def is_running(self) -> bool:
        """Whether QEMU runs and the guest has been started."""
        return self._agent is not None and self.machine.process.is_running

    @property
    def agent(self) -> Agent | SerialShell:
        """The agent of the guest, which must run."""
        if self._agent is None:
            self.fail("the guest was not started")
        return self._agent

    def kill(self) -> None:
        """Send SIGKILL to QEMU: the guest ends at once."""
        self._forget_agent()
        self.machine.kill()

    def quit(self) -> None:
        """End QEMU by ``quit``: the guest ends at once, but QEMU completes its requests."""
        self._forget_agent()
        self.machine.close()

    def _forget_agent(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    # Disks

    def attach(
        self,
        blockdev: Blockdev | str | GuestDisk,
        device: Device | None = None,
        identity: str = "",
    ) -> GuestDisk:
        """Plug a disk in, while the guest runs or before it starts.

        :param blockdev: options of its node, the name of an existing node, or a disk that was
            unplugged.
        :raise NotRun: a disk by vhost-user cannot have this device.
        :raise GuestFailed: the guest does not see it.
        """
        identity = identity or f"disk{self._attached}"
        self._attached += 1
        socket = None
        if isinstance(blockdev, GuestDisk):
            socket, blockdev = blockdev.socket, blockdev.opened
        elif isinstance(blockdev, dict):
            socket = self._route(blockdev)
        elif self._route is not no_route:
            raise NotRun(vhost_user.NO_NODE)
        if socket is not None:
            return self._attach_vhost_user(socket, device, identity)
        device = device or Device()
        node = blockdev if isinstance(blockdev, str) else self._add(blockdev, identity)
        self._note("qmp", f"device_add {device.kind} {identity} on {node}")
        if controller := device.controller(identity):
            self.machine.execute("device_add", controller)
        self.machine.execute("device_add", device.options(node, identity))
        options = None if isinstance(blockdev, str) else blockdev
        return self._attached_as(GuestDisk(identity, node, device, "", options))

    def _attach_vhost_user(self, socket: str, device: Device | None, identity: str) -> GuestDisk:
        slot = vhost_user.slot_of(self._attached - 1)
        options = vhost_user.device_options(device, identity, slot)
        self._note("qmp", f"device_add vhost-user-blk {identity} on {socket}")
        self.machine.execute("chardev-add", vhost_user.chardev(identity, socket))
        self.machine.execute("device_add", options)
        return self._attached_as(GuestDisk(identity, socket, device or Device(), "", slot=slot))

    def _attached_as(self, disk: GuestDisk) -> GuestDisk:
        path = self._path_of(disk) if self._agent is not None else ""
        self.disks.append(replace(disk, path=path))
        if self.on_attach is not None:
            self.on_attach(self.disks[-1])
        return self.disks[-1]

    def _add(self, blockdev: Blockdev, identity: str) -> str:
        return self.machine.add({"node-name": f"node-{identity}", **blockdev})

    def _path_of(self, disk: GuestDisk) -> str:
        device, identity = disk.device, disk.identity
        find = vhost_user.find(disk.slot) if disk.slot else device.find(identity)
        # One command that waits in the guest is faster than several.
        load = f"modprobe -a {device.modules}; " if device.modules else ""
        tries = round(_APPEAR_S * 20)
        search = f"{load}n=0; while [ $n -lt {tries} ]; do p=$({find}); "
        search += '[ -n "$p" ] && echo "/dev/$p" && exit 0; n=$((n+1)); sleep 0.05; done; exit 1'
        ran = self._ran(search, 2 * _APPEAR_S)
        if ran.status:
            self.fail(f"the guest does not see the disk {identity}")
        return ran.output.strip()

    def stats(self, disk: GuestDisk) -> dict[str, Any]:
        """Return the counters of a disk (query-blockstats).

        :raise NotRun: a disk by vhost-user has none.
        """
        if disk.slot:
            raise NotRun(vhost_user.NO_NODE)
        known = self.machine.qmp("query-blockstats")
        (found,) = [one for one in known if disk.identity in Path(one.get("qdev", "")).parts]
        return dict(found["stats"])

    def wait_writes(self, disk: GuestDisk, count: int = 100, within_s: float = COMMAND_S) -> None:
        """Wait until ``count`` more writes of a disk have ended.

        :raise GuestFailed: they do not end in time.
        """
        limit = Limit(within_s)
        wanted = self._writes(disk) + count
        while self._writes(disk) < wanted:
            if limit.is_over:
                late = f"no {count} writes of {disk.identity} ended within {limit.seconds:g} s"
                self.fail(late, timed_out=True)
            clock.pause(0.01)

    def _writes(self, disk: GuestDisk) -> int:
        """Return how many writes of a disk have ended: QEMU's count, or else the kernel's."""
        if not disk.slot:
            return int(self.stats(disk)["wr_operations"])
        fields = self._ran(f"cat /sys/block/{Path(disk.path).name}/stat", COMMAND_S).output.split()
        return int(fields[_KERNEL_WRITES])

    def detach(self, disk: GuestDisk, within_s: float = 30.0) -> None:
        """Unplug a disk. Its node stays.

        :raise ProgramError: the guest does not release it.
        """
        self._note("qmp", f"device_del {disk.identity}")
        self.machine.execute("device_del", {"id": disk.identity})
        self.machine.wait_event("DEVICE_DELETED", within_s, device=disk.identity)
        if disk.slot:
            self.machine.execute("chardev-remove", {"id": f"chardev-{disk.identity}"})
        self.disks.remove(disk)

    # Commands

    def run(self, command: str, within_s: float = COMMAND_S) -> str:
        """Run a line of shell; return its output.

        :raise GuestFailed: its exit status is not 0, or it did not end in time, or the guest died.
        :raise NotRun: a custom guest has no such program.
        """
        ran = self.execute(command, within_s)
        if ran.status:
            printed = "\n".join(filter(None, (ran.output.strip(), ran.errors.strip())))
            self.fail(f"'{command}' ended with {ran.status}: {printed[-_TAIL:]}")
        return ran.output

    def execute(self, command: str, within_s: float = COMMAND_S) -> Ran:
        """Run a line of shell; return its output, its errors and its exit status.

        :raise GuestFailed: it did not end in time, or the guest died.
        :raise NotRun: a custom guest has no such program.
        """
        self._note("agent", f"$ {command}")
        ran = self._ran(command, within_s)
        self._note("agent", f"status {ran.status}")
        if ran.status == _NOT_FOUND and self.own is not None:
            last = ran.errors.strip().rpartition("\n")[2]
            raise NotRun(f"your guest lacks a program: {last or command}")
        return ran

    def _ran(self, command: str, within_s: float) -> Ran:
        try:
            return self.agent.run(command, within_s)
        except TimeoutError as error:
            self.fail(str(error), timed_out=True)
        except GuestFailed:
            raise
        except ProgramError as error:
            self.fail(f"the guest died in '{command}': {error}")

    def begin(self, command: str) -> Running | SerialRunning:
        """Start a line of shell that runs in the background."""
        self._note("agent", f"$ {command} &")
        return self.agent.start(command)

    def write_file(self, path: str, data: bytes | str) -> None:
        """Write a file of the guest."""
        self.agent.write_file(path, data.encode() if isinstance(data, str) else data)

    def read_file(self, path: str) -> bytes:
        """Return a file of the guest."""
        return self.agent.read_file(path)

    # Console and timeline

    def settle(self) -> None:
        """Check the console.

        :raise GuestFailed: the kernel reported trouble that the case does not expect.
        """
        bad = console.bad_lines(console.lines(self._console), self.expected)
        if bad:
            late = console.are_late(bad)
            self.fail(f"the guest's kernel says: {bad[0].strip()}", timed_out=late)

    def console_lines(self) -> list[str]:
        """Return the lines of the console so far."""
        return console.lines(self._console)

    def timeline(self, others: Mapping[str, Sequence[Event]] | None = None) -> list[Moment]:
        """Return the entries of all channels in order: agent, QMP's events, console.

        Their times are those of the case, so they can be compared with all else that it recorded.

        :param others: events of backends by name: faults, connections.
        """
        moments = list(self._timeline)
        sources = {"": self.machine.events, **(others or {})}
        moments += event_moments(sources, clock.wall_s() - clock.now_s() + self._start_s)
        moments += console_moments(self.console_lines(), self._boots)
        begun_s = clock.case_s() - (clock.now_s() - self._start_s)
        moments = [replace(one, at_s=one.at_s + begun_s) for one in moments]
        return sorted(moments, key=lambda one: one.at_s)

    def _note(self, channel: str, text: str) -> None:
        self._timeline.append(Moment(clock.now_s() - self._start_s, channel, text))

    def fail(self, what: str, *, timed_out: bool = False) -> NoReturn:
        """Raise GuestFailed with the tail of the console; lines that report trouble come first.

        :param timed_out: whether a time limit was exceeded.
        """
        printed = self.console_lines()
        bad = console.bad_lines(printed, self.expected)
        if bad and (says := bad[0].strip()) not in what:
            what += f"; the guest's kernel says: {says}"
        tail, process = "\n".join(printed)[-_TAIL:], self.machine.process
        what += f"; {process.describe()}" if process.crash else ""
        text = f"{what}\nconsole:\n{tail}"
        raise GuestFailed(text, process.argv, process.crash, tail, timed_out=timed_out)
