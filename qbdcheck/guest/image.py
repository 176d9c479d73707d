"""The guest: a kernel, an initramfs and a disk of tools, of Debian's packages, without root.

The initramfs has what every guest needs (busybox, dash, the guest agent, ext4's programs: 20 MB);
the tools (fio and its 60 MB of libraries, xfs, stress-ng, blktrace, ...) are on a read-only ext4
that is mounted at /usr. Both are kept by the hash of all that they are made of.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.clock import now_s, wall_s
from qbdcheck.errors import NotRun, ProgramError
from qbdcheck.guest.cpio import Member, archive, directory
from qbdcheck.guest.libraries import closure
from qbdcheck.guest.packages import download, resolve, unpack
from qbdcheck.programs.process import run

CLOUD_KERNEL, FULL_KERNEL = "linux-image-cloud-amd64", "linux-image-amd64"
"""The full one has the drivers of real machines as well, ahci among them: 70 MB more to fetch."""
PACKAGES = (
    "busybox-static", "dash", "libc6", "libgcc-s1", "coreutils",
    "util-linux", "qemu-guest-agent", "e2fsprogs", "xfsprogs", "fio", "stress-ng", "blktrace",
    "sysstat", "dmsetup", "fsmark", "dbench", "ioping",
)  # fmt: skip
CORE = (
    "bin/dash", "bin/dd", "bin/sync", "usr/sbin/qemu-ga", "sbin/mke2fs", "sbin/e2fsck",
    "sbin/resize2fs", "sbin/tune2fs", "sbin/blkdiscard", "sbin/fstrim", "sbin/fsfreeze",
    "sbin/blockdev", "sbin/mkfs.xfs", "sbin/xfs_repair", "sbin/dmsetup",
    "lib64/ld-linux-x86-64.so.2", "libgcc_s.so.1",
)  # fmt: skip
"""In the initramfs; it must have all that is not below /usr, over which the tools are mounted."""
TOOLS = (
    "usr/bin/fio", "usr/bin/stress-ng", "usr/sbin/xfs_io",
    "usr/sbin/xfs_growfs", "usr/sbin/xfs_db", "usr/sbin/blktrace", "usr/bin/blkparse",
    "usr/bin/btt", "usr/bin/iostat", "usr/bin/fs_mark", "usr/bin/dbench", "usr/bin/ioping",
    "usr/sbin/e4defrag", "usr/sbin/filefrag", "usr/bin/truncate", "usr/bin/stat",
    "usr/bin/timeout",
)  # fmt: skip
TOOLS_DATA = ("usr/share/dbench/client.txt",)
MODULES_AT_START = ("virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "ext4")
MODULES = (
    *MODULES_AT_START, "virtio_scsi", "sd_mod", "ata_piix", "ahci", "nvme", "xfs", "dm_mod",
    "dm_flakey", "dm_log_writes", "loop",
)  # fmt: skip
"""Those that the kernel has built in are left out."""
TOOLS_SERIAL = "tools"
_UUID = "c5f5e7ab-0000-4000-8000-000000000001"
_MAKE_S = 120.0
_UNUSED_S = 30 * 86400.0
_VERSION = 6
"""Of this recipe: what another one made is not used."""
_DIRECTORIES = (
    "bin", "sbin", "dev", "etc", "proc", "sys", "mnt", "tmp", "run", "var", "lib", "lib/modules",
    "lib/x86_64-linux-gnu", "lib64", "usr", "usr/bin", "usr/sbin", "usr/lib",
    "usr/lib/x86_64-linux-gnu",
)  # fmt: skip
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_LISTS = Path("/var/lib/apt/lists")

# Real programs come before the applets of busybox, which lie last on the PATH in a directory of
# their own: Debian's busybox runs its own applets before any program where it is the shell.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /applets
/bin/busybox --install -s /applets
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/applets HOME=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
modprobe -a {modules}
stty -F /dev/ttyS0 -echo raw
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo 60 > /proc/sys/kernel/hung_task_timeout_secs
mount -t debugfs debug /sys/kernel/debug
for disk in /sys/block/vd*; do
    if [ "$(cat $disk/serial)" = {serial} ]; then
        mount -t ext4 -o ro,noload /dev/${{disk##*/}} /usr
    fi
done
for port in /sys/class/virtio-ports/*; do
    if [ "$(cat $port/name 2>/dev/null)" = org.qemu.guest_agent.0 ]; then
        /usr/sbin/qemu-ga -d -m virtio-serial -p /dev/${{port##*/}} -f /run/qga.pid -t /run
    fi
done
echo guest-is-ready
while read -r line; do
    eval "$line" 2>&1
    echo "@status $?"
done
"""


