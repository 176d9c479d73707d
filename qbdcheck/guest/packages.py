"""Debian's packages without root and without dpkg's database: resolved, downloaded, unpacked.

apt-get with an empty status file takes nothing as installed, so it names all that a program needs
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
    :ivar size: bytes of all files.
    """

    wanted: tuple[str, ...]
    files: tuple[str, ...]
    size: int


def _apt_arguments(place: Path, archives: str) -> list[str]:
    status = place / "status"
    status.touch()
    (place / archives / "partial").mkdir(parents=True, exist_ok=True)
    return [
        "apt-get", "-q", "-q", "-y", "--no-install-recommends",
        "-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={place / archives}",
        "-o", f"Dir::Cache::pkgcache={place}/pkgcache.bin", "-o", "Dir::Cache::srcpkgcache=",
        "-o", "Debug::NoLocking=1",
        # The directory is the user's own; apt's sandbox user could not write there.
        "-o", "APT::Sandbox::User=" + ("root" if os.geteuid() == 0 else ""),
    ]  # fmt: skip


def resolve(place: Path, wanted: Sequence[str]) -> PackageSet:
    """Return what apt would install, by the lists that it has; no network is used.

    The answer does not depend on files that were downloaded before: apt leaves those out, so it is
    asked with an empty directory of archives.

    :param place: a directory for apt's state and the .deb files.
    :raise NotRun: there is no apt, or it does not know a package.
    """
    for program in ("apt-get", "dpkg-deb", "mke2fs"):
        if shutil.which(program) is None:
            raise NotRun(
                f"{program} is not on PATH: it is needed to build the guest from Debian packages"
            )
    shutil.rmtree(place / "none", ignore_errors=True)
    try:
        arguments = [*_apt_arguments(place, "none"), "--print-uris", "install", *wanted]
        answer = run(arguments, timeout_s=TIMEOUT_S).stdout
    except ProgramError as error:
        raise NotRun(f"apt-get does not know all packages of the guest ({_last(error)}); try: "
                     "apt-get update") from None  # fmt: skip
    found = _URI.findall(answer)
    if not found:
        raise NotRun(f"apt-get names no file for {', '.join(wanted)}; try: apt-get update")
    size = sum(int(number) for _, number in found)
    return PackageSet(tuple(wanted), tuple(name for name, _ in found), size)


def download(place: Path, packages: PackageSet) -> None:
    """Download the files that are missing or incomplete; apt checks the sums of its signed lists.

    :raise NotRun: the network is needed and does not work.
    """
    try:
        arguments = [
            *_apt_arguments(place, "archives"),
            "--download-only",
            "install",
            *packages.wanted,
        ]
        run(arguments, timeout_s=TIMEOUT_S)
    except ProgramError as error:
        raise NotRun(f"the guest's packages cannot be downloaded: {_last(error)}") from None


def unpack(place: Path, packages: PackageSet, tree: Path) -> None:
    """Unpack all packages into one tree. Their scripts are not run.

    :raise ProgramError: a file is damaged.
    """
    tree.mkdir(parents=True)
    files = [place / "archives" / name for name in packages.files]

    def one(file: Path) -> None:
        run(["dpkg-deb", "-x", file, tree], timeout_s=TIMEOUT_S)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, files))


def _last(error: ProgramError) -> str:
    reported = (error.stderr or str(error)).strip().splitlines()
    return reported[-1] if reported else str(error)
