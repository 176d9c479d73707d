"""Facts about the machine that decide what can run: kernel, file system, direct I/O, io_uring."""

from __future__ import annotations

import mmap
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from blockio.sizes import format_size
from qbdcheck.bootstrap.version import version_and_commit
from qbdcheck.errors import QbdcheckError, SetupError
from qbdcheck.programs.installed import VARIABLES
from qbdcheck.programs.process import run, tail
from qbdcheck.report.versions import inspect_program

LOW_SPACE_BYTES = 2 << 30
"""Twice the largest disk usage that was measured for cases 001-199 at -j2."""


@dataclass(frozen=True)
class Fact:
    """One line of the doctor: what is checked, what was found, and whether it is sufficient.

    ``cost`` names what cannot run if it is not sufficient.
    """

    name: str
    value: str
    is_good: bool = True
    cost: str = ""


def run_environment(scratch: Path) -> dict[str, str]:
    """Return the facts on the machine for the header of a run and for reports. Takes about 10 ms.

    :raise SetupError: QEMU is too old. A missing QEMU is no error here: each case reports it.
    """
    qemu = inspect_program("qemu-img")
    if qemu.version and not qemu.is_usable:
        variable = VARIABLES["qemu-img"]
        raise SetupError(
            f"{qemu.path} is {qemu.fault}; set ${variable} or PATH to another qemu-img"
        )
    return {
        "qbdcheck": version_and_commit(),
        "qemu": qemu.version or "not found",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": str(len(os.sched_getaffinity(0))),
        "scratch": f"{scratch} ({file_system(scratch)})",
    }


def machine_facts() -> dict[str, str]:
    """Return the machine and its system, for reports; what is not known is left out."""
    processor = _value(Path("/proc/cpuinfo"), "model name", ":")
    memory = _value(Path("/proc/meminfo"), "MemTotal", ":").removesuffix(" kB")
    size = f", {format_size(int(memory) << 10)} of memory" if memory.isdigit() else ""
    system = _value(Path("/etc/os-release"), "PRETTY_NAME", "=").strip('"')
    facts = {"machine": f"{processor}{size}".removeprefix(", "), "system": system}
    return {name: value for name, value in facts.items() if value}


def _value(file: Path, name: str, separator: str) -> str:
    """Return the first value of a name in a file of lines; empty without one."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(separator) for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def host_facts(scratch: Path) -> list[Fact]:
    """Return all facts; `scratch` is the directory in which cases make their files."""
    return [
        Fact("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        Fact("Python", f"{platform.python_version()} ({sys.executable})"),
        Fact("cores", str(len(os.sched_getaffinity(0)))),
        _space(scratch),
        _scratch(scratch),
        _direct_io(scratch),
        *[_aio(scratch, mode) for mode in ("native", "io_uring")],
        _guest_maker(),
        _ltp(),
    ]


def _guest_maker() -> Fact:
    """Check whether the small Linux of the cases 500-599 can be made of Debian's packages."""
    names = ("apt-get", "apt-cache", "dpkg-deb", "mke2fs", "debugfs")
    missing = [name for name in names if shutil.which(name) is None]
    if not missing:
        return Fact("guest", "can be made: apt-get, dpkg-deb, mke2fs")
    value = f"{', '.join(missing)} missing"
    return Fact("guest", value, False, "cases in a guest, unless --guest-image names an image")


def _ltp() -> Fact:
    name = os.environ.get("QBDCHECK_LTP", "")
    if (Path(name) / "runtest").is_dir() or (name and Path(name).is_file()):
        return Fact("LTP", name)
    missing = "none; docs/user.md describes how to build it"
    value = f"QBDCHECK_LTP={name} is not an installed LTP" if name else missing
    return Fact("LTP", value, not name, "540-549; --ltp or QBDCHECK_LTP names an installed tree")


def file_system(path: Path) -> str:
    """Return the type of the file system of `path`: ``ext4``, ``tmpfs``, or ``unknown``."""
    mounts = []
    try:
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            _, where, kind, *_ = line.split(" ")
            mounts.append((where.replace("\\040", " "), kind))
    except (OSError, ValueError):
        return "unknown"
    real = path.resolve()
    # the longest mount point wins; of two at one place the later one, which hides the earlier
    around = [
        (len(where), index, kind)
        for index, (where, kind) in enumerate(mounts)
        if real.is_relative_to(where)
    ]
    return max(around)[2] if around else "unknown"


def _space(scratch: Path) -> Fact:
    free_bytes = shutil.disk_usage(scratch).free
    value = f"{format_size(free_bytes)} free in {scratch}"
    if free_bytes >= LOW_SPACE_BYTES:
        return Fact("disk space", value)
    cost = f"less than {format_size(LOW_SPACE_BYTES)}: set TMPDIR to a directory with more"
    return Fact("disk space", value, is_good=False, cost=cost)


def _scratch(scratch: Path) -> Fact:
    return Fact("scratch", f"{scratch} on {file_system(scratch)}")


def _place_in(scratch: Path) -> Path:
    """Return where to make a file in the scratch directory: where a reaper removes it, if any."""
    place = Path(tempfile.gettempdir())
    return place if place.is_relative_to(scratch) else scratch


def _direct_io(scratch: Path) -> Fact:
    """Check O_DIRECT with a write: some file systems accept the flag, and the write fails."""
    cost = "cache modes none and directsync on file targets; set TMPDIR to ext4, xfs or btrfs"
    with tempfile.NamedTemporaryFile(dir=_place_in(scratch), prefix="qbdcheck-probe-") as file:
        try:
            descriptor = os.open(file.name, os.O_RDWR | os.O_DIRECT)
        except OSError as error:
            return Fact("O_DIRECT", f"no: {error.strerror}", is_good=False, cost=cost)
        try:
            with mmap.mmap(-1, 4096) as page:  # anonymous memory is aligned to pages
                os.pwrite(descriptor, page, 0)
        except OSError as error:
            return Fact("O_DIRECT", f"no: {error.strerror}", is_good=False, cost=cost)
        finally:
            os.close(descriptor)
    return Fact("O_DIRECT", "yes")


def _aio(scratch: Path, mode: str) -> Fact:
    """Check whether qemu-io can read a file with `-i mode`; native AIO needs O_DIRECT (-t none)."""
    with tempfile.NamedTemporaryFile(dir=_place_in(scratch), prefix="qbdcheck-probe-") as file:
        file.truncate(1 << 16)
        command = ["qemu-io", "-f", "raw", "-t", "none", "-i", mode, "-c", "read 0 4k", file.name]
        try:
            done = run(command, timeout_s=5, check=False)
        except QbdcheckError as error:
            return Fact(f"aio={mode}", f"no: {error}", is_good=False, cost=f"runs with -i {mode}")
    reported = tail(done.stderr, 1) or tail(done.stdout, 3)
    if done.returncode == 0 and "4 KiB" in reported:
        return Fact(f"aio={mode}", "yes")
    reason = reported.rpartition(": ")[2] or "qemu-io failed"
    return Fact(f"aio={mode}", f"no: {reason}", is_good=False, cost=f"runs with -i {mode}")
