"""The guests of a case. They end with it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qbdcheck.errors import NotRun, ProgramError
from qbdcheck.guest.devices import Device
from qbdcheck.guest.guest import Guest, GuestDisk
from qbdcheck.guest.image import FULL_KERNEL, GuestImage, guest_image
from qbdcheck.guest.observers import Observers
from qbdcheck.guest.setup import GuestSetup, guest_setup
from qbdcheck.guest.vhost_user import no_route
from qbdcheck.options import CustomGuest
from qbdcheck.programs.blockdev import Blockdev
from qbdcheck.targets.advertised_sizes import SMALL
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.placeholders import fill
from qbdcheck.targets.session import TargetSession

BLOCK_MAX = 4096
"""Bytes of the largest block of a guest's disk."""


class Guests:
    """Starts guests, and checks their consoles at the end.

    :param target: the target, whose QEMU runs the guests.
    """

    def __init__(self, target: TargetSession, scratch: Path) -> None:
        self._target = target
        self._scratch = scratch
        self.running: list[Guest] = []
        self.observed: list[str] = []
        """Lines of --observe, after the case has ended."""
        self._observers: list[Observers] = []

    @property
    def setup(self) -> GuestSetup:
        """What the guests start from.

        :raise NotRun: it cannot be made here.
        """
        target = self._target
        custom = target.guest_options.custom
        return guest_setup(target.programs, target.execution.cache_dir, custom)

    def __call__(
        self,
        *disks: Disk | Blockdev,
        device: Device | None = None,
        boot: bool = False,
        start: bool = True,
        cpus: int = 1,
        full_kernel: bool = False,
        plugged: Sequence[tuple[Blockdev, Device]] = (),
        **options: Any,
    ) -> Guest:
        """Start a guest from the template, or boot it, and plug disks in.

        A custom guest (--guest-image) always boots.

        :param device: the device of the disks; by default virtio-blk.
        :param boot: boot its kernel. More cpus and ide disks need it, and are booted anyway.
        :param start: whether the guest runs when this returns.
        :param full_kernel: boot Debian's kernel for all machines, which has ahci.
        :raise NotRun: the guest cannot be made here.
        :raise GuestFailed: the guest does not start.
        """
        setup = self.setup
        needs_small_blocks(self._target.minimum_block)
        boot = boot or cpus > 1 or bool(plugged) or bool(options) or full_kernel
        late = start and not boot  # its own disks come first then
        guest = Guest(
            self._target.programs,
            self._scratch,
            self._image(setup, full_kernel),
            name=f"guest{len(self.running)}",
            template=None if boot or setup.template is None else setup.template.directory,
            accelerator=setup.accelerator,
            cpus=cpus,
            plugged=plugged,
            route=self._vhost_user if self._target.description.vhost_user else no_route,
            **options,
        )
        self.running.append(guest)
        if not late:
            self._plug(guest, disks, device)
        if start:
            guest.start()
        if late:
            self._plug(guest, disks, device)
        kinds = self._target.guest_options.observe
        if start and kinds:
            name = f"{self._target.case_id}.{self._target.image_format}"
            results = self._target.execution.results_dir / name
            observers = Observers(guest, kinds, self._scratch, results)
            guest.on_attach = observers.disk_is_there
            observers.start()
            self._observers.append(observers)
        return guest

    def _image(self, setup: GuestSetup, full_kernel: bool) -> GuestImage | CustomGuest:
        if full_kernel and isinstance(setup.image, GuestImage):
            return guest_image(self._target.execution.cache_dir, FULL_KERNEL)
        return setup.image

    def _vhost_user(self, blockdev: Blockdev) -> str | None:
        """Return the vhost-user socket of the volume that a node opens, or None.

        :raise NotRun: the node has an image on the volume, or a filter, or is behind a proxy.
        """
        for disk in self._target.disks:
            backend = disk.backend
            if not _opens(blockdev, backend.blockdev):
                continue
            if backend.front is not None:
                raise NotRun("the faults of this case are in a proxy for NBD, not for vhost-user")
            file = blockdev.get("file", {})
            if blockdev["driver"] != "raw" or file.get("driver") != backend.blockdev["driver"]:
                driver = blockdev["driver"]
                raise NotRun(f"vhost-user serves the volume itself, and not {driver} on it")
            more = sorted(file.keys() - backend.blockdev.keys() - {"node-name"})
            if more:
                raise NotRun(f"vhost-user has no {', '.join(more)}, an option of QEMU's node")
            assert backend.description.vhost_user is not None
            return fill(backend.description.vhost_user, backend.values())
        return None

    def of_worker(self, directory: Path, name: str = "guest") -> Guest:
        """Start a guest for a worker process, with which it ends. Its console is not checked.

        :param directory: the worker's own.
        :raise GuestFailed: the guest does not start.
        """
        setup = self.setup
        guest = Guest(
            self._target.programs,
            directory,
            setup.image,
            name=name,
            template=None if setup.template is None else setup.template.directory,
            accelerator=setup.accelerator,
        )
        guest.start()
        return guest

    def _plug(
        self, guest: Guest, disks: Sequence[Disk | Blockdev], device: Device | None
    ) -> list[GuestDisk]:
        minimum = self._target.minimum_block
        nodes = [disk if isinstance(disk, dict) else disk.blockdev() for disk in disks]
        return [guest.attach(for_guests(node, minimum), device) for node in nodes]

    def settle(self) -> None:
        """Check all consoles.

        :raise GuestFailed: a kernel reported trouble that the case does not expect.
        """
        for guest in self.running:
            guest.settle()

    def close(self) -> None:
        """End all guests, and write their timelines."""
        for observers in self._observers:
            self.observed += observers.stop()
        events = {
            backend.name: [event for part in backend.event_lists for event in part]
            for backend in self._target.backends
        }
        for guest in self.running:
            with contextlib.suppress(ProgramError, OSError):
                lines = [
                    f"{moment.at_s:9.3f} {moment.channel:8} {moment.text}\n"
                    for moment in guest.timeline(events)
                ]
                path = self._scratch / f"{guest.name}.timeline.txt"
                path.write_text("".join(lines), encoding="utf-8")
            guest.kill()


def needs_small_blocks(minimum: int) -> None:
    """Check that a guest's blocks are not smaller than those of the target.

    QEMU reads and writes a whole block for each smaller request of a guest: faults and their
    evidence are then at other places than the guest's requests.

    :param minimum: the minimum block of the target, in bytes.
    :raise NotRun: it is larger than the largest block of a guest's disk.
    """
    if minimum > BLOCK_MAX:
        raise NotRun(f"the minimum block is {minimum} bytes; blocks of guests have {BLOCK_MAX}")


def for_guests(node: Blockdev, minimum: int) -> Blockdev:
    """Return the options of a raw node for a guest: without discards that QEMU does not align.

    QEMU's NBD client passes a guest's discards on unaligned, and the guest sees the server's EINVAL
    (docs/findings.md, qemu-client-unaligned-discard).

    :param minimum: the minimum block of the target, in bytes.
    """
    file = node.get("file")
    below = file.get("driver") if node.get("driver") == "raw" and isinstance(file, dict) else None
    discards = "nbd" in {node.get("driver"), below} and node.get("discard") == "unmap"
    return {**node, "discard": "ignore"} if discards and minimum > SMALL else node


def _opens(blockdev: Blockdev, protocol: Blockdev) -> bool:
    """Return whether a node, or one below it, has all options of a protocol node."""
    if protocol.items() <= blockdev.items():
        return True
    return any(_opens(one, protocol) for one in blockdev.values() if isinstance(one, dict))
