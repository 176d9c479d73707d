"""The guest: a kernel, an initramfs and a disk of tools, made of Debian's packages without root.

The initramfs has what every guest needs (busybox, dash, the guest agent, ext4's programs: 20 MB).
The tools (fio and its 60 MB of libraries, xfs, stress-ng, blktrace, ...) are on a read-only ext4
that is mounted at /usr. Both are kept under the hash of all that they are made of.

An image appears in the cache complete or not at all. A run that is interrupted leaves its downloads
for the next one, and an image that was damaged later is made again.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import lzma
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.clock import now_s, wall_s
from qbdcheck.errors import CaseBroken, ProgramError
from qbdcheck.guest.cpio import Member, archive, directory
from qbdcheck.guest.libraries import Contents, closure
from qbdcheck.guest.packages import PackageSet, download, resolve, unpack
from qbdcheck.programs.process import run

CLOUD_KERNEL, FULL_KERNEL = "linux-image-cloud-amd64", "linux-image-amd64"
"""The full kernel adds the drivers of real machines, such as ahci: 70 MB more to download."""
PACKAGES = (
    "busybox-static", "dash", "libc6", "libgcc-s1", "coreutils",
    "util-linux", "qemu-guest-agent", "e2fsprogs", "xfsprogs", "fio", "stress-ng", "blktrace",
    "sysstat", "dmsetup", "fsmark", "dbench", "ioping", "bash", "quota", "attr", "acl",
    "genisoimage", "squashfs-tools", "mount",
)  # fmt: skip
CORE = (
    "bin/dash", "bin/dd", "bin/sync", "usr/sbin/qemu-ga", "sbin/mke2fs", "sbin/e2fsck",
    "sbin/resize2fs", "sbin/tune2fs", "sbin/blkdiscard", "sbin/fstrim", "sbin/fsfreeze",
    "sbin/blockdev", "sbin/mkfs.xfs", "sbin/xfs_repair", "sbin/dmsetup",
    "lib64/ld-linux-x86-64.so.2", "libgcc_s.so.1",
)  # fmt: skip
"""Files of the initramfs: all that is not below /usr, over which the tools are mounted."""
TOOLS = (
    "usr/bin/fio", "usr/bin/stress-ng", "usr/sbin/xfs_io",
    "usr/sbin/xfs_growfs", "usr/sbin/xfs_db", "usr/sbin/blktrace", "usr/bin/blkparse",
    "usr/bin/btt", "usr/bin/iostat", "usr/bin/fs_mark", "usr/bin/dbench", "usr/bin/ioping",
    "usr/sbin/e4defrag", "usr/sbin/filefrag", "usr/bin/truncate", "usr/bin/stat",
    "usr/bin/timeout", "usr/bin/env", "usr/bin/bash", "usr/sbin/setquota", "usr/sbin/quotacheck",
    "usr/sbin/quotaon", "usr/sbin/repquota", "usr/bin/quota", "usr/bin/setfattr",
    "usr/bin/getfattr", "usr/bin/setfacl", "usr/bin/getfacl", "usr/bin/genisoimage",
    "usr/bin/mksquashfs", "usr/bin/unsquashfs",
)  # fmt: skip
UTIL_LINUX = ("bin/mount", "bin/umount")
"""Programs of util-linux in `UTIL_LINUX_DIR`, which only LTP's tests have on their PATH. They know
options that busybox's do not: ``uid=nobody`` of the test isofs."""
UTIL_LINUX_DIR = "lib/util-linux"
TOOLS_DATA = ("usr/share/dbench/client.txt",)
MODULES_AT_START = ("virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "ext4")
MODULES = (
    *MODULES_AT_START, "virtio_scsi", "sd_mod", "ata_piix", "ahci", "nvme", "xfs", "dm_mod",
    "dm_flakey", "dm_log_writes", "loop", "isofs", "squashfs", "binfmt_misc", "quota_v2",
)  # fmt: skip
"""Modules that the kernel has built in are left out."""
LINKS = {
    "bin/sh": "dash", "bin/bash": "/usr/bin/bash", "bin/rm": "/bin/busybox",
    "sbin/quotaoff": "/usr/sbin/quotaon", "sbin/modprobe": "/bin/busybox",
    **{f"sbin/mkfs.ext{number}": "mke2fs" for number in (2, 3, 4)},
    **{f"sbin/fsck.ext{number}": "e2fsck" for number in (2, 3, 4)},
}  # fmt: skip
"""Further names of programs, as Debian's packages link them. The kernel runs /sbin/modprobe, and
LTP's ftest runs /bin/rm."""
USERS = (("root", 0), ("daemon", 1), ("bin", 2), ("nobody", 65534))
"""Users of the guest; each has a group of its own. Tests of LTP become the user nobody."""
TOOLS_SERIAL = "tools"
_UUID = "c5f5e7ab-0000-4000-8000-000000000001"
_MAKE_S = 120.0
_UNUSED_S = 30 * 86400.0
_VERSION = 10
"""The version of this recipe. An image of another version is not used."""
_DIRECTORIES = (
    "bin", "sbin", "dev", "etc", "proc", "sys", "mnt", "tmp", "run", "var", "lib", "lib/modules",
    "lib/x86_64-linux-gnu", "lib64", "usr", "usr/bin", "usr/sbin", "usr/lib",
    "usr/lib/x86_64-linux-gnu",
)  # fmt: skip
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_LISTS = Path("/var/lib/apt/lists")
_SIZES = "sizes"
"""A file in an image's directory: the sizes of the others."""

# The applets of busybox are last on the PATH, in a directory of their own. As the shell, Debian's
# busybox would run its own applets instead of the real programs.
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
    """The files that QEMU boots.

    :ivar tools: an ext4 with programs, mounted at /usr.
    :ivar key: a hash of all that it was made of.
    :ivar made_s: seconds that it took to make it, 0 if it was in the cache.
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
        """Return the arguments of QEMU that boot it.

        :param console: the part of the kernel's command line that names the console.
        """
        node = f"driver=file,node-name=tools,filename={self.tools},read-only=on,locking=off"
        return [
            "-kernel", str(self.kernel), "-initrd", str(self.initramfs), "-append", console,
            "-blockdev", node,
            "-device", f"virtio-blk-pci,drive=tools,id=tools,serial={TOOLS_SERIAL},addr=8",
        ]  # fmt: skip

    @staticmethod
    def console_argv(directory: Path, name: str) -> list[str]:
        """Return the -chardev of the serial console, which writes a log."""
        return ["-chardev", f"file,id=console,path={directory / name}.console.log,append=on"]


def guest_image(cache_dir: Path, kernel: str = CLOUD_KERNEL) -> GuestImage:
    """Return the guest, and make it first if it is not in the cache.

    Several processes may ask at the same time: one makes it, the others wait. It is made again when
    this recipe changes, or a package after ``apt-get update``. No network is used otherwise.

    :param cache_dir: gets ``guest/``, about 300 MB for each kernel.
    :param kernel: a package of Debian's.
    :raise NotRun: it cannot be made here: no apt, no network; with the reason.
    :raise CaseBroken: it could be made here, but that failed: an error of this project.
    """
    place = cache_dir / "guest"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cached = _cached(place, kernel)
        if cached is not None:
            return cached
        start = now_s()
        packages = resolve(place, (kernel, *PACKAGES))
        key = _hash([_recipe(kernel), *packages.files])
        image = _files(place / key, key)
        if not _is_complete(image):
            sys.stderr.write("check: making the guest, once; this takes a minute\n")
            _make_of_packages(place, packages, image)
        _forget_unused(place)
        _write_current(place, kernel, key)
        return GuestImage(image.kernel, image.initramfs, image.tools, key, now_s() - start)


def _make_of_packages(place: Path, packages: PackageSet, image: GuestImage) -> None:
    """Download, unpack and make; a damaged package is downloaded again."""
    work = place / "work"
    for is_last in (False, True):
        shutil.rmtree(work, ignore_errors=True)
        download(place, packages)
        try:
            unpack(place, packages, work / "tree")
        except ProgramError as error:
            shutil.rmtree(place / "archives", ignore_errors=True)
            if is_last:
                raise CaseBroken(f"the guest cannot be made: {error}") from None
        else:
            break
    try:
        _make(work, image)
    except ProgramError as error:
        raise CaseBroken(f"the guest cannot be made: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(place / "archives", ignore_errors=True)


def _write_current(place: Path, kernel: str, key: str) -> None:
    current = {"recipe": _recipe(kernel), "lists": _lists_changed(), "key": key}
    new = place / "current.new"
    new.write_text(json.dumps(current), encoding="utf-8")
    new.rename(_current(place, kernel))


def _current(place: Path, kernel: str) -> Path:
    """Return the file that names the image in use. Checkouts with other recipes have their own."""
    return place / f"current.{_recipe(kernel)}"


def _cached(place: Path, kernel: str) -> GuestImage | None:
    """Return the image in the cache if it is current and complete."""
    try:
        current = json.loads(_current(place, kernel).read_text(encoding="utf-8"))
        image = _files(place / current["key"], current["key"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    same = current.get("recipe") == _recipe(kernel)
    if not same or current.get("lists") not in {_lists_changed(), 0} or not _is_complete(image):
        return None
    os.utime(image.kernel.parent)
    return image


def _is_complete(image: GuestImage) -> bool:
    """Return whether all files of an image have the sizes with which they were made."""
    try:
        sizes = json.loads((image.kernel.parent / _SIZES).read_text(encoding="utf-8"))
        return bool(sizes == _sizes(image))
    except (OSError, ValueError):
        return False


def _sizes(image: GuestImage) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in (image.kernel, image.initramfs, image.tools)}


def _forget_unused(place: Path) -> None:
    """Remove images that no run used for a month: those of older packages and recipes."""
    for other in place.iterdir():
        if other.is_dir() and wall_s() - other.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(other, ignore_errors=True)


def _files(place: Path, key: str) -> GuestImage:
    return GuestImage(place / "vmlinuz", place / "initramfs", place / "tools", key)


def _recipe(kernel: str) -> str:
    parts = (kernel, *PACKAGES, *CORE, *TOOLS, *TOOLS_DATA, *MODULES, *MODULES_AT_START)
    return _hash([str(_VERSION), INIT, repr(LINKS), repr(USERS), *parts])


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _lists_changed() -> int:
    """Return the time of the last ``apt-get update`` in ns, 0 if there was none."""
    try:
        return _LISTS.stat().st_mtime_ns
    except OSError:
        return 0


def _make(work: Path, image: GuestImage) -> None:
    """Make an image of the tree in ``work``; it gets its place in one step, at the end."""
    contents = Contents(work / "tree")
    made = work / "made"
    made.mkdir()
    names = _files(made, image.key)
    core = dict(closure(contents, CORE))
    names.initramfs.write_bytes(archive(_members(contents, core)))
    _make_tools(contents, work, names.tools)
    shutil.copyfile(
        contents.glob_first("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"), names.kernel
    )
    (made / _SIZES).write_text(json.dumps(_sizes(names)), encoding="utf-8")
    shutil.rmtree(image.kernel.parent, ignore_errors=True)
    made.rename(image.kernel.parent)


def _make_tools(contents: Contents, work: Path, image: Path) -> None:
    # The tools are mounted over /usr, so they must have all that the core has there.
    sources = {
        # Files in /lib or /bin, of packages from before the merge of /usr, go to /usr as well.
        Path(path).relative_to("usr") if path.startswith("usr/") else Path(path): source
        for path, source in closure(contents, (*CORE, *TOOLS, *UTIL_LINUX))
    }
    for name in UTIL_LINUX:
        sources[Path(UTIL_LINUX_DIR, Path(name).name)] = sources.pop(Path(name))
    sources |= {Path(path).relative_to("usr"): contents.tree / path for path in TOOLS_DATA}
    make_ext4(sources, work, image)


def make_ext4(sources: Mapping[Path, Path], work: Path, image: Path) -> None:
    """Make an ext4 of files of the host. The same contents make the same bytes.

    :param sources: files by their path in it.
    :param work: a directory for a script.
    :raise ProgramError: not all could be copied.
    """
    size = sum(source.stat().st_size for source in sources.values())
    mib = (size * 11 // 10 >> 20) + 16
    with image.open("wb") as file:
        file.truncate(mib << 20)
    arguments = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-U", _UUID]
    arguments += ["-E", f"root_owner=0:0,hash_seed={_UUID}"]
    # mke2fs -d would copy in the order of the host's directories, with the times of the files. A
    # fixed order and a fixed time make the same file of the same packages.
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": "1"}
    run([*arguments, image], timeout_s=_MAKE_S, env=environment)
    script = work / "tools.debugfs"
    script.write_text("".join(f"{line}\n" for line in _copying(sources)), encoding="utf-8")
    done = run(["debugfs", "-w", "-f", script, image], timeout_s=_MAKE_S, env=environment)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
    if errors or done.stdout.count("Allocated inode:") != len(sources):
        raise ProgramError(f"debugfs: {' '.join(errors) or 'not all files were copied'}", [], None)


def _copying(sources: Mapping[Path, Path]) -> Iterator[str]:
    """Yield commands of debugfs(8) that write files to their paths in an image."""
    places = {parent for path in sources for parent in path.parents if parent.name}
    yield from (f"mkdir /{place}" for place in sorted(places))
    for path, source in sorted(sources.items()):
        yield f"cd /{path.parent}"
        yield f'write "{source}" {path.name}'


def _members(contents: Contents, core: Mapping[str, Path]) -> Iterator[Member]:
    tree = contents.tree
    home = contents.glob_first("lib/modules/*", "usr/lib/modules/*")
    release = home.name
    modules = {_module_name(path): path for path in sorted(home.rglob("*.ko*"))}
    order = list(_in_order(MODULES, modules))
    own = {str(place) for path in core for place in Path(path).parents} - {"."}
    yield from map(directory, sorted({*_DIRECTORIES, *own}))
    yield from map(directory, (f"lib/modules/{release}", f"lib/modules/{release}/kernel"))
    busybox = contents.find("bin/busybox")
    if busybox is None:
        raise CaseBroken("the guest cannot be made: no package has bin/busybox")
    yield Member("bin/busybox", busybox.read_bytes(), 0o755)
    for name, aim in LINKS.items():
        yield Member(name, link=aim)
    for path, source in sorted(core.items()):
        yield Member(path, source.read_bytes(), 0o755)
    for name in order:
        yield Member(f"lib/modules/{release}/{_module_place(name)}", _module(modules[name]))
    # As depmod(8) writes it: all modules that one needs, also indirectly, the first to load last.
    depends = "".join(
        " ".join([f"{_module_place(name)}:", *map(_module_place, all_before[::-1])]) + "\n"
        for name in order
        for all_before in [[one for one in _in_order([name], modules) if one != name]]
    )
    # LTP's tests read in these three what the kernel has (tst_kconfig.c, tst_kernel.c).
    yield Member(f"lib/modules/{release}/modules.dep", depends.encode())
    config = contents.glob_first(f"boot/config-{release}", f"usr/lib/modules/{release}/config")
    yield Member(f"lib/modules/{release}/config", config.read_bytes())
    yield Member(f"lib/modules/{release}/modules.builtin", (home / "modules.builtin").read_bytes())
    yield Member("etc/mtab", link="/proc/mounts")
    users = "".join(f"{name}:x:{number}:{number}:{name}:/tmp:/bin/sh\n" for name, number in USERS)
    yield Member("etc/passwd", users.encode())
    groups = "".join(f"{name}:x:{number}:\n" for name, number in (*USERS, ("nogroup", 65533)))
    yield Member("etc/group", groups.encode())
    yield Member("etc/mke2fs.conf", (tree / "etc/mke2fs.conf").read_bytes())
    at_start = [name for name in MODULES_AT_START if name in modules]
    text = INIT.format(modules=" ".join(at_start), serial=TOOLS_SERIAL)
    yield Member("init", text.encode(), 0o755)


def _module_place(name: str) -> str:
    """Return the file of a module. LTP looks for ``/NAME.ko``, so it must be in a directory."""
    return f"kernel/{name}.ko"


def _module_name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _module(path: Path) -> bytes:
    """Return a kernel module, unpacked: Debian 13 compresses them, and busybox reads plain ones."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _needs(module: Path) -> list[str]:
    match = _DEPENDS.search(_module(module))
    words = match[1].decode().split(",") if match else []
    return [word.replace("-", "_") for word in words if word]


def _in_order(wanted: Sequence[str], modules: Mapping[str, Path]) -> Iterator[str]:
    """Yield modules after those that they depend on (``depends=`` in .modinfo), each once."""
    seen: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name in seen or name not in modules:  # a module that is not there is built in
            return
        seen.add(name)
        for other in _needs(modules[name]):
            yield from visit(other)
        yield name

    for name in wanted:
        yield from visit(name)
