"""Debian's packages without root and without dpkg's database: resolved, downloaded, unpacked.

apt-get with an empty status file takes nothing for installed, so it names all that a program needs
(apt-get(8), --print-uris). Nothing of the host's own packages goes into a guest.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from qbdcheck.errors import NotRun, ProgramError
from qbdcheck.programs.process import run

TIMEOUT_S = 600.0
_URI = re.compile(r"^'[^']+' (\S+) (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class PackageSet:
    """Packages with all that they need.

    :ivar files: names of the .deb files, which have the versions.
    :ivar size: bytes to download.
    """

    wanted: tuple[str, ...]
    files: tuple[str, ...]
    size: int


def _words(place: Path) -> list[str]:
    status = place / "status"
    status.touch()
    archives = place / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    return [
        "apt-get", "-q", "-q", "-y", "--no-install-recommends",
        "-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={archives}",
        "-o", f"Dir::Cache::pkgcache={place}/pkgcache.bin", "-o", "Dir::Cache::srcpkgcache=",
        "-o", "Debug::NoLocking=1",
        # The directory is the user's own; apt's sandbox user could not write there.
        "-o", "APT::Sandbox::User=" + ("root" if os.geteuid() == 0 else ""),
    ]  # fmt: skip


def resolve(place: Path, wanted: Sequence[str]) -> PackageSet:
    """Return what apt would install, by the lists that it has; no network is used.

    :param place: a directory for apt's state and the .deb files.
    :raise NotRun: there is no apt, or it does not know a package.
    """
    for program in ("apt-get", "dpkg-deb", "mke2fs"):
        if shutil.which(program) is None:
            raise NotRun(f"{program} is not on PATH: it makes the guest of Debian's packages")
    try:
        told = run([*_words(place), "--print-uris", "install", *wanted], timeout_s=TIMEOUT_S).stdout
    except ProgramError as error:
        raise NotRun(f"apt-get knows not all packages of the guest ({_last(error)}); try: "
                     "apt-get update") from None  # fmt: skip
    found = _URI.findall(told)
    size = sum(int(number) for _, number in found)
    return PackageSet(tuple(wanted), tuple(name for name, _ in found), size)


def download(place: Path, packages: PackageSet) -> None:
    """Download what is not there; apt checks the sums that its signed lists have.

    :raise NotRun: the network is needed and not there.
    """
    try:
        words = [*_words(place), "--download-only", "install", *packages.wanted]
        run(words, timeout_s=TIMEOUT_S)
    except ProgramError as error:
        raise NotRun(f"the guest's packages cannot be downloaded: {_last(error)}") from None


def unpack(place: Path, packages: PackageSet, tree: Path) -> None:
    """Unpack all into one tree; their scripts are not run."""
    tree.mkdir(parents=True)
    files = [place / "archives" / name for name in packages.files]

    def one(file: Path) -> None:
        run(["dpkg-deb", "-x", file, tree], timeout_s=TIMEOUT_S)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, files))


def _last(error: ProgramError) -> str:
    said = (error.stderr or str(error)).strip().splitlines()
    return said[-1] if said else str(error)