@dataclass(frozen=True)
class GuestImage:
    """What QEMU boots.

    :ivar tools: an ext4 with programs, mounted at /usr.
    :ivar key: a hash of all that it was made of.
    :ivar made_s: seconds that the making took, 0 where it was there.
    """

    kernel: Path
    initramfs: Path
    tools: Path
    key: str
    made_s: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in (self.kernel, self.initramfs, self.tools))

    def boot_argv(self, console: str) -> list[str]:
        """Return the words of QEMU's command line that boot it.

        :param console: words of the kernel's line that name the console.
        """
        node = f"driver=file,node-name=tools,filename={self.tools},read-only=on,locking=off"
        return [
            "-kernel", str(self.kernel), "-initrd", str(self.initramfs), "-append", console,
            "-blockdev", node,
            "-device", f"virtio-blk-pci,drive=tools,id=tools,serial={TOOLS_SERIAL},addr=8",
        ]  # fmt: skip

    @staticmethod
    def console_argv(directory: Path, name: str) -> list[str]:
        """Return the -chardev of the serial console: a log."""
        return ["-chardev", f"file,id=console,path={directory / name}.console.log,append=on"]


def guest_image(cache_dir: Path, kernel: str = CLOUD_KERNEL) -> GuestImage:
    """Return the guest, made if it is not there; several processes may ask at the same time.

    It is made anew when this recipe, or after ``apt-get update`` a package, has changed; no network
    is used while it is there.

    :param cache_dir: gets ``guest/``, about 300 MB for each kernel.
    :param kernel: a package of Debian's.
    :raise NotRun: it cannot be made here: no apt, no network; with the reason.
    """
    place = cache_dir / "guest"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = _made(place, kernel)
        if made is not None:
            return made
        start = now_s()
        packages = resolve(place, (kernel, *PACKAGES))
        key = _hash([_recipe(kernel), *packages.files])
        image = _files(place / key, key)
        if not image.kernel.exists():
            shutil.rmtree(place / "work", ignore_errors=True)
            download(place, packages)
            try:
                unpack(place, packages, place / "work" / "tree")
                _make(place / "work", image)
            except ProgramError as error:
                raise NotRun(f"the guest cannot be made: {error}") from None
            finally:
                shutil.rmtree(place / "work", ignore_errors=True)
            shutil.rmtree(place / "archives", ignore_errors=True)
        _forget_unused(place)
        current = {"recipe": _recipe(kernel), "lists": _lists_changed(), "key": key}
        _current(place, kernel).write_text(json.dumps(current), encoding="utf-8")
        return GuestImage(image.kernel, image.initramfs, image.tools, key, now_s() - start)


def _current(place: Path, kernel: str) -> Path:
    """Two checkouts of this project, of different recipes, have an image each."""
    return place / f"current.{_recipe(kernel)}"


