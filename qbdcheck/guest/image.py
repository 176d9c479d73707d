"""The guest's kernel and initramfs: from Debian's packages, without root, kept by their versions.

What is needed is little: the cloud kernel (ext4, NVMe and the serial port are built in), a few of
its modules, and busybox. It takes some seconds the first time, and nothing after.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.errors import NotRun, ProgramError
from qbdcheck.guest.cpio import Member, archive, directory
from qbdcheck.programs.process import run

META_PACKAGE = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_blk")
_TIMEOUT_S = 300.0
_VERSION = 1
"""Of the initramfs: what is made by another one is not used."""
_DIRECTORIES = ("bin", "dev", "proc", "sys", "mnt", "tmp", "lib", "lib/modules")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /lib/modules/$module.ko; done
stty -F /dev/ttyS0 -echo raw
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo guest-is-ready
while read -r line; do
    eval "$line" 2>&1
    echo "@status $?"
done
"""


@dataclass(frozen=True)
class GuestImage:
    """What QEMU boots."""

    kernel: Path
    initramfs: Path


def guest_image(cache_dir: Path) -> GuestImage:
    """Return the guest, made if it is not there; several processes may ask at the same time.

    :param cache_dir: gets ``guest/``, about 50 MB.
    :raise NotRun: it cannot be made here: no apt, no network; with the reason.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise NotRun(f"{program} is not on PATH: the guest is made of Debian's packages")
    place = cache_dir / "guest"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = place / f"made.{_VERSION}"
        image = GuestImage(place / "vmlinuz", place / "initramfs")
        if not (stamp.exists() and image.kernel.exists() and image.initramfs.exists()):
            _make(place, image)
            stamp.touch()
    return image


def _make(place: Path, image: GuestImage) -> None:
    work = place / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        kernel_tree = _unpacked(work, _kernel_package())
        busybox = _unpacked(work, "busybox-static") / "bin" / "busybox"
        kernel = next((kernel_tree / "boot").glob("vmlinuz-*"))
        image.initramfs.write_bytes(archive(_members(kernel_tree, busybox)))
        shutil.copyfile(kernel, image.kernel)
    except ProgramError as error:
        said = (error.stderr or str(error)).strip().splitlines()
        raise NotRun(f"the guest cannot be made: {said[-1] if said else error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _kernel_package() -> str:
    told = run(["apt-cache", "depends", META_PACKAGE], timeout_s=_TIMEOUT_S).stdout
    found = re.search(r"Depends: (linux-image-\S+)", told)
    if found is None:
        raise NotRun(f"apt knows no package {META_PACKAGE}; try: apt-get update")
    return found[1]


def _unpacked(work: Path, package: str) -> Path:
    target = work / package
    target.mkdir()
    # Packages go into our own directory; apt's sandbox user could not write there.
    sandbox = "APT::Sandbox::User=" + ("root" if os.geteuid() == 0 else "")
    run(["apt-get", "-q", "-o", sandbox, "download", package], cwd=target, timeout_s=_TIMEOUT_S)
    [file] = target.glob("*.deb")
    tree_ = work / f"{package}.tree"
    run(["dpkg-deb", "-x", file, tree_], timeout_s=_TIMEOUT_S)
    return tree_


def _members(kernel_tree: Path, busybox: Path) -> Iterator[Member]:
    modules = {path.stem.replace("-", "_"): path for path in kernel_tree.rglob("*.ko")}
    order = list(_in_order(MODULES, modules))
    yield from map(directory, _DIRECTORIES)
    yield Member("bin/busybox", busybox.read_bytes(), 0o755)
    for name in order:
        yield Member(f"lib/modules/{name}.ko", modules[name].read_bytes())
    yield Member("init", INIT.format(modules=" ".join(order)).encode(), 0o755)


def _in_order(wanted: Sequence[str], modules: dict[str, Path]) -> Iterator[str]:
    """Give modules after those that they depend on (``depends=`` in .modinfo), each once."""
    seen: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name in seen or name not in modules:  # what is not there is built in
            return
        seen.add(name)
        match = _DEPENDS.search(modules[name].read_bytes())
        for other in filter(None, match[1].decode().split(",") if match else []):
            yield from visit(other.replace("-", "_"))
        yield name

    for name in wanted:
        yield from visit(name)


