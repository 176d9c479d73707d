"""A domain in which the small Linux of `qbdcheck.guest` runs; its commands go through libvirt."""

from __future__ import annotations

import json
from typing import Any

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun
from qbdcheck.guest.agent import SMALL_LINUX, Agent, Running
from qbdcheck.guest.guest import BOOT_S, GuestFailed
from qbdcheck.guest.image import TOOLS_SERIAL, GuestImage
from qbdcheck.guest.machine_arguments import KERNEL_ARGUMENTS, MEMORY_MIB
from qbdcheck.kit.guests import Guests
from qbdcheck.kit.libvirt.daemon import LibvirtDaemon, VirshFailed
from qbdcheck.kit.libvirt.domain import Domain
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.qmp import QmpFailed

_STEP_S = 0.1
_ANSWER_S = 60
_LOAD_S = 60.0


class _VirshAgent(Agent):
    """The guest agent behind libvirt, which alone is connected to it."""

    chunk = 64 << 10
    """Linux allows 128 KiB in one argument, and base64 adds a third (execve(2))."""

    def __init__(self, domain: Domain) -> None:
        self._shell = SMALL_LINUX
        self._domain = domain

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run a command of the agent itself, by virsh qemu-agent-command.

        :raise QmpFailed: the agent refused it. :raise VirshFailed: it does not answer.
        """
        sent = {"execute": command, **({"arguments": arguments} if arguments else {})}
        words = ("qemu-agent-command", "--timeout", str(_ANSWER_S), json.dumps(sent))
        answer = json.loads(self._domain.virsh(*words))
        if "error" in answer:
            raise QmpFailed(command, answer["error"]["class"], answer["error"]["desc"])
        return answer["return"]

    def close(self) -> None:
        """Do nothing: the connection is libvirt's."""


class GuestDomain(Domain):
    """A domain with a guest that has booted; the first disk is /dev/vda.

    :param guests: the fixture ``guest``, which knows the guest's image.
    :param disks: of `disk_xml`, on the bus virtio or scsi.
    :param options: of `domain_xml`.
    :raise NotRun: the guest cannot be made here, or is a custom one.
    :raise GuestFailed: it does not start.
    """

    def __init__(
        self, daemon: LibvirtDaemon, guests: Guests, *disks: str, devices: str = "", **options: Any
    ) -> None:
        image = guests.setup.image
        if not isinstance(image, GuestImage):
            raise NotRun("a custom guest is not started by libvirt")
        self._console = daemon.directory / "console.log"
        boot = (
            element("kernel", str(image.kernel))
            + element("initrd", str(image.initramfs))
            + element("cmdline", KERNEL_ARGUMENTS)
        )
        inner = f"<readonly/>{element('serial', TOOLS_SERIAL)}"
        tools = disk_xml(image.tools, "vdz", inner=inner)
        devices += element("controller", type="scsi", index=0, model="virtio-scsi")
        devices += element(
            "serial", element("source", path=self._console) + element("target", port=0), type="file"
        )
        channel = element("target", type="virtio", name="org.qemu.guest_agent.0")
        devices += element("channel", channel, type="unix")
        xml = domain_xml(
            *disks, tools, emulator=daemon.emulator, os=boot, memory_mib=MEMORY_MIB,
            devices=devices, **options,
        )  # fmt: skip
        super().__init__(daemon, xml, paused=False)
        self.agent = _VirshAgent(self)
        self._wait_booted()

    def _wait_booted(self) -> None:
        limit = Limit(BOOT_S)
        while True:
            try:
                self.virsh("qemu-agent-command", "--timeout", "5", '{"execute": "guest-ping"}')
            except VirshFailed as error:
                if limit.is_over:
                    raise GuestFailed(
                        f"the guest did not start: {error.text}; console: {self.console()[-2000:]}",
                        error.argv, None,
                    ) from None  # fmt: skip
                pause(_STEP_S)
            else:
                return

    def console(self) -> str:
        """Return what the guest has printed on its console."""
        return self._console.read_text(encoding="utf-8", errors="backslashreplace")

    def run(self, command: str, within_s: float = 60.0) -> str:
        """Run a line of shell in the guest; return its output, without blanks at its ends.

        :raise GuestFailed: its exit status is not 0, or it did not end.
        """
        try:
            ran = self.agent.run(command, within_s)
        except TimeoutError as error:
            raise GuestFailed(f"{command}: {error}", [command], None) from None
        if ran.status:
            text = f"{command}: exited with {ran.status}: {(ran.errors or ran.output).strip()}"
            raise GuestFailed(text, [command], ran.status)
        return ran.output.strip()

    def begin(self, command: str) -> Running:
        """Start a line of shell in the guest."""
        return self.agent.start(command)

    def turn(self) -> int:
        """Return the number in /tmp/turn of the guest, in which a load counts its turns; else 0."""
        return int(self.run("cat /tmp/turn 2>/dev/null || echo 0") or 0)

    def wait_turn(self, turn: int) -> None:
        """Wait until a load has come to a turn.

        :raise GuestFailed: it has not within 60 seconds.
        """
        limit = Limit(_LOAD_S)
        while (seen := self.turn()) < turn:
            if limit.is_over:
                text = f"the load in the guest is still at turn {seen}, not at {turn}"
                raise GuestFailed(text, ["turn"], None)
            pause(_STEP_S)