def _made(place: Path, kernel: str) -> GuestImage | None:
    try:
        current = json.loads(_current(place, kernel).read_text(encoding="utf-8"))
        image = _files(place / current["key"], current["key"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    same = current.get("recipe") == _recipe(kernel)
    if not same or current.get("lists") not in {_lists_changed(), 0} or not image.kernel.exists():
        return None
    os.utime(image.kernel.parent)
    return image


def _forget_unused(place: Path) -> None:
    """Remove images that no run has asked for in a month: of older packages and recipes."""
    for other in place.iterdir():
        if other.is_dir() and wall_s() - other.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(other, ignore_errors=True)


def _files(place: Path, key: str) -> GuestImage:
    return GuestImage(place / "vmlinuz", place / "initramfs", place / "tools", key)


def _recipe(kernel: str) -> str:
    words = (kernel, *PACKAGES, *CORE, *TOOLS, *TOOLS_DATA, *MODULES, *MODULES_AT_START)
    return _hash([str(_VERSION), INIT, *words])


def _hash(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def _lists_changed() -> int:
    """Time of the last ``apt-get update`` in ns, 0 where that was never."""
    try:
        return _LISTS.stat().st_mtime_ns
    except OSError:
        return 0


def _make(work: Path, image: GuestImage) -> None:
    tree = work / "tree"
    made = work / "made"
    made.mkdir()
    names = _files(made, image.key)
    core = dict(closure(tree, CORE))
    names.initramfs.write_bytes(archive(_members(tree, core)))
    _make_tools(tree, work, names.tools)
    shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), names.kernel)
    shutil.rmtree(image.kernel.parent, ignore_errors=True)
    made.rename(image.kernel.parent)


def _make_tools(tree: Path, work: Path, image: Path) -> None:
    # What is mounted at /usr must have what the core has there, too.
    sources = {
        # What lies in /lib or /bin (of packages from before the merge of /usr) goes to /usr, too.
        Path(path).relative_to("usr") if path.startswith("usr/") else Path(path): source
        for path, source in closure(tree, (*CORE, *TOOLS))
    }
    sources |= {Path(path).relative_to("usr"): tree / path for path in TOOLS_DATA}
    make_ext4(sources, work, image)


def make_ext4(sources: Mapping[Path, Path], work: Path, image: Path) -> None:
    """Make an ext4 of files of the host, to the byte the same from the same contents.

    :param sources: files by their place in it.
    :param work: a directory for a script.
    :raise ProgramError: not all could be copied.
    """
    size = sum(source.stat().st_size for source in sources.values())
    mib = (size * 11 // 10 >> 20) + 16
    with image.open("wb") as file:
        file.truncate(mib << 20)
    words = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-U", _UUID]
    words += ["-E", f"root_owner=0:0,hash_seed={_UUID}"]
    # The same packages make the same file: in this order, and at this time. (mke2fs -d copies in
    # the order of the host's directories, and the times at which the files there were made.)
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": "1"}
    run([*words, image], timeout_s=_MAKE_S, env=environment)
    script = work / "tools.debugfs"
    script.write_text("".join(f"{line}\n" for line in _copying(sources)), encoding="utf-8")
    done = run(["debugfs", "-w", "-f", script, image], timeout_s=_MAKE_S, env=environment)
    said = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
    if said or done.stdout.count("Allocated inode:") != len(sources):
        raise ProgramError(f"debugfs: {' '.join(said) or 'not all was copied'}", [], None)


def _copying(sources: Mapping[Path, Path]) -> Iterator[str]:
    """Give commands of debugfs(8) that put files, by their place in the image, into one."""
    places = {parent for path in sources for parent in path.parents if parent.name}
    yield from (f"mkdir /{place}" for place in sorted(places))
    for path, source in sorted(sources.items()):
        yield f"cd /{path.parent}"
        yield f'write "{source}" {path.name}'


def _members(tree: Path, core: dict[str, Path]) -> Iterator[Member]:
    modules = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    order = list(_in_order(MODULES, modules))
    release = next((tree / "lib" / "modules").iterdir()).name
    yield from map(directory, _DIRECTORIES)
    yield directory(f"lib/modules/{release}")
    yield Member("bin/busybox", (tree / "bin/busybox").read_bytes(), 0o755)
    yield Member("bin/sh", link="dash")
    for path, source in sorted(core.items()):
        yield Member(path, source.read_bytes(), 0o755)
    for name in ("fsck.ext4", "mkfs.ext4"):
        yield Member(f"sbin/{name}", link="e2fsck" if name.startswith("fsck") else "mke2fs")
    for name in order:
        yield Member(f"lib/modules/{release}/{name}.ko", modules[name].read_bytes())
    # As depmod(8) writes it: all that a module needs, also indirectly, what comes first last.
    depends = "".join(
        " ".join([f"{name}.ko:", *(f"{other}.ko" for other in all_before[::-1])]) + "\n"
        for name in order
        for all_before in [[one for one in _in_order([name], modules) if one != name]]
    )
    yield Member(f"lib/modules/{release}/modules.dep", depends.encode())
    # LTP's tests ask these two what the kernel has (tst_kconfig.c, tst_kernel.c).
    config = (tree / f"boot/config-{release}").read_bytes()
    yield Member(f"lib/modules/{release}/config", config)
    builtin = (tree / f"lib/modules/{release}/modules.builtin").read_bytes()
    yield Member(f"lib/modules/{release}/modules.builtin", builtin)
    yield Member("etc/mtab", link="/proc/mounts")
    yield Member("etc/passwd", b"root:x:0:0:root:/tmp:/bin/sh\n")
    yield Member("etc/group", b"root:x:0:\n")
    yield Member("etc/mke2fs.conf", (tree / "etc/mke2fs.conf").read_bytes())
    at_start = [name for name in MODULES_AT_START if name in modules]
    text = INIT.format(modules=" ".join(at_start), serial=TOOLS_SERIAL)
    yield Member("init", text.encode(), 0o755)


def _needs(module: Path) -> list[str]:
    match = _DEPENDS.search(module.read_bytes())
    words = match[1].decode().split(",") if match else []
    return [word.replace("-", "_") for word in words if word]


def _in_order(wanted: Sequence[str], modules: dict[str, Path]) -> Iterator[str]:
    """Give modules after those that they depend on (``depends=`` in .modinfo), each once."""
    seen: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name in seen or name not in modules:  # what is not there is built in
            return
        seen.add(name)
        for other in _needs(modules[name]):
            yield from visit(other)
        yield name

    for name in wanted:
        yield from visit(name)
