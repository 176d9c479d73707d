"""The arguments of QEMU that a template and the guests that start from it share."""

from __future__ import annotations

from pathlib import Path

from qbdcheck.guest import custom_guest
from qbdcheck.guest.devices import SCSI_BUS
from qbdcheck.guest.image import GuestImage
from qbdcheck.options import CustomGuest

AGENT_PORT = "qgaport"
MEMORY_MIB = 512
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check tsc=reliable"
    " random.trust_cpu=on 8250.nr_uarts=1 audit=0 selinux=0 apparmor=0 cryptomgr.notests"
    " raid=noautodetect printk.time=1"
)


def machine_arguments(
    image: GuestImage | CustomGuest, directory: Path, name: str, memory: str, cpus: int = 1
) -> list[str]:
    """Return the arguments of QEMU that a template and the guests that start from it share.

    :param memory: the -object of the guest's RAM.
    :raise SetupError: a custom image cannot be opened.
    """
    if isinstance(image, CustomGuest):
        boot = custom_guest.boot_argv(image, directory, name, KERNEL_ARGUMENTS)
        console = custom_guest.console_argv(image, directory, name)
    else:
        boot = image.boot_argv(KERNEL_ARGUMENTS)
        console = image.console_argv(directory, name)
    return [
        "-m", str(MEMORY_MIB), "-smp", str(cpus), "-object", memory,
        *boot,
        *console,
        "-serial", "chardev:console",
        "-chardev", f"socket,id=qga,path={directory / name}.qga,server=on,wait=off",
        "-device", "virtio-serial-pci,id=vser,addr=9",
        "-device", f"virtserialport,chardev=qga,name=org.qemu.guest_agent.0,id={AGENT_PORT}",
        "-device", f"virtio-scsi-pci,id={SCSI_BUS},addr=10",
        "-no-reboot",
    ]  # fmt: skip
