"""A guest of the user's own: a disk image, a kernel, or both, instead of the small Linux of ours.

It must have what a case runs in it (a shell, base64, md5sum, fio, mkfs, ...): a case whose program
is missing there is not run. Commands reach it through its guest agent, or through a login on its
serial console.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.errors import SetupError
from qbdcheck.programs.process import run

_IMG_S = 30.0
_FIRST_DISK = "virtio-blk-pci,drive=root,id=root,addr=8"


@dataclass(frozen=True)
class OwnGuest:
    """What QEMU boots.

    :ivar image: a disk image of any format that qemu-img knows; it is not written to. The guest
        sees it as its first virtio-blk disk.
    :ivar kernel: a bzImage, ``initrd`` what belongs to it; without a kernel the image boots itself.
    :ivar append: words for the kernel, such as ``root=/dev/vda1``; only with a kernel.
    :ivar login: ``USER`` or ``USER:PASSWORD`` for the serial console; "" for a guest with an agent.
    """

    image: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    login: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        files = filter(None, (self.image, self.kernel, self.initrd))
        return sum(file.stat().st_size for file in files)

    def boot_words(self, directory: Path, name: str, console: str) -> list[str]:
        """Return the words of QEMU's command line that boot it.

        :param directory: gets an overlay over the image, so that the image stays as it is.
        :param console: words of our kernel line that name the console.
        :raise SetupError: qemu-img cannot open the image.
        """
        node, device = "driver=null-co,node-name=root,size=1048576,read-only=on", _FIRST_DISK
        words: list[str] = []
        if self.kernel is not None:
            words += ["-kernel", str(self.kernel), "-append", f"{console} {self.append}".strip()]
        if self.initrd is not None:
            words += ["-initrd", str(self.initrd)]
        if self.image is not None:
            overlay = directory / f"{name}.root.qcow2"
            _make_overlay(self.image, overlay)
            node = f"driver=qcow2,node-name=root,file.driver=file,file.filename={overlay}"
            device += "" if self.kernel else ",bootindex=0"  # which -kernel has taken
        # Without an image an empty disk: the target's is /dev/vdb in every guest.
        return [*words, "-blockdev", node, "-device", device]

    def console_words(self, directory: Path, name: str) -> list[str]:
        """Return the -chardev of the serial console: a log, and with a login a socket as well."""
        log = directory / f"{name}.console.log"
        if not self.login:
            return ["-chardev", f"file,id=console,path={log},append=on"]
        socket = f"socket,id=console,path={directory / name}.serial,server=on,wait=off"
        return ["-chardev", f"{socket},logfile={log},logappend=on"]


def _make_overlay(image: Path, overlay: Path) -> None:
    told = run(["qemu-img", "info", "-U", "--output=json", image], timeout_s=_IMG_S, check=False)
    if told.returncode:
        raise SetupError(f"--guest-image {image}: {told.stderr.strip()}")
    image_format = json.loads(told.stdout)["format"]
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", image_format, "-b", image, overlay]
    run(words, timeout_s=_IMG_S)
