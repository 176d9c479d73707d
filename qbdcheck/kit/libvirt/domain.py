"""A domain of a private libvirtd, and the ways to its data.

Most cases need no guest. The domain is paused, and a client writes through an NBD export of the
node on which the guest's disk is: its requests take the way of the guest's requests through all
that libvirt puts there. For effects that only a device shows there is `halted`: a running processor
that executes HLT, and an ATA disk of which the case drives the registers.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from oracles.shadow import Shadow
from qbdcheck.clock import pause
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.ata_disk import AtaDisk
from qbdcheck.kit.libvirt.daemon import LibvirtDaemon
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.blockdev import dashed
from qbdcheck.programs.process import Process
from qbdcheck.programs.qmp import QmpFailed
from qbdcheck.seed import Seed
from qbdcheck.targets.disk import Disk

Connect = Callable[..., NbdIo]
"""The fixture ``nbd_io``."""
_EVENT_S = 30.0
_STEP_S = 0.01
_BLOCK = 4096
_NAME = "d"


class Domain:
    """A domain, defined and started.

    :param xml: of `qbdcheck.kit.libvirt.xml.domain_xml`.
    :param paused: whether its processor stays stopped.
    :raise VirshFailed: libvirt refuses it, or QEMU does not start.
    """

    def __init__(self, daemon: LibvirtDaemon, xml: str, *, paused: bool = True) -> None:
        self._daemon = daemon
        self._server: Path | None = None
        self._exports = self._served = 0
        self._last: dict[str, str] = {}
        daemon.virsh("define", "--validate", daemon.file("domain.xml", xml))
        self.start(paused=paused)

    def start(self, *, paused: bool = True) -> None:
        """Start it again, after it has ended."""
        self.restarted()
        self.virsh("start", *(["--paused"] if paused else []))

    def restarted(self) -> None:
        """Say that it runs in another QEMU now, without the exports of the old one."""
        self._server = None

    def virsh(self, command: str, *arguments: str | Path, timeout_s: float = 60.0) -> str:
        """Run a command of virsh on this domain, and return its output.

        :raise VirshFailed: it reports an error.
        """
        return self._daemon.virsh(command, _NAME, *arguments, timeout_s=timeout_s)

    def fails(self, command: str, *arguments: str | Path) -> str:
        """Run a command of virsh that must fail, and return its message."""
        return self._daemon.fails(command, _NAME, *arguments)

    def end(self) -> None:
        """End it as by a power cut of its host, and forget it, so that another can be defined."""
        self.virsh("destroy")
        self.virsh("undefine")

    def file(self, name: str, text: str) -> Path:
        """Write a file of the case, for virsh."""
        return self._daemon.file(name, text)

    @property
    def state(self) -> str:
        """State and reason, as virsh says them: ``paused (I/O error)``."""
        return self.virsh("domstate", "--reason").strip()

    def wait_state(self, state: str) -> None:
        """Wait until the domain has a state.

        :raise AssertionError: it has another one for 30 seconds.
        """
        limit = Limit(_EVENT_S)
        while (seen := self.state) != state:
            assert not limit.is_over, f"virsh domstate: expected {state!r}, got {seen!r}"
            pause(_STEP_S)

    def wait_ready(self, target: str = "vda") -> None:
        """Wait until the copy of a disk has caught up.

        :raise AssertionError: it has not within 30 seconds.
        """
        limit = Limit(_EVENT_S)
        while (mirror := self.disk(target).find("mirror")) is None or not mirror.get("ready"):
            seen = self.virsh("blockjob", target, "--info").strip() or "no job"
            assert not limit.is_over, f"the copy of {target} is not ready: {seen}"
            pause(_STEP_S)

    def xml(self) -> ET.Element:
        """Return the XML of the running domain."""
        return ET.fromstring(self.virsh("dumpxml"))  # noqa: S314  # libvirt's own

    def disk(self, target: str = "vda") -> ET.Element:
        """Return the XML of a disk.

        :raise AssertionError: the domain has no such disk.
        """
        found = self.xml().find(f"./devices/disk/target[@dev='{target}']/..")
        assert found is not None, f"the domain has no disk {target}"
        return found

    def layers(self, target: str = "vda") -> list[tuple[str, str]]:
        """Return each layer of a disk, the active one first: its name, ``vda[3]``, and its file.

        The file of a volume of the network is empty.
        """
        found: list[tuple[str, str]] = []
        layer: ET.Element | None = self.disk(target)
        while layer is not None and (source := layer.find("source")) is not None:
            index = source.get("index") or layer.get("index")
            found.append((f"{target}[{index}]", source.get("file", "")))
            layer = layer.find("backingStore")
        return found

    def stats(self, target: str = "vda") -> dict[str, int]:
        """Return what domblkstat counts: ``rd_req rd_bytes wr_req wr_bytes flush_operations``..."""
        words = (line.split() for line in self.virsh("domblkstat", target).splitlines())
        return {parts[1]: int(parts[2]) for parts in words if len(parts) == 3}

    def stats_of(self, name: str) -> str:
        """Return a value of domstats --block, empty if it is not there."""
        for line in self.virsh("domstats", "--block").splitlines():
            key, _, value = line.strip().partition("=")
            if key == name:
                return value
        return ""

    def kill(self) -> None:
        """Send SIGKILL to its QEMU."""
        self._daemon.kill_qemu(_NAME)

    # QEMU ----------------------------------------------------------------------------------------

    def qmp(self, command: str, /, **arguments: object) -> Any:  # JSON
        """Run a QMP command past libvirt (qemu-monitor-command).

        :raise QmpFailed: QEMU refuses it.
        """
        sent = {"execute": command, "arguments": dashed(arguments)}
        answer = json.loads(self.virsh("qemu-monitor-command", json.dumps(sent)))
        if "error" in answer:
            raise QmpFailed(command, answer["error"]["class"], answer["error"]["desc"])
        return answer["return"]

    def node(self, target: str = "vda") -> str:
        """Return the name of the node on which a disk is now."""
        return str(self.inserted(target)["node-name"])

    def size(self, target: str = "vda") -> int:
        """Return the size of a disk in bytes, as QEMU has it."""
        return int(self.inserted(target)["image"]["virtual-size"])

    def inserted(self, target: str = "vda") -> dict[str, Any]:
        """Return what query-block says of the node on which a disk is now.

        :raise AssertionError: QEMU has no such disk.
        """
        for device in self.qmp("query-block"):
            if f"/ua-{target}/" in f"/{device.get('qdev', '')}/":
                return dict(device["inserted"])
        raise AssertionError(f"QEMU has no disk {target}")

    def device(self, target: str, name: str) -> Any:
        """Return a property of the device of a disk, by qom-get."""
        for path in (f"ua-{target}/virtio-backend", f"ua-{target}"):
            with contextlib.suppress(QmpFailed):
                return self.qmp("qom-get", path=f"/machine/peripheral/{path}", property=name)
        raise AssertionError(f"the device of {target} has no property {name}")

    def export(
        self, target: str = "vda", *, writable: bool = True, server: Path | None = None
    ) -> str:
        """Export the node of a disk over NBD; return the URI.

        A writable export needs the disk in ``shared`` of `domain_xml`. Jobs that change what is
        below the disk change it for the export too. Before `save` and the like use `end_exports`.

        :param server: the socket of the NBD server that libvirt has started in QEMU for a backup.
        """
        path = server or self._server
        if path is None:
            self._served += 1
            path = self._server = self._daemon.root / f"n{self._served}"
            address = {"type": "unix", "data": {"path": str(path)}}
            self.qmp("nbd-server-start", addr=address)
        self._exports += 1
        name = self._last[target] = f"{target}.{self._exports}"
        self.qmp("block-export-add", type="nbd", id=name, node_name=self.node(target), name=name,
                 writable=writable)  # fmt: skip
        return f"nbd+unix:///{quote(name)}?socket={quote(str(path))}"

    def end_export(self, target: str) -> None:
        """End the last export of a disk; a disk that is detached needs it."""
        self.qmp("block-export-del", id=self._last.pop(target), mode="hard")

    def end_exports(self) -> None:
        """End all exports. A domain that is saved, and a backup that is pulled, need it."""
        if self._server is not None:
            self.qmp("nbd-server-stop")
            self._server = None

    def check(self, connect: Connect, shadow: Shadow, target: str = "vda") -> None:
        """Read all of a disk through the domain, and compare it with the shadow.

        :raise WrongData: with a diagnosis for each run of sectors.
        """
        with connect(self.export(target, writable=False), shadow=shadow) as io:
            for offset in range(0, shadow.size, 1 << 20):
                io.read(offset, min(1 << 20, shadow.size - offset))

    def events(self) -> Events:
        """Watch all events of libvirt from now on."""
        return Events(self._daemon)


class Events:
    """The events of ``virsh event --all``, one line each."""

    def __init__(self, daemon: LibvirtDaemon) -> None:
        argv = daemon.virsh_argv("event", "--all", "--loop")
        # stdbuf: virsh is silent until its buffer is full.
        self._process = Process(
            ["stdbuf", "-oL", *argv],
            daemon.directory,
            f"events{len(list(daemon.directory.glob('events*.out')))}",
            env=daemon.environment,
        )
        self._daemon = daemon
        self._wait_listening()

    def _wait_listening(self) -> None:
        """Wait until libvirtd has the registration: it tells of a domain that is made for this."""
        path = self._daemon.file(
            "listening.xml", domain_xml(emulator=self._daemon.emulator).replace(
                f"<name>{_NAME}</name>", "<name>listening</name>")
        )  # fmt: skip
        limit = Limit(_EVENT_S)
        while not any("listening" in line for line in self.lines):
            if limit.is_over:
                raise CaseBroken("virsh event tells of nothing")
            self._daemon.virsh("define", path)
            self._daemon.virsh("undefine", "listening")
            pause(_STEP_S)

    @property
    def lines(self) -> list[str]:
        """All events so far, as virsh prints them."""
        return self._process.out_file.read_text(encoding="utf-8").splitlines()

    def wait_count(self, count: int, *texts: str) -> None:
        """Wait until so many events have all of these texts.

        :raise AssertionError: there were fewer for 30 seconds.
        """
        limit = Limit(_EVENT_S)
        while (seen := self.count(*texts)) < count:
            what = " and ".join(texts)
            assert not limit.is_over, f"events of libvirt with {what}: expected {count}, got {seen}"
            pause(_STEP_S)

    def last(self, *texts: str) -> str:
        """Return the newest event with all of these texts; there must be one."""
        return [line for line in self.lines if all(text in line for text in texts)][-1]

    def wait(self, *texts: str) -> str:
        """Wait for an event with all of these texts; return its line.

        :raise AssertionError: none came within 30 seconds.
        """
        limit = Limit(_EVENT_S)
        while True:
            for line in self.lines:
                if all(text in line for text in texts):
                    return line
            seen = "; ".join(line for line in self.lines if "listening" not in line)
            assert not limit.is_over, f"no event of libvirt with {' and '.join(texts)}; got: {seen}"
            pause(_STEP_S)

    def count(self, *texts: str) -> int:
        """Return how many events so far have all of these texts."""
        return sum(all(text in line for text in texts) for line in self.lines)


@contextlib.contextmanager
def halted(daemon: LibvirtDaemon, disk: str, **options: Any) -> Iterator[tuple[Domain, AtaDisk]]:
    """Start a domain with a running processor that executes HLT; yield it and its ATA disk.

    :param disk: of `disk_xml`, with target hda on the bus ide.
    :param options: of `domain_xml`.
    """
    ata = AtaDisk(daemon.directory)
    loader = element("loader", str(ata.write_rom()), type="rom", readonly="yes")
    arguments = ["-qtest-log", "none", "-qtest", f"unix:{ata.path},server=on,wait=off"]
    xml = domain_xml(disk, emulator=daemon.emulator, os=loader, arguments=arguments, **options)
    domain = Domain(daemon, xml, paused=False)
    ata.connect()
    try:
        yield domain, ata
    finally:
        ata.close()


@contextlib.contextmanager
def load(
    io: NbdIo, seed: Seed, name: str, *, start: int = 0, end: int | None = None
) -> Iterator[Callable[[], int]]:
    """Write random blocks in the background while the block runs; yield a count of the writes.

    :param io: connected to an export of the domain; nobody else uses it, or its shadow, meanwhile.
    :param name: of the stream of the seed that gives the places.
    :param start: first byte of the part that is written. :param end: the byte behind it.
    :raise CaseBroken: the load was over before it wrote anything.
    """
    stop = threading.Event()
    random = seed.stream(name)
    written = 0
    failed: list[BaseException] = []
    last = io.client.size if end is None else end

    def work() -> None:
        nonlocal written
        try:
            while not stop.is_set():
                blocks = random.randint(1, 8)
                at = random.randrange(start // _BLOCK, last // _BLOCK - blocks) * _BLOCK
                io.write(at, blocks * _BLOCK)
                written += 1
                pause(0.002)
        except BaseException as error:  # raised again below
            failed.append(error)

    thread = threading.Thread(target=work, name="load")
    thread.start()
    try:
        yield lambda: written
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
    if not written:
        raise CaseBroken("the load wrote nothing")


def plugged(daemon: LibvirtDaemon, *disks: Disk, **driver: Any) -> Domain:
    """Start a paused domain with disks vda, vdb, ..., all of which can be exported.

    :param driver: attributes of ``<driver>`` of each disk.
    """
    targets = [f"vd{letter}" for letter in "abcdefgh"[: len(disks)]]
    parts = (disk_xml(disk, name, **driver) for disk, name in zip(disks, targets, strict=True))
    return Domain(daemon, domain_xml(*parts, emulator=daemon.emulator, shared=targets))
