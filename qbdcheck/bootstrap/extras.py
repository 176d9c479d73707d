"""What ``--install --with NAME`` installs in addition: packages, and a program that is built here.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qbdcheck.bootstrap.system_packages import (
    InstallError,
    apt_install,
    note,
    package_manager,
    root_prefix,
    run_or_raise,
)
from qbdcheck.files import ROOT


@dataclass(frozen=True)
class Extra:
    """An optional part. ``apt``: packages of Debian and Ubuntu; ``build``: a command, run last.

    ``target`` is the target that it makes possible, or the cases. Without ``build`` the packages
    are all.
    """

    apt: tuple[str, ...]
    build: tuple[str, ...]
    target: str


EXTRAS: Mapping[str, Extra] = {
    "qbd-driver": Extra(
        (
            "gcc",
            "libc6-dev",
            "make",
            "patch",
            "pkg-config",
            "python3",
            "libglib2.0-dev",
            "dpkg-dev",
        ),
        ("make", "-s", "-C", str(ROOT / "contrib/qbd-driver")),
        "qbd",
    ),
    "iscsi": Extra(("tgt", "libiscsi-bin", "qemu-block-extra"), (), "iscsi"),
    "http": Extra(("nginx-light", "qemu-block-extra"), (), "http"),
    "ssh": Extra(("openssh-server", "openssh-client", "qemu-block-extra"), (), "ssh"),
    "nfs": Extra(("nfs-ganesha-vfs", "rpcbind", "iproute2", "qemu-block-extra"), (), "nfs"),
    "rbd": Extra(
        ("ceph-mon", "ceph-osd", "ceph-common", "iproute2", "qemu-block-extra"),
        (),
        "rbd, rbd-cluster",
    ),
    # No service is started: each case has a libvirtd of its own.
    "libvirt": Extra(
        ("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "libxml2-utils"),
        (),
        "cases 650-699",
    ),
}


def take_extras(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split ``--with NAME[,NAME]`` and ``--with=NAME`` off the arguments.

    :return: the names, and the other arguments.
    :raise InstallError: there is no such extra, or ``--install`` is missing.
    """
    names: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--with":
            names += next(words, "").split(",")
        elif word.startswith("--with="):
            names += word.partition("=")[2].split(",")
        else:
            rest.append(word)
    unknown = [name for name in names if name not in EXTRAS and name != "all"]
    if unknown:
        known = ", ".join((*EXTRAS, "all"))
        raise InstallError(f"--with: unknown part '{unknown[0]}'; known: {known}")
    if names and "--install" not in rest:
        raise InstallError("--with works only together with --install")
    return (list(EXTRAS) if "all" in names else list(dict.fromkeys(names))), rest


def install_extras(names: Sequence[str]) -> None:
    """Install the packages of the named extras, and build what they build.

    :raise InstallError: there is no apt, this user may not install, or a command failed.
    """
    for name in names:
        extra = EXTRAS[name]
        missing = [package for package in extra.apt if not _is_installed(package)]
        if missing:
            _install_packages(name, missing)
        if not extra.build:
            continue
        note(f"building {name} for the target {extra.target}")
        run_or_raise(extra.build, f"--with {name}: {' '.join(extra.build)}")


def _install_packages(name: str, packages: list[str]) -> None:
    as_root = root_prefix()
    wanted = f"apt-get install {' '.join(packages)}"
    if package_manager() != "apt":
        raise InstallError(f"--with {name} needs Debian or Ubuntu (for {wanted})")
    if as_root is None:
        raise InstallError(f"--with {name}: ask an administrator to run: {wanted}")
    note(f"installing {' '.join(packages)}")
    apt_install(as_root, packages)


def _is_installed(package: str) -> bool:
    show = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    try:
        done = subprocess.run(show, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.stdout == "installed"
