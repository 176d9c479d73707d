"""The guests of a case, which start before its target's disks and end with it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qbdcheck.errors import ProgramError
from qbdcheck.guest.devices import Device
from qbdcheck.guest.guest import Guest, GuestDisk
from qbdcheck.guest.image import FULL_KERNEL, GuestImage, guest_image
from qbdcheck.guest.observers import Observers
from qbdcheck.guest.setup import GuestSetup, guest_setup
from qbdcheck.options import CustomGuest
from qbdcheck.programs.blockdev import Blockdev
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession


class Guests:
    """Makes guests, and judges their consoles at the end.

    :param target: whose QEMU they run in.
    """

    def __init__(self, target: TargetSession, scratch: Path) -> None:
        self._target = target
        self._scratch = scratch
        self.running: list[Guest] = []
        self.observed: list[str] = []
        """What --observe saw, when the case has ended."""
        self._observers: list[Observers] = []

    @property
    def setup(self) -> GuestSetup:
        """What they start from.

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
        """Start a guest, from the template unless it is to boot, and plug disks in.

        One of the user's own (--guest-image) always boots.

        :param device: how it sees them; by default virtio-blk.
        :param boot: let its kernel start from nothing; needed for more cpus, ide disks and reboots.
        :param start: whether it runs already when this returns.
        :param full_kernel: Debian's kernel for all machines, with ahci; it boots.
        :raise NotRun: it cannot be made here.
        :raise GuestFailed: it does not come up.
        """
        setup = self.setup
        boot = boot or cpus > 1 or bool(plugged) or bool(options) or full_kernel
        late = start and not boot  # disks come when it runs, and so after those it has itself
        guest = Guest(
            self._target.programs,
            self._scratch,
            self._image(setup, full_kernel),
            name=f"guest{len(self.running)}",
            template=None if boot or setup.template is None else setup.template.directory,
            accelerator=setup.accelerator,
            cpus=cpus,
            plugged=plugged,
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

    def of_worker(self, directory: Path, name: str = "guest") -> Guest:
        """Start a guest for a worker process, with which it ends; nobody judges its console.

        :param directory: the worker's own.
        :raise GuestFailed: it does not come up.
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

    @staticmethod
    def _plug(
        guest: Guest, disks: Sequence[Disk | Blockdev], device: Device | None
    ) -> list[GuestDisk]:
        nodes = [disk if isinstance(disk, dict) else disk.blockdev() for disk in disks]
        return [guest.attach(node, device) for node in nodes]

    def settle(self) -> None:
        """Judge all consoles.

        :raise GuestFailed: a kernel told of trouble that the case does not expect.
        """
        for guest in self.running:
            guest.settle()

    def close(self) -> None:
        """End all, and write their timelines."""
        for observers in self._observers:
            self.observed += observers.stop()
        told = {
            backend.name: [event for events in backend.event_lists for event in events]
            for backend in self._target.backends
        }
        for guest in self.running:
            with contextlib.suppress(ProgramError, OSError):
                lines = [
                    f"{moment.at_s:9.3f} {moment.channel:8} {moment.text}\n"
                    for moment in guest.timeline(told)
                ]
                path = self._scratch / f"{guest.name}.timeline.txt"
                path.write_text("".join(lines), encoding="utf-8")
            guest.kill()
