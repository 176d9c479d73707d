"""A guest of the user's own: a disk image, a kernel, or both, instead of the small Linux.

It must have the programs that a case runs in it (a shell, base64, md5sum, fio, mkfs, ...). A case
whose program is missing there is not run. Commands reach the guest through its guest agent, or
through a login on its serial console.
"""

from __future__ import annotations

import json
from pathlib import Path

from qbdcheck.errors import SetupError
from qbdcheck.options import CustomGuest
from qbdcheck.programs.process import run

_IMG_S = 30.0
_FIRST_DISK = "virtio-blk-pci,drive=root,id=root,addr=8"


def boot_argv(guest: CustomGuest, directory: Path, name: str, console: str) -> list[str]:
    """Return the arguments of QEMU that boot it.

    :param directory: gets an overlay over the image, so that the image is not changed.
    :param console: the part of the kernel's command line that names the console.
    :raise SetupError: qemu-img cannot open the image.
    """
    node, device = "driver=null-co,node-name=root,size=1048576,read-only=on", _FIRST_DISK
    argv: list[str] = []
    if guest.kernel is not None:
        argv += ["-kernel", str(guest.kernel), "-append", f"{console} {guest.append}".strip()]
    if guest.initrd is not None:
        argv += ["-initrd", str(guest.initrd)]
    if guest.image is not None:
        overlay = directory / f"{name}.root.qcow2"
        _make_overlay(guest.image, overlay)
        node = f"driver=qcow2,node-name=root,file.driver=file,file.filename={overlay}"
        device += "" if guest.kernel else ",bootindex=0"  # -kernel has bootindex 0 itself
    # Without an image there is an empty disk, so that the target's disk is always /dev/vdb.
    return [*argv, "-blockdev", node, "-device", device]


def console_argv(guest: CustomGuest, directory: Path, name: str) -> list[str]:
    """Return the -chardev of the serial console: a log, and with a login also a socket."""
    log = directory / f"{name}.console.log"
    if not guest.login:
        return ["-chardev", f"file,id=console,path={log},append=on"]
    socket = f"socket,id=console,path={directory / name}.serial,server=on,wait=off"
    return ["-chardev", f"{socket},logfile={log},logappend=on"]


def _make_overlay(image: Path, overlay: Path) -> None:
    done = run(["qemu-img", "info", "-U", "--output=json", image], timeout_s=_IMG_S, check=False)
    if done.returncode:
        raise SetupError(f"--guest-image {image}: {done.stderr.strip()}")
    image_format = json.loads(done.stdout)["format"]
    arguments = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        image_format,
        "-b",
        image,
        overlay,
    ]
    run(arguments, timeout_s=_IMG_S)
